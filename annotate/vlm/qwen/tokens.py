"""Frame size, frame times and token counts of Qwen-VL by arithmetic.

Loads no model and no library, so dry runs and the endpoint use it; tests compare it with both processors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xsheet.annotate.vlm.client import FrameSelection
from xsheet.annotate.vlm.frames import TEMPORAL_PATCH_SIZE, frame_indices, mean_fps
from xsheet.schemas.time import CLIP_RATE, us_from_seconds

SPATIAL_MERGE_SIZE = 2  # vision patches to a side of one token, in both families
CHARS_PER_TOKEN = 4  # approximate, English prose; for estimates only
IMAGE_OVERHEAD_TOKENS = 9  # tokens around an image: its start and end, and a time like [1.24 s]


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenFamily:
    """Differences of the two families in frames and times."""

    name: str
    model_types: tuple[str, ...]  # of config.json
    patch_px: int  # side of a vision patch
    has_text_timestamps: bool  # "<1.2 seconds>" before each pair of frames; else times are position ids only
    thinker_class: str | None = (
        None  # class in transformers of models with audio input; their speech output is not loaded
    )

    @property
    def has_audio_input(self) -> bool:
        """Whether the sound of a clip can be given."""
        return self.thinker_class is not None

    @property
    def token_px(self) -> int:
        """Side of one token in pixels; frame sides are multiples of it."""
        return SPATIAL_MERGE_SIZE * self.patch_px


QWEN25 = QwenFamily(name="Qwen2.5-VL", model_types=("qwen2_5_vl",), patch_px=14, has_text_timestamps=False)
QWEN3 = QwenFamily(name="Qwen3-VL", model_types=("qwen3_vl",), patch_px=16, has_text_timestamps=True)
QWEN25_OMNI = QwenFamily(
    name="Qwen2.5-Omni", model_types=("qwen2_5_omni", "qwen2_5_omni_thinker"), patch_px=14, has_text_timestamps=False,
    thinker_class="Qwen2_5OmniThinkerForConditionalGeneration",
)  # fmt: skip
QWEN3_OMNI = QwenFamily(
    name="Qwen3-Omni", model_types=("qwen3_omni_moe", "qwen3_omni_moe_thinker"), patch_px=16,
    has_text_timestamps=False, thinker_class="Qwen3OmniMoeThinkerForConditionalGeneration",
)  # fmt: skip
FAMILIES = (QWEN25, QWEN3, QWEN25_OMNI, QWEN3_OMNI)


def frame_pixel_cap(selection: FrameSelection, *, pictures: int, family: QwenFamily) -> int:
    """Maximum pixels of one frame: its own limit or its share of the call's; at least four tokens."""
    return max(
        SPATIAL_MERGE_SIZE**2 * family.token_px**2,
        min(selection.max_frame_pixels, selection.max_clip_pixels // pictures),
    )


def resized_size(size: tuple[int, int], *, max_pixels: int, family: QwenFamily) -> tuple[int, int]:
    """Width and height of Qwen's `smart_resize`: multiples of `token_px`, same aspect ratio, at most `max_pixels`."""
    step = family.token_px
    width, height = (max(step, round(side / step) * step) for side in size)
    if width * height > max_pixels:
        shrink = math.sqrt(size[0] * size[1] / max_pixels)
        width, height = (max(step, math.floor(side / shrink / step) * step) for side in size)
    return width, height


def presented_times_us(indices: Sequence[int], family: QwenFamily) -> tuple[int, ...]:
    """Times that the model receives for the frames, in µs, one per pair.

    Qwen3-VL reads the mean start of a pair with one decimal. Qwen2.5-VL spaces pairs evenly from 0, by twice the mean
    frame distance.
    """
    if not family.has_text_timestamps:
        pair_us = us_from_seconds(TEMPORAL_PATCH_SIZE / mean_fps(indices))
        return tuple(pair * pair_us for pair in range(len(indices) // TEMPORAL_PATCH_SIZE))
    rate = float(CLIP_RATE)
    means = [(first / rate + second / rate) / 2 for first, second in zip(indices[::2], indices[1::2], strict=True)]
    return tuple(us_from_seconds(float(f"{mean:.1f}")) for mean in means)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """Token counts of calls."""

    calls: int = 0
    vision: int = 0  # exact
    prompt: int = 0  # with the vision tokens; text is estimated
    reply: int = 0  # assumed

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        return TokenCounts(
            calls=self.calls + other.calls,
            vision=self.vision + other.vision,
            prompt=self.prompt + other.prompt,
            reply=self.reply + other.reply,
        )

    def __mul__(self, times: int) -> "TokenCounts":
        return TokenCounts(
            calls=self.calls * times, vision=self.vision * times, prompt=self.prompt * times, reply=self.reply * times
        )


def call_tokens(
    selection: FrameSelection | None,
    *,
    size: tuple[int, int],
    family: QwenFamily,
    as_images: bool = False,
    text_chars: int = 0,
    reply: int = 0,
) -> TokenCounts:
    """Tokens of one call.

    Args:
        selection: frames of the call; None = text only.
        size: width and height of the clip.
        family: whose processor.
        as_images: single images after their times, as the endpoint sends them; a video merges pairs.
        text_chars: length of system text and question.
        reply: assumed tokens of the reply.

    Raises:
        ValueError: the clip is too short.
    """
    text = math.ceil(text_chars / CHARS_PER_TOKEN)
    if selection is None:
        return TokenCounts(calls=1, prompt=text, reply=reply)
    indices = frame_indices(selection.frames, fps=selection.fps)
    width, height = resized_size(
        size, max_pixels=frame_pixel_cap(selection, pictures=len(indices), family=family), family=family
    )
    grids = len(indices) if as_images else len(indices) // TEMPORAL_PATCH_SIZE
    vision = grids * (width // family.token_px) * (height // family.token_px)
    overhead = IMAGE_OVERHEAD_TOKENS * len(indices) if as_images else _overhead_tokens(indices, family)
    return TokenCounts(calls=1, vision=vision, prompt=text + vision + overhead, reply=reply)


def _overhead_tokens(indices: Sequence[int], family: QwenFamily) -> int:
    """Tokens around the frames. The tokenizer splits '<12.3 seconds>' into brackets, digits, dot and ' seconds'."""
    if not family.has_text_timestamps:
        return 2
    return sum(2 + 3 + len(f"{us / 1e6:.1f}") for us in presented_times_us(indices, family))
