"""Resample decoded frames to a constant rate in one pass."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, NamedTuple, Protocol, TypeVar

from av.video.frame import VideoFrame

from xsheet.curate.media.container import DecodeCounts
from xsheet.curate.media.image import Rgb
from xsheet.curate.media.planes import Plane, clip_to_rgb
from xsheet.curate.media.timing import START_TOLERANCE_US
from xsheet.schemas.time import FrameRate, frame_start_us

P = TypeVar("P")


class DecodedFrame(NamedTuple):
    """A frame from the decoder."""

    start_us: int  # from the first video frame
    frame: VideoFrame
    is_damaged: bool  # may show smears


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame at the requested rate; all picture analysers share it."""

    index: int  # at the requested rate
    start_us: int  # start of that index, from the first video frame
    rgb: Rgb  # (height, width, 3), upright, square pixels, read-only
    source_index: int  # index of the decoded frame
    source_us: int  # its start
    is_damaged: bool = False  # a decoding error since the last key frame may show as smears


class ClipFrame:
    """One frame at 25 fps as a clip stores it."""

    def __init__(self, index: int, planes: Plane) -> None:
        self.index = index
        self.planes = planes  # I420 (height × 3/2, width), BT.601, limited range

    @cached_property
    def rgb(self) -> Rgb:
        """(height, width, 3), for analysers; converted once, when one asks."""
        return clip_to_rgb(self.planes)


class Picture(Protocol):
    """What the analysers of a clip read."""

    @property
    def index(self) -> int:
        """Number at 25 fps."""
        ...

    @property
    def rgb(self) -> Rgb:
        """(height, width, 3), upright, square pixels."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Resampled(Generic[P]):
    """A picture at the requested rate; fields as in Frame."""

    index: int
    start_us: int
    picture: P
    source_index: int
    source_us: int
    is_damaged: bool


def resample_frames(
    timed_frames: Iterable[DecodedFrame],
    *,
    rate: FrameRate,
    end_us: int,
    render: Callable[[VideoFrame], P],
    counts: DecodeCounts,
    first_index: int = 0,
) -> Iterator[Resampled[P]]:
    """Yield at each output instant the last decoded frame that has started; render only frames that are yielded.

    Args:
        timed_frames: decoded frames, ascending.
        rate: output frames per second.
        end_us: end of the video; the last frame is held until then.
        render: converts a decoded frame.
        counts: receives emitted, repeated and dropped frames.
        first_index: first output index; decoded frames that end before it are dropped.
    """
    index = first_index
    for source_index, (decoded, until_us) in enumerate(_with_ends(timed_frames, end_us=end_us)):
        picture: P | None = None
        # The first frame is always emitted, however short it is.
        while (instant_us := frame_start_us(index, rate)) + START_TOLERANCE_US < min(until_us, end_us) or index == 0:
            if picture is None:
                picture = render(decoded.frame)
            else:
                counts.repeated += 1
            counts.emitted += 1
            yield Resampled(index, instant_us, picture, source_index, decoded.start_us, decoded.is_damaged)
            index += 1
        counts.dropped += picture is None


def _with_ends(timed_frames: Iterable[DecodedFrame], *, end_us: int) -> Iterator[tuple[DecodedFrame, int]]:
    current: DecodedFrame | None = None
    for decoded in timed_frames:
        if current is not None:
            yield current, decoded.start_us
        current = decoded
    if current is not None:
        yield current, end_us
