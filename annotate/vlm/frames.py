"""Which frames of a clip a model is shown, and when they are: chosen here, never by a library's default.

No phase can be timed finer than the frames shown: with stamps 1.1 s apart (2 fps, in pairs) half of all phases of 0.6 s
can reach tIoU 0.5, at 4 fps 86 %, at 8 fps all (snapping to stamps of a 5 s clip).
"""

from collections.abc import Sequence

from xsheet.schemas.time import CLIP_RATE, US_PER_S, frame_start_us

MIN_VIDEO_FRAMES = 4  # of both Qwen families (their FPS_MIN_FRAMES)
TEMPORAL_PATCH_SIZE = 2  # frames that Qwen-VL merges into one step in time (temporal_patch_size), hence an even count


def frame_indices(frames: int, *, fps: float) -> tuple[int, ...]:
    """Frames to show of a clip of 25 fps: evenly spread over all of it, the first and the last among them.

    The count is the clip's length times `fps`, to the nearest even number, at least 4 and at most what the clip has.
    Index k is k·(frames - 1)/(count - 1), to the nearest frame, the later one at a tie. All strictly rise.

    Raises:
        ValueError: fewer than 4 frames, or a rate that is not above zero.
    """
    if frames < MIN_VIDEO_FRAMES or not fps > 0:
        raise ValueError(f"expected at least {MIN_VIDEO_FRAMES} frames and fps > 0, got {frames} frames and {fps} fps")
    wanted = TEMPORAL_PATCH_SIZE * round(frames * min(fps, float(CLIP_RATE)) / float(CLIP_RATE) / TEMPORAL_PATCH_SIZE)
    count = min(max(MIN_VIDEO_FRAMES, wanted), frames - frames % TEMPORAL_PATCH_SIZE)
    steps = count - 1
    return tuple((2 * k * (frames - 1) + steps) // (2 * steps) for k in range(count))


def frame_starts_us(indices: Sequence[int]) -> tuple[int, ...]:
    """Start of each shown frame, in µs of the clip."""
    return tuple(frame_start_us(index, CLIP_RATE) for index in indices)


def mean_fps(indices: Sequence[int]) -> float:
    """Frames per second that the shown frames really have: exact in the mean, while single steps differ by a frame."""
    shown_us = frame_start_us(indices[-1], CLIP_RATE) - frame_start_us(indices[0], CLIP_RATE)
    return (len(indices) - 1) * US_PER_S / shown_us
