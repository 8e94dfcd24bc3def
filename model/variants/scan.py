"""The selective state-space scan of Mamba: h_t = exp(δ_t a) h_{t-1} + δ_t b_t u_t, y_t = c_t h_t + skip u_t.

B batch, L length, E channels, Z numbers of the state per channel.
"""

import math
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional


class SelectiveScan(nn.Module):
    """Scan in one direction. δ, b and c are functions of the token; a token with δ = 0 does not change the state.

    Mamba's short convolution is omitted: neighbours in a sequence of kept tokens may not be neighbours in the picture.
    """

    def __init__(self, channels: int, *, state_dim: int, rank: int) -> None:
        super().__init__()
        self.sizes = (rank, state_dim, state_dim)
        self.to_dbc = nn.Linear(channels, sum(self.sizes), bias=False)
        self.to_delta = nn.Linear(rank, channels)
        # a = -1 .. -Z in every channel, as in Mamba: memories of different length.
        self.log_a = nn.Parameter(torch.arange(1, state_dim + 1).float().log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels))

    def forward(self, u_BLE: Tensor, valid_BL: Tensor) -> Tensor:
        """(B, L, E) -> the same."""
        delta, b_BLZ, c_BLZ = self.to_dbc(u_BLE).split(self.sizes, dim=-1)
        delta_BLE = functional.softplus(self.to_delta(delta)) * valid_BL[..., None]
        return selective_scan(u_BLE, delta_BLE, -self.log_a.exp(), b_BLZ, c_BLZ) + self.skip * u_BLE

    def init_weights(self, rng: Generator) -> None:
        """Initial weights as in Mamba: steps δ between .001 and .1, log-uniform."""
        nn.init.uniform_(self.to_delta.bias, math.log(1e-3), math.log(1e-1), generator=rng)
        with torch.no_grad():
            step = self.to_delta.bias.exp()
            self.to_delta.bias.copy_(step + (-torch.expm1(-step)).log())  # softplus backwards


def selective_scan(u_BLE: Tensor, delta_BLE: Tensor, a_EZ: Tensor, b_BLZ: Tensor, c_BLZ: Tensor) -> Tensor:
    """All y_t without the skip, (B, L, E), in float32; on a GPU by Mamba's fused kernel where that is installed."""
    u, delta, a, b, c = (t.float() for t in (u_BLE, delta_BLE, a_EZ, b_BLZ, c_BLZ))
    if u.is_cuda and find_spec("mamba_ssm") is not None:
        fused = import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
        y_BLE: Tensor = fused(u.mT.contiguous(), delta.mT.contiguous(), a, b.mT.contiguous(), c.mT.contiguous()).mT
        return y_BLE
    decay = torch.exp(delta[..., None] * a)
    state = (delta * u)[..., None] * b[:, :, None]
    return (_parallel_scan(decay, state) * c[:, :, None]).sum(-1)


def _parallel_scan(decay_BLEZ: Tensor, added_BLEZ: Tensor) -> Tensor:
    """All h_t by a parallel scan in log2(L) steps; each step doubles the number of preceding tokens in h_t."""
    decay, state, reach = decay_BLEZ, added_BLEZ, 1
    while reach < decay.shape[1]:
        before = (0, 0, 0, 0, reach, 0)
        state = state + decay * functional.pad(state[:, :-reach], before)
        decay = decay * functional.pad(decay[:, :-reach], before, value=1.0)
        reach *= 2
    return state
