"""Movements in one series: segments between its turning points, and the episodes they form.

    segments = find_segments(curves.pitch_deg, min_size=3.0)                                  # down, up, down, up
    (nod,) = find_episodes(curves.pitch_deg, min_size=3.0, max_gap_s=0.2, max_hold_s=2.0)    # returns to its start
    count_cycles(curves.pitch_deg, range(40, 60), min_size=3.0)

A segment is monotone except for jitter. Aimed human movement follows minimum jerk (Flash & Hogan, 1985), so start and
end are extrapolated from the steep middle, which jitter affects least: 20 and 80 % of the way lie at 0.327 and 0.673 of
the time. Instants are in frames; k + 1/2 is the middle of frame k.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from xsheet.annotate.motion.series import FPS, Floats, finite_median, frames_between, gaussian_smooth, true_ranges

_LOW, _HIGH = 0.2, 0.8  # of the way
_AT_LOW, _AT_HIGH = 0.3266, 0.6734  # share of the time at which minimum jerk reaches them
# An action exceeds the speaker's background motion: by this factor the range within 0.6 s of the quietest
# tenth of the clip. More of the clip or longer windows would count actions of lively clips as background.
_SALIENCE_FACTOR, _QUIET_QUANTILE, _QUIET_FRAMES = 2.0, 0.1, 15
_QUIET_SHIFTS = (1, 2, 4, 7)  # the maximum over each in turn is that over _QUIET_FRAMES
MIN_STROKE_FRAMES = 5.0  # no head or hand moves on purpose in less than .2 s
RETURN_SHARE = 0.45  # returned: nearer to the start than this share of the peak
_STEP_WIDTH_SIGMAS = 1.75  # 20-80 % width of a smoothed step, in standard deviations of the smoothing
_TRACKER_SIGMA_FRAMES = 1.0  # frames, standard deviation of the tracker's own smoothing
_WHOLE_SHARE = 0.85  # of a movement's way in its fast part: then it is one movement
_EDGE_SHARE = 0.15  # of a movement's peak speed: slower before and after it belongs to the hold
_EASE_FRAMES = 3  # an aimed movement itself begins and ends slowly
_FAST_SHARE = 0.5  # of the way of a movement that its fast part takes at least
_SLOW_SHARE = 0.15  # of a movement's peak speed: below it the movement has not begun or is over


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSegment:
    """One movement of one quantity in one direction."""

    start: float
    end: float
    value: float  # at its start
    delta: float  # signed change

    @property
    def seconds(self) -> float:
        """Duration."""
        return (self.end - self.start) / FPS


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionEpisode:
    """Consecutive segments: away from a position, possibly back and forth, possibly back to it."""

    segments: tuple[MotionSegment, ...]
    held_until: float | None = None  # end of the clip if the pose is still held there

    @property
    def start(self) -> float:
        """Start of the first segment."""
        return self.segments[0].start

    @property
    def end(self) -> float:
        """End of the last segment, or of the clip if the pose is still held."""
        return self.segments[-1].end if self.held_until is None else self.held_until

    @property
    def offsets(self) -> Floats:
        """(segments,) signed distance of each segment's end from the start of the episode."""
        return np.array([segment.value + segment.delta - self.segments[0].value for segment in self.segments])

    @property
    def peak(self) -> float:
        """The offset with the largest magnitude, signed."""
        offsets = self.offsets
        return float(offsets[np.abs(offsets).argmax()])

    @property
    def returns(self) -> bool:
        """Whether it ends near its start, or is still held at the end of the clip."""
        return self.held_until is not None or abs(float(self.offsets[-1])) <= RETURN_SHARE * abs(self.peak)

    @property
    def core(self) -> "MotionEpisode":
        """The episode without leading and trailing segments near its start position."""
        far = np.flatnonzero(np.abs(self.offsets) > RETURN_SHARE * abs(self.peak))
        return replace(self, segments=self.segments[far[0] : far[-1] + 2])


def find_segments(values: Floats, *, min_size: float, smoothing_frames: float = 1.0) -> list[MotionSegment]:
    """Movements of at least `min_size`, in order; smaller reversals are jitter."""
    smoothed = gaussian_smooth(values, sigma_frames=smoothing_frames)
    segments: list[MotionSegment] = []
    for known in true_ranges(np.isfinite(smoothed)):
        path = smoothed[known.start : known.stop]
        turns = turning_points(path, min_size)
        parts = [part for a, b in pairwise(turns) for part in _split_by_speed(path, a, b, min_size)]
        segments += (_fit_segment(path, a, b, offset=known.start, blur=smoothing_frames) for a, b in parts)
    return segments


def lengthened(segment: MotionSegment, frames: float) -> MotionSegment:
    """The segment about its middle, at least this long: the fit of one that a filter or a gap cut short is a guess."""
    half, middle = max(segment.end - segment.start, frames) / 2, (segment.start + segment.end) / 2
    return replace(segment, start=max(0.0, middle - half), end=middle + half)


def fast_segments(values: Floats, *, min_size: float, smoothing_frames: float = 1.0) -> list[MotionSegment]:
    """Movements as find_segments has them, without their slow beginning and end: a held part sinks and trembles.

    A movement whose fast part takes less than half of its way is a drift and no movement.
    """
    path = gaussian_smooth(values, sigma_frames=smoothing_frames)
    rate = np.abs(np.gradient(path)) if len(path) > 1 else np.zeros_like(path)
    segments = []
    for segment in find_segments(values, min_size=min_size, smoothing_frames=smoothing_frames):
        frames = frames_between(segment.start, segment.end)
        inside = rate[frames.start : frames.stop]
        fast = np.flatnonzero(inside >= _EDGE_SHARE * np.nanmax(inside, initial=0.0))
        if not len(fast):
            continue
        first, last = int(fast[0]), int(fast[-1])
        way = path[min(frames.start + last + 1, len(path) - 1)] - path[max(frames.start + first - 1, 0)]
        if not abs(way) < _FAST_SHARE * abs(segment.delta):  # unknown beside the movement: nothing speaks against it
            start = frames.start + float(first) if first > _EASE_FRAMES else segment.start
            end = frames.start + last + 1.0 if len(inside) - 1 - last > _EASE_FRAMES else segment.end
            segments.append(replace(segment, start=max(segment.start, start), end=min(segment.end, end)))
    return segments


def turning_points(path: Floats, min_size: float) -> list[int]:
    """Frames of the turning points: neighbours differ by at least `min_size`, without a larger reversal in between.

    The first is the start of the first movement, the last the end of the last one; [] if there is no movement.
    """
    values = path.tolist()
    turns: list[int] = []
    low = high = 0
    rising: bool | None = None
    for k, value in enumerate(values):
        if value < values[low]:
            low = k
        if value > values[high]:
            high = k
        if rising is not False and values[high] - value >= min_size:
            turns.append(high)
            rising, low, high = False, k, k
        elif rising is not True and value - values[low] >= min_size:
            turns.append(low)
            rising, low, high = True, k, k
    return [*turns, high if rising else low] if turns else []


def group_segments(
    segments: Sequence[MotionSegment], *, frames: int, max_gap_s: float, max_hold_s: float, is_distance: bool = False
) -> Iterator[MotionEpisode]:
    """Group segments into episodes.

    Args:
        segments: in order.
        frames: length of the clip.
        max_gap_s: longest pause between the return of a movement and its next repetition.
        max_hold_s: longest hold; a pose held longer is a new rest position.
        is_distance: the series is a distance, so an episode that starts by falling is a return on its own.
    """
    open_segments: list[MotionSegment] = []
    for segment in segments:
        if open_segments:
            open_episode = MotionEpisode(segments=tuple(open_segments))
            pause_s = (segment.start - open_episode.end) / FPS
            if pause_s > (max_gap_s if open_episode.returns else max_hold_s):
                yield open_episode
                open_segments = []
        if is_distance and not open_segments and segment.delta < 0:
            yield MotionEpisode(segments=(segment,))
        else:
            open_segments.append(segment)
    if open_segments:
        last = MotionEpisode(segments=tuple(open_segments))
        is_held = not last.returns and (frames - last.end) / FPS <= max_hold_s
        yield replace(last, held_until=float(frames)) if is_held else last


def find_episodes(
    values: Floats, *, min_size: float, max_gap_s: float, max_hold_s: float, smoothing_frames: float = 1.0
) -> list[MotionEpisode]:
    """Episodes of at least `min_size` that also exceed the speaker's background motion."""
    segments = find_segments(
        values, min_size=max(min_size, _SALIENCE_FACTOR * background_range(values)), smoothing_frames=smoothing_frames
    )
    return [
        episode.core
        for episode in group_segments(segments, frames=len(values), max_gap_s=max_gap_s, max_hold_s=max_hold_s)
    ]


def background_range(values: Floats, *, quantile: float = _QUIET_QUANTILE) -> float:
    """Range of a series within 0.6 s, a quantile over the clip; 0 if the clip is too short."""
    smoothed = gaussian_smooth(values)
    smoothed = smoothed[np.isfinite(smoothed)]
    if len(smoothed) < 2 * _QUIET_FRAMES:
        return 0.0
    high = low = smoothed
    for shift in _QUIET_SHIFTS:  # a tenth of the time of sliding windows
        high, low = np.maximum(high[:-shift], high[shift:]), np.minimum(low[:-shift], low[shift:])
    ranges = np.sort(high - low)
    at = quantile * (len(ranges) - 1)
    before = int(at)
    after = min(before + 1, len(ranges) - 1)
    return float(ranges[before] + (at - before) * (ranges[after] - ranges[before]))


def count_cycles(values: Floats, frames: range, *, min_size: float) -> int:
    """Full cycles of at least `min_size` inside a range; 0 for a movement in one direction."""
    return len(find_segments(values[frames.start : frames.stop], min_size=min_size)) // 2


def excursion(values: Floats, frames: range, *, margin: int = 5) -> float | None:
    """Largest signed deviation inside a range from the median of `margin` frames before and after; None if unknown."""
    outside = np.concatenate((values[max(0, frames.start - margin) : frames.start], values[frames.stop :][:margin]))
    inside = values[frames.start : frames.stop]
    if not np.isfinite(outside).any() or not np.isfinite(inside).any():
        return None
    deviation = gaussian_smooth(inside) - finite_median(outside)
    return float(deviation[np.nanargmax(np.abs(deviation))])


def _split_by_speed(path: Floats, a: int, b: int, min_size: float) -> list[tuple[int, int]]:
    """Split a monotone movement where it slows down; each part is at least `min_size`.

    A part is the neighbourhood of a speed maximum down to a share of that maximum, as gesture strokes are delimited by
    their velocity minima (Bressem & Ladewig, 2011). A movement without such a part, a slow drift, stays whole.
    """
    return _fast_parts(path, a, b, min_size) or [(a, b)]


def _fast_parts(path: Floats, a: int, b: int, min_size: float) -> list[tuple[int, int]]:
    if b - a < 1 or abs(path[b] - path[a]) < min_size:
        return []
    rate = np.diff(path[a : b + 1]) * (1 if path[b] > path[a] else -1)
    fastest = int(rate.argmax())
    slow = np.flatnonzero(rate < _SLOW_SHARE * rate[fastest])
    before, after = slow[slow < fastest], slow[slow > fastest]
    start = a + (int(before[-1]) + 1 if len(before) else 0)
    end = a + (int(after[0]) if len(after) else len(rate))
    share = abs(path[end] - path[start]) / abs(path[b] - path[a])
    if share >= _WHOLE_SHARE:  # the fit looks at the middle, so slow ends do no harm
        return [(a, b)]
    core = [(start, end)] if abs(path[end] - path[start]) >= min_size else []
    return [*_fast_parts(path, a, start, min_size), *core, *_fast_parts(path, end, b, min_size)]


def _fit_segment(path: Floats, a: int, b: int, *, offset: int, blur: float) -> MotionSegment:
    progress = (path[a : b + 1] - path[a]) / (path[b] - path[a])
    later = int(np.argmax(progress >= _HIGH))
    earlier = int(np.flatnonzero(progress[: later + 1] <= _LOW)[-1])
    at_low, at_high = _crossing(progress, earlier, _LOW), _crossing(progress, later - 1, _HIGH)
    # Smoothing widens a step: the squares of the widths add.
    steep = np.sqrt(max((at_high - at_low) ** 2 - _STEP_WIDTH_SIGMAS**2 * (blur**2 + _TRACKER_SIGMA_FRAMES**2), 0.25))
    half = float(steep / (_AT_HIGH - _AT_LOW) / 2)
    middle = (at_low + at_high) / 2
    start, end = max(0.0, middle - half), min(float(b - a), middle + half)
    origin = offset + a + 0.5
    return MotionSegment(start=origin + start, end=origin + end, value=float(path[a]), delta=float(path[b] - path[a]))


def _crossing(progress: Floats, before: int, share: float) -> float:
    """Instant at which the line from frame `before` to the next passes `share`."""
    a, b = float(progress[before]), float(progress[before + 1])
    return before + (share - a) / (b - a) if b > a else float(before)
