"""Phase binding: how text cross-attention knows which phase a token belongs to, and when that phase is.

PhaseTable              a learned vector per phase, added to its text tokens: the paper's
interval rotation       rotates queries by the time of their latent frame and keys by the interval of their phase
PhaseClock              per block, adds to keys and values what a phase's window is in each latent frame

    timing = text_timing(config, phase_BM=..., window_BK2=..., frames=F, strength=1.0)     # once per forward
    out_BND = timed_text_attention(block.attn2, x_BND, text_BMD, timing, clock=block.phase_clock)

The interval rotation is TIE's (arXiv 2605.10543), in the pairing and the units of its released weights. It has no
weights. With strength 0, like a clock that was just initialised, the attention is Wan's.

Neither needs a bias over all pairs of tokens: keys are rotated once per token, queries with one angle per latent frame,
and a clock folds latent frames into the batch. Phases may overlap.

B batch, F latent frames, N = F * S video tokens, M text tokens, K phases, J = K + 1 with row 0 for the base, D width,
H heads of width d, R = d / 2 rotation pairs, C numbers of a clock.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xsheet.model.config import FRAMES_PER_LATENT, ActAvatarConfig

PAD = -1
NO_PHASE = 0
CLOCK_NUMBERS = FRAMES_PER_LATENT + 5
_CLOCK_REACH_S = 0.8  # since the start and until the end are linear up to here


class PhaseTable(nn.Module):
    """Phase embedding, (K_max + 1) x D, initially zero; row 0 gets no gradient and stays zero.

    Row 0 is for tokens outside any phase: the base caption, the null prompt and pads (PAD).
    """

    def __init__(self, max_phases: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(max_phases + 1, dim))

    def forward(self, phase_BM: Tensor) -> Tensor:
        """(B, M) phase of each token (PAD, NO_PHASE or 1..K_max) -> (B, M, D) to add to the text."""
        return functional.embedding(phase_BM.clamp(min=NO_PHASE), self.weight, padding_idx=NO_PHASE)


class PhaseClock(nn.Module):
    """A linear map from the numbers of a clock to keys and values, (2 D) x C, initially zero. Ours."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2 * dim, CLOCK_NUMBERS))

    def forward(self, clock_BFJC: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, J, C) -> what to add to keys and to values, (B, F, J, D) each."""
        key, value = functional.linear(clock_BFJC, self.weight).chunk(2, dim=-1)
        return key, value


class Rotation(NamedTuple):
    """Cosine and sine of R rotations, times an amplitude; float32."""

    cos: Tensor
    sin: Tensor


class TextTiming(NamedTuple):
    """What the text attention of all blocks shares in one forward pass."""

    query: Rotation | None = None  # (B, F, R)
    key: Rotation | None = None  # (B, M, R)
    clock_BFJC: Tensor | None = None
    phase_BMJ: Tensor | None = None  # one-hot


def text_timing(
    config: ActAvatarConfig, *, phase_BM: Tensor, window_BK2: Tensor | None, frames: int, strength: float
) -> TextTiming | None:
    """Return the timing of a batch of texts; None if the bindings of the model need none.

    Args:
        config: bindings, frame rate, units.
        phase_BM: PAD, NO_PHASE or 1..K of each token. A text of nothing but pads (the null prompt) is not rotated.
        window_BK2: [start, end) of phase 1..K in video frames; rows that no token refers to may hold anything.
        frames: latent frames F.
        strength: 0..1, factor on the rotation's frequencies: 0 is the plain model, 1 the published form.

    Raises:
        ValueError: a binding to times, but no windows.
    """
    interval = "interval" in config.phase_binding and strength > 0
    clock = "clock" in config.phase_binding
    if not (interval or clock):
        return None
    if window_BK2 is None:
        raise ValueError(f"expected window_BK2 with phase_binding={','.join(config.phase_binding)}, got None")
    timing = TextTiming()
    if interval:
        query, key = interval_rotations(config, phase_BM, window_BK2, frames=frames, strength=strength)
        timing = timing._replace(query=query, key=key)
    if clock:
        phases = window_BK2.shape[1]
        one_hot = functional.one_hot(phase_BM.clamp(min=NO_PHASE), phases + 1).to(window_BK2.dtype)
        timing = timing._replace(clock_BFJC=clock_numbers(config, window_BK2, frames=frames), phase_BMJ=one_hot)
    return timing


def interval_rotations(
    config: ActAvatarConfig, phase_BM: Tensor, window_BK2: Tensor, *, frames: int, strength: float
) -> tuple[Rotation, Rotation]:
    """Return the rotations of queries and keys.

    With ω_i = strength · θ^(-2i/d): a query turns by ω_i times the middle of its latent frame; a key by ω_i times the
    middle of its phase's interval, times the mean rotation over that interval, a sinc, relative to its mean over i. The
    base lasts as long as the clip. Times are seconds times `interval_units_per_s`.
    """
    head, device = config.attention_head_dim, window_BK2.device
    index = torch.arange(0, head, 2, dtype=torch.float32, device=device)
    omega_R = strength * config.interval_theta ** (-index / head)
    unit = config.interval_units_per_s / config.frame_rate
    first_F, last_F = _frame_range_of_latents(frames, device=device)

    whole_B12 = torch.stack([first_F[0], last_F[-1] + 1]).expand(len(window_BK2), 1, 2)
    window_BJ2 = torch.cat([whole_B12, window_BK2.float()], dim=1) * unit
    middle_BJ = window_BJ2.mean(-1)
    radius_BJ = (window_BJ2[..., 1] - window_BJ2[..., 0]).clamp(min=0) / 2
    amplitude_BJR = torch.sinc(radius_BJ[..., None] * omega_R / torch.pi)
    amplitude_BJR = amplitude_BJR / amplitude_BJR.mean(-1, keepdim=True)
    angle_BJR = middle_BJ[..., None] * omega_R
    row_BM1 = phase_BM.clamp(min=NO_PHASE)[..., None].expand(-1, -1, len(omega_R))
    is_text_BM1 = (phase_BM != PAD)[..., None]
    cos_BMR = (amplitude_BJR * angle_BJR.cos()).gather(1, row_BM1).where(is_text_BM1, 1)
    sin_BMR = (amplitude_BJR * angle_BJR.sin()).gather(1, row_BM1).where(is_text_BM1, 0)

    has_text_B11 = is_text_BM1.any(1, keepdim=True)
    at_BFR = ((first_F + last_F + 1) / 2 * unit)[None, :, None] * omega_R * has_text_B11
    return Rotation(at_BFR.cos(), at_BFR.sin()), Rotation(cos_BMR, sin_BMR)


def clock_numbers(config: ActAvatarConfig, window_BK2: Tensor, *, frames: int) -> Tensor:
    """Return the clock features of each phase in each latent frame, (B, F, J, C) float32; zeros for the base, row 0.

    Whether each of the latent's video frames lies in the window and their share, seconds since the start and until the
    end (in units of .8 s, clipped to one), progress inside, and 1.
    """
    first_F, last_F = _frame_range_of_latents(frames, device=window_BK2.device)
    first, last = (t[None, :, None, None] for t in (first_F, last_F))  # (1, F, 1, 1)
    start, end = (t[:, None, :, None] for t in window_BK2.float().unbind(-1))  # (B, 1, K, 1)
    step = torch.arange(FRAMES_PER_LATENT, device=window_BK2.device)
    frame = torch.minimum(first + step, last)
    inside = ((frame >= start) & (frame < end)).float()
    share, middle = inside.mean(-1, keepdim=True), (first + last + 1) / 2
    reach = _CLOCK_REACH_S * config.frame_rate
    since, until = ((middle - start) / reach).clamp(-1, 1), ((end - middle) / reach).clamp(-1, 1)
    progress = ((middle - start) / (end - start).clamp(min=1)).clamp(0, 1) * share
    numbers_BFKC = torch.cat([inside, share, since, until, progress, torch.ones_like(share)], dim=-1)
    return functional.pad(numbers_BFKC, (0, 0, 1, 0))


def timed_text_attention(
    attention: Any, x_BND: Tensor, text_BMD: Tensor, timing: TextTiming, *, clock: PhaseClock | None
) -> Tensor:
    """Apply a WanAttention to text that is bound to times.

    Args:
        attention: diffusers' WanAttention; norms of queries and keys come before the rotation.
        x_BND: video tokens, latent frame by latent frame.
        text_BMD: text tokens.
        timing: of this forward pass.
        clock: of this block, where the model has clocks.
    """
    heads = (attention.heads, -1)
    q = attention.norm_q(attention.to_q(x_BND)).unflatten(2, heads)
    k = attention.norm_k(attention.to_k(text_BMD)).unflatten(2, heads)
    v = attention.to_v(text_BMD).unflatten(2, heads)
    if timing.query is not None and timing.key is not None:
        q = rotate(q.unflatten(1, (timing.query.cos.shape[1], -1)), timing.query, axis=2).flatten(1, 2)
        k = rotate(k, timing.key)
    if clock is not None and timing.clock_BFJC is not None and timing.phase_BMJ is not None:
        frames = timing.clock_BFJC.shape[1]
        q = q.unflatten(1, (frames, -1)).flatten(0, 1)
        k, v = (t.flatten(0, 1) for t in _add_clock(k, v, timing, clock))
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    out = functional.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v).transpose(1, 2)
    result: Tensor = attention.to_out[0](out.reshape(x_BND.shape))
    return result


def rotate(x: Tensor, rotation: Rotation, *, axis: int | None = None) -> Tensor:
    """Rotate pairs (i, i + R) of the last axis in float32; `axis`: a further axis that shares the angles.

    x is (B, M, H, d), or (B, F, S, H, d) with axis 2.
    """
    cos, sin = (t.unsqueeze(-2) if axis is None else t.unsqueeze(-2).unsqueeze(axis) for t in rotation)
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


def _add_clock(k_BMHd: Tensor, v_BMHd: Tensor, timing: TextTiming, clock: PhaseClock) -> tuple[Tensor, Tensor]:
    """Return keys and values per latent frame, (B, F, M, H, d) each."""
    assert timing.clock_BFJC is not None
    assert timing.phase_BMJ is not None
    key_BFJD, value_BFJD = clock(timing.clock_BFJC.to(clock.weight.dtype))
    if timing.query is not None:  # queries are rotated: so that q·key does not depend on where in the clip it is
        key_BFJD = rotate(key_BFJD.reshape(*key_BFJD.shape[:-1], *k_BMHd.shape[-2:]), timing.query, axis=2).flatten(-2)
    one_hot_B1MJ = timing.phase_BMJ.to(key_BFJD.dtype)[:, None]
    k_BFMD, v_BFMD = (
        t.flatten(2)[:, None] + torch.matmul(one_hot_B1MJ, added).to(t.dtype)
        for t, added in ((k_BMHd, key_BFJD), (v_BMHd, value_BFJD))
    )
    heads = k_BMHd.shape[-2:]
    return k_BFMD.reshape(*k_BFMD.shape[:-1], *heads), v_BFMD.reshape(*v_BFMD.shape[:-1], *heads)


def _frame_range_of_latents(frames: int, *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the first and last video frame of each latent frame, (F,): 0..0, 1..4, 5..8 and so on."""
    last = torch.arange(frames, device=device, dtype=torch.float32) * FRAMES_PER_LATENT
    return (last - FRAMES_PER_LATENT + 1).clamp(min=0), last
