"""Videos of any length: overlapping windows as long as training clips, each continuing the previous one.

    starts = plan_windows(600, frames=33, overlap=2, actions=[(4.0, 14.0)])
    video = append_window(video, window, start=starts[1], overlap=2)

Frame 0 of a window is its reference picture; the next `overlap` latent frames repeat the last ones of the previous
window, and are given to the sampler as a condition (model.flow.History).
T frames shown, H x W pixels.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.model.config import FRAMES_PER_LATENT
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel

Frames = NDArray[Any]


class WindowSettings(StrictModel):
    """Continuation of a video beyond the length of a training clip (docs/log/train.md#windows)."""

    overlap: int = Field(default=2, ge=1, le=64, description="latent frames that a window shares with the previous one")
    history_sigma: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.2,
        description="noise level σ down to which the shared frames are given; below it they are sampled again",
    )
    reference: Literal["portrait", "previous"] = Field(
        default="portrait", description="frame 0 of a window: the portrait, or the last picture of the previous window"
    )


def plan_windows(
    total: int, *, frames: int, overlap: int, actions: Sequence[tuple[float, float]] = ()
) -> tuple[int, ...]:
    """First frame of each window; multiples of 4, so that latent frames coincide.

    If possible, a window starts between actions (among the later half of its possible starts), so that no action is cut
    in two.

    Args:
        total: frames of the video, at least `frames`.
        frames: of a window.
        overlap: latent frames.
        actions: start and end in frames.

    Raises:
        ConfigError: the overlap leaves nothing new in a window.
    """
    furthest = frames - 1 - FRAMES_PER_LATENT * overlap
    if furthest < FRAMES_PER_LATENT:
        most = (frames - 1) // FRAMES_PER_LATENT - 1
        raise ConfigError(
            where="window.overlap", expected=f"at most {most} of the {1 + most + 1} latent frames of a window",
            got=str(overlap), hint="lower the overlap",
        )  # fmt: skip
    starts = [0]
    while starts[-1] + frames < total:
        steps = range(furthest, furthest // 2, -FRAMES_PER_LATENT)
        free = (step for step in steps if not _is_inside(starts[-1] + step, actions))
        starts.append(starts[-1] + next(free, furthest))
    return tuple(starts)


def append_window(video: Frames, window: Frames, *, start: int, overlap: int) -> Frames:
    """The video with a window from frame `start` on; shared frames fade from one to the other.

    Frames are uint8 pictures (T, H, W, 3) or float series (T, S).
    """
    shared = FRAMES_PER_LATENT * overlap
    weight = (np.arange(1, shared + 1) / (shared + 1)).reshape(-1, *[1] * (video.ndim - 1))
    before, after = video[start + 1 : start + 1 + shared], window[1 : 1 + shared]
    faded = (1 - weight) * before + weight * after
    rounded = (np.rint(faded) if video.dtype == np.uint8 else faded).astype(video.dtype)
    return np.concatenate([video[: start + 1], rounded, window[1 + shared :]])


def _is_inside(frame: int, actions: Sequence[tuple[float, float]]) -> bool:
    return any(start < frame < end for start, end in actions)
