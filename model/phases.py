"""The phase table: which phase a text token speaks of, told by a learned vector.

Phase-aware cross-attention as published is no mask: c' = c + E[phase], the times stand as words in the prompt, and the
gating in time is learned. B batch, M text tokens, D width, K phases.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

PAD = -1
BASE = 0


class PhaseTable(nn.Module):
    """E, (K_max + 1) x D, zero at the start; row 0 gets no gradient, so it is zero for ever.

    Row 0 serves the base block, the null prompt (all tokens 0) and pads (PAD): none of them gets anything added.
    """

    def __init__(self, max_phases: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(max_phases + 1, dim))

    def forward(self, phase_BM: Tensor) -> Tensor:
        """(B, M) phase of each token, PAD, BASE or 1..K_max -> (B, M, D) to add to the text."""
        return functional.embedding(phase_BM.clamp(min=BASE), self.weight, padding_idx=BASE)
