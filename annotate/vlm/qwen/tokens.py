"""What Qwen-VL makes of a clip, by arithmetic: size of the pictures, stamps, tokens.

No model and no library is loaded, so a dry run and the endpoint can use it; tests hold it equal to both processors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xsheet.annotate.vlm.client import Film
from xsheet.annotate.vlm.frames import PAIR, frame_indices, mean_fps
from xsheet.schemas.time import CLIP_RATE, us_from_seconds

MERGE = 2  # vision patches to a side of one token, in both families
CHARS_PER_TOKEN = 4  # of English prose, about; only for estimates
IMAGE_MARKS = 9  # tokens around an image: its start and end, and a time like [1.24 s]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What sets the two families apart where pictures and times are concerned."""

    name: str
    model_types: tuple[str, ...]  # of config.json
    patch_px: int  # side of a vision patch
    writes_stamps: bool  # "<1.2 seconds>" before each pair of pictures; else time is in the positions alone

    @property
    def step_px(self) -> int:
        """Pixels to a side of one token; both sides of a picture are multiples of it."""
        return MERGE * self.patch_px


QWEN25 = Family(name="Qwen2.5-VL", model_types=("qwen2_5_vl",), patch_px=14, writes_stamps=False)
QWEN3 = Family(name="Qwen3-VL", model_types=("qwen3_vl",), patch_px=16, writes_stamps=True)
FAMILIES = (QWEN25, QWEN3)


def frame_cap(film: Film, *, pictures: int, family: Family) -> int:
    """Most pixels of one picture: its own cap, or its share of the budget; never less than four tokens."""
    return max(MERGE**2 * family.step_px**2, min(film.max_frame_pixels, film.max_clip_pixels // pictures))


def picture_size(size: tuple[int, int], *, cap: int, family: Family) -> tuple[int, int]:
    """Width and height that the makers' `smart_resize` gives: multiples of the step, same shape, at most `cap` pixels.

    A picture is never enlarged beyond the next multiple.
    """
    step = family.step_px
    wide, high = (max(step, round(side / step) * step) for side in size)
    if wide * high > cap:
        shrink = math.sqrt(size[0] * size[1] / cap)
        wide, high = (max(step, math.floor(side / shrink / step) * step) for side in size)
    return wide, high


def told_us(indices: Sequence[int], family: Family) -> tuple[int, ...]:
    """The times that the model is told of the shown frames, in µs: one for each pair.

    Qwen3-VL reads the mean of the pair's starts, written with one decimal. Qwen2.5-VL takes pairs to follow one another
    evenly from 0; between them lies twice the mean distance of the frames.
    """
    if not family.writes_stamps:
        pair_us = us_from_seconds(PAIR / mean_fps(indices))
        return tuple(pair * pair_us for pair in range(len(indices) // PAIR))
    rate = float(CLIP_RATE)
    means = [(first / rate + second / rate) / 2 for first, second in zip(indices[::2], indices[1::2], strict=True)]
    return tuple(us_from_seconds(float(f"{mean:.1f}")) for mean in means)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What calls hold."""

    calls: int = 0
    vision: int = 0  # exact
    prompt: int = 0  # with the vision tokens; text is estimated
    reply: int = 0  # as assumed

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            calls=self.calls + other.calls,
            vision=self.vision + other.vision,
            prompt=self.prompt + other.prompt,
            reply=self.reply + other.reply,
        )

    def __mul__(self, times: int) -> "Tokens":
        return Tokens(
            calls=self.calls * times, vision=self.vision * times, prompt=self.prompt * times, reply=self.reply * times
        )


def call_tokens(
    film: Film | None,
    *,
    size: tuple[int, int],
    family: Family,
    as_images: bool = False,
    text_chars: int = 0,
    reply: int = 0,
) -> Tokens:
    """Tokens of one call.

    Args:
        film: what is shown.
        size: width and height of the clip.
        family: whose processor.
        as_images: the endpoint's way, each picture by itself behind its time; a video merges them in pairs.
        text_chars: length of rules and question.
        reply: tokens that a reply is taken to have.

    Raises:
        ValueError: the clip is too short to be shown.
    """
    text = math.ceil(text_chars / CHARS_PER_TOKEN)
    if film is None:
        return Tokens(calls=1, prompt=text, reply=reply)
    indices = frame_indices(film.frames, fps=film.fps)
    wide, high = picture_size(size, cap=frame_cap(film, pictures=len(indices), family=family), family=family)
    grids = len(indices) if as_images else len(indices) // PAIR
    vision = grids * (wide // family.step_px) * (high // family.step_px)
    marks = IMAGE_MARKS * len(indices) if as_images else _marks(indices, family)
    return Tokens(calls=1, vision=vision, prompt=text + vision + marks, reply=reply)


def _marks(indices: Sequence[int], family: Family) -> int:
    """Tokens around the pictures. Qwen's tokenizer splits '<12.3 seconds>' to brackets, digits, dot and ' seconds'."""
    if not family.writes_stamps:
        return 2
    return sum(2 + 3 + len(f"{us / 1e6:.1f}") for us in told_us(indices, family))
