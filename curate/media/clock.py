"""One clock for joined recordings, whose time stamps restart in the middle of the file.

The probe reads the times of all packets and finds where a new part begins; each pass then adds the offset of its part
to the packets before they are decoded, as ffmpeg does. A single wrong time stamp is not a new part.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from av.packet import Packet
from av.stream import Stream

_MIN_BACKWARD_S = Fraction(1, 2)  # reordered pictures step back by less, a wrong stamp is alone
_MIN_FORWARD_S = 10  # ffmpeg's dts_delta_threshold; only in MPEG streams, where gaps are joins
_MIN_PACKETS = 3  # that continue the new clock


@dataclass(slots=True)
class StreamTimes:
    """Packet times of one stream in file order, in its ticks."""

    tick_s: Fraction
    decode: list[int | None] = field(default_factory=list)
    presentation: list[int | None] = field(default_factory=list)
    place: list[int] = field(default_factory=list)  # index among the packets of all streams

    def add(self, packet: "Packet[Stream]", place: int) -> None:
        """Add the next packet."""
        self.decode.append(packet.dts if packet.dts is not None else packet.pts)
        self.presentation.append(packet.pts if packet.pts is not None else packet.dts)
        self.place.append(place)

    def restarts(self, *, forward: bool) -> list[int]:
        """Indices of the packets at which the clock begins anew; `forward`: also after a jump ahead."""
        back, ahead = int(_MIN_BACKWARD_S / self.tick_s), int(_MIN_FORWARD_S / self.tick_s)
        known = [(index, time) for index, time in enumerate(self.decode) if time is not None]
        found, latest = [], None
        for at, (index, time) in enumerate(known):
            if latest is None:
                latest = time
                continue
            following = [later for _, later in known[at : at + _MIN_PACKETS]]
            jumps_back = all(later < latest - back for later in following)
            jumps_ahead = forward and all(later > latest + ahead for later in following)
            if jumps_back or jumps_ahead:
                found.append(index)
                latest = time
            elif time <= latest + ahead or not forward:
                latest = max(latest, time)
        return found


@dataclass(frozen=True, slots=True)
class StreamClock:
    """Offsets of the packets of one stream."""

    starts: tuple[int, ...] = ()  # index of the first packet of the second, third, ... part
    offsets: tuple[int, ...] = ()  # ticks to add in that part

    def offset_at(self, index: int) -> int:
        """Ticks to add to the packet with this index."""
        part = bisect_right(self.starts, index)
        return self.offsets[part - 1] if part else 0


@dataclass(frozen=True, slots=True)
class ContainerClock:
    """Clocks of the two streams in use."""

    video: StreamClock = StreamClock()
    audio: StreamClock = StreamClock()

    @property
    def restarts(self) -> int:
        """Number of restarts of the picture clock."""
        return len(self.video.starts)


class ClockPass:
    """Shifts the packets of one stream in one pass from the start of the file."""

    def __init__(self, clock: StreamClock) -> None:
        self._clock = clock
        self._index = 0

    def shift(self, packet: "Packet[Stream]") -> None:
        """Move the times of the next packet onto the clock of the first part."""
        offset = self._clock.offset_at(self._index)
        self._index += 1
        if offset:
            packet.pts = None if packet.pts is None else packet.pts + offset
            packet.dts = None if packet.dts is None else packet.dts + offset


def join_clocks(video: StreamTimes, audio: StreamTimes | None, *, step: int, forward: bool) -> ContainerClock:
    """Find the parts of a file, and the offsets that continue the clock.

    The first picture of a part follows the last one of the part before; both streams of a part get the same offset.

    Args:
        video: packet times of the picture.
        audio: packet times of the sound.
        step: ticks from one picture to the next.
        forward: whether a jump ahead is a new part too.
    """
    starts = video.restarts(forward=forward)
    if not starts:
        return ContainerClock()
    offsets: list[int] = []
    bounds = [0, *starts, len(video.presentation)]
    parts = [[time for time in video.presentation[first:stop] if time is not None] for first, stop in pairwise(bounds)]
    end = max(parts[0], default=0) + step
    for times in parts[1:]:
        offsets.append(end - min(times, default=end))
        end = max((time + offsets[-1] for time in times), default=end) + step
    clock = StreamClock(tuple(starts), tuple(offsets))
    if audio is None:
        return ContainerClock(clock)
    return ContainerClock(clock, _audio_clock(video, audio, clock, forward=forward))


def _audio_clock(video: StreamTimes, audio: StreamTimes, clock: StreamClock, *, forward: bool) -> StreamClock:
    """The parts of the sound: its own restarts, each with the part of the picture that begins nearest in the file."""
    places = [video.place[start] for start in clock.starts]
    starts, offsets, at = [], [], 0
    for index in audio.restarts(forward=forward):
        if at == len(places):
            break
        at = min(range(at, len(places)), key=lambda k: abs(places[k] - audio.place[index]))
        starts.append(index)
        offsets.append(round(clock.offsets[at] * video.tick_s / audio.tick_s))
        at += 1
    return StreamClock(tuple(starts), tuple(offsets))
