"""What Qwen-VL makes of a clip, by arithmetic: size of the pictures, stamps, tokens.

No model and no library is loaded, so a dry run and the endpoint can use it; tests hold it equal to both processors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xsheet.annotate.vlm.client import FrameSelection
from xsheet.annotate.vlm.frames import TEMPORAL_PATCH_SIZE, frame_indices, mean_fps
from xsheet.schemas.time import CLIP_RATE, us_from_seconds

SPATIAL_MERGE_SIZE = 2  # vision patches to a side of one token, in both families
CHARS_PER_TOKEN = 4  # of English prose, about; only for estimates
IMAGE_OVERHEAD_TOKENS = 9  # tokens around an image: its start and end, and a time like [1.24 s]


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenFamily:
    """What sets the two families apart where pictures and times are concerned."""

    name: str
    model_types: tuple[str, ...]  # of config.json
    patch_px: int  # side of a vision patch
    has_text_timestamps: bool  # "<1.2 seconds>" before each pair of pictures; else time is in the positions alone

    @property
    def token_px(self) -> int:
        """Pixels to a side of one token; both sides of a picture are multiples of it."""
        return SPATIAL_MERGE_SIZE * self.patch_px


QWEN25 = QwenFamily(name="Qwen2.5-VL", model_types=("qwen2_5_vl",), patch_px=14, has_text_timestamps=False)
QWEN3 = QwenFamily(name="Qwen3-VL", model_types=("qwen3_vl",), patch_px=16, has_text_timestamps=True)
FAMILIES = (QWEN25, QWEN3)


def frame_pixel_cap(selection: FrameSelection, *, pictures: int, family: QwenFamily) -> int:
    """Most pixels of one picture: its own cap, or its share of the budget; never less than four tokens."""
    return max(
        SPATIAL_MERGE_SIZE**2 * family.token_px**2,
        min(selection.max_frame_pixels, selection.max_clip_pixels // pictures),
    )


def resized_size(size: tuple[int, int], *, max_pixels: int, family: QwenFamily) -> tuple[int, int]:
    """Width and height that the makers' `smart_resize` gives: multiples of the step, same shape, at most `cap` pixels.

    A picture is never enlarged beyond the next multiple.
    """
    step = family.token_px
    wide, high = (max(step, round(side / step) * step) for side in size)
    if wide * high > max_pixels:
        shrink = math.sqrt(size[0] * size[1] / max_pixels)
        wide, high = (max(step, math.floor(side / shrink / step) * step) for side in size)
    return wide, high


def presented_times_us(indices: Sequence[int], family: QwenFamily) -> tuple[int, ...]:
    """The times that the model is told of the shown frames, in µs: one for each pair.

    Qwen3-VL reads the mean of the pair's starts, written with one decimal. Qwen2.5-VL takes pairs to follow one another
    evenly from 0; between them lies twice the mean distance of the frames.
    """
    if not family.has_text_timestamps:
        pair_us = us_from_seconds(TEMPORAL_PATCH_SIZE / mean_fps(indices))
        return tuple(pair * pair_us for pair in range(len(indices) // TEMPORAL_PATCH_SIZE))
    rate = float(CLIP_RATE)
    means = [(first / rate + second / rate) / 2 for first, second in zip(indices[::2], indices[1::2], strict=True)]
    return tuple(us_from_seconds(float(f"{mean:.1f}")) for mean in means)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """What calls hold."""

    calls: int = 0
    vision: int = 0  # exact
    prompt: int = 0  # with the vision tokens; text is estimated
    reply: int = 0  # as assumed

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
        selection: what is shown.
        size: width and height of the clip.
        family: whose processor.
        as_images: the endpoint's way, each picture by itself behind its time; a video merges them in pairs.
        text_chars: length of rules and question.
        reply: tokens that a reply is taken to have.

    Raises:
        ValueError: the clip is too short to be shown.
    """
    text = math.ceil(text_chars / CHARS_PER_TOKEN)
    if selection is None:
        return TokenCounts(calls=1, prompt=text, reply=reply)
    indices = frame_indices(selection.frames, fps=selection.fps)
    wide, high = resized_size(
        size, max_pixels=frame_pixel_cap(selection, pictures=len(indices), family=family), family=family
    )
    grids = len(indices) if as_images else len(indices) // TEMPORAL_PATCH_SIZE
    vision = grids * (wide // family.token_px) * (high // family.token_px)
    marks = IMAGE_OVERHEAD_TOKENS * len(indices) if as_images else _overhead_tokens(indices, family)
    return TokenCounts(calls=1, vision=vision, prompt=text + vision + marks, reply=reply)


def _overhead_tokens(indices: Sequence[int], family: QwenFamily) -> int:
    """Tokens around the pictures. Qwen's tokenizer splits '<12.3 seconds>' to brackets, digits, dot and ' seconds'."""
    if not family.has_text_timestamps:
        return 2
    return sum(2 + 3 + len(f"{us / 1e6:.1f}") for us in presented_times_us(indices, family))
