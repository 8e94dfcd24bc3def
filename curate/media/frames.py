"""Resample decoded frames to a constant rate in one pass."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from av.video.frame import VideoFrame

from xsheet.curate.media.container import DecodeCounts
from xsheet.curate.media.image import Rgb
from xsheet.curate.media.timing import START_TOLERANCE_US
from xsheet.schemas.time import FrameRate, frame_start_us


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame at the requested rate; all picture analysers share it."""

    index: int  # at the requested rate
    start_us: int  # start of that index, from the first video frame
    rgb: Rgb  # (height, width, 3), upright, square pixels, read-only
    source_index: int  # index of the decoded frame
    source_us: int  # its start


def resample_frames(
    timed_frames: Iterable[tuple[int, VideoFrame]],
    *,
    rate: FrameRate,
    end_us: int,
    render: Callable[[VideoFrame], Rgb],
    counts: DecodeCounts,
    first_index: int = 0,
) -> Iterator[Frame]:
    """Yield at each output instant the last decoded frame that has started; render only frames that are yielded.

    Args:
        timed_frames: (start in µs from zero, frame), ascending.
        rate: output frames per second.
        end_us: end of the video; the last frame is held until then.
        render: converts a decoded frame to RGB.
        counts: receives emitted, repeated and dropped frames.
        first_index: first output index; decoded frames that end before it are dropped.
    """
    index = first_index
    for source_index, (start_us, until_us, frame) in enumerate(_with_ends(timed_frames, end_us=end_us)):
        rgb: Rgb | None = None
        # The first frame is always emitted, however short it is.
        while (instant_us := frame_start_us(index, rate)) + START_TOLERANCE_US < min(until_us, end_us) or index == 0:
            if rgb is None:
                rgb = render(frame)
            else:
                counts.repeated += 1
            counts.emitted += 1
            yield Frame(index, instant_us, rgb, source_index, start_us)
            index += 1
        counts.dropped += rgb is None


def _with_ends(timed_frames: Iterable[tuple[int, VideoFrame]], *, end_us: int) -> Iterator[tuple[int, int, VideoFrame]]:
    current: tuple[int, VideoFrame] | None = None
    for start_us, frame in timed_frames:
        if current is not None:
            yield current[0], start_us, current[1]
        current = start_us, frame
    if current is not None:
        yield current[0], end_us, current[1]
