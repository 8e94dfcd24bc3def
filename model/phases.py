"""The phase table: which phase a text token speaks of, told by a learned vector.

Phase-aware cross-attention as published is no mask: c' = c + E[phase], the times stand as words in the prompt, and the
gating in time is learned. B batch, M text tokens, D width, K phases.
"""

from torch import Tensor, nn

PAD = -1
BASE = 0


class PhaseTable(nn.Embedding):
    """E, (K_max + 1) x D, zero at the start; row 0 gets no gradient, so it is zero for ever.

    Row 0 serves the base block, the null prompt (all tokens 0) and pads (PAD): none of them gets anything added.
    """

    def __init__(self, max_phases: int, dim: int) -> None:
        super().__init__(max_phases + 1, dim, padding_idx=BASE)

    def reset_parameters(self) -> None:
        """All rows zero: a model that has learned nothing about phases is the base."""
        nn.init.zeros_(self.weight)

    def forward(self, phase_BM: Tensor) -> Tensor:
        """(B, M) phase of each token, PAD, BASE or 1..K_max -> (B, M, D) to add to the text."""
        added: Tensor = super().forward(phase_BM.clamp(min=BASE))
        return added
