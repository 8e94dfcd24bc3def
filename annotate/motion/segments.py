"""Movements in one series: legs between its turning points, and the chains they form.

    found = legs(course.pitch_deg, least=3.0)                  # down, up, down, up
    (nods,) = episodes(course.pitch_deg, least=3.0, max_gap_s=0.2, hold_s=2.0)    # one, that ends where it began
    oscillation(course.pitch_deg, range(40, 60), least=3.0)    # cycles inside a span

A leg is monotone but for jitter. Aimed human movement follows minimum jerk (Flash & Hogan, 1985), so where a leg begins
and ends is read off its steep middle, which no jitter blurs: the moments of 20 and 80 % of the way lie at 0.327 and
0.673 of its time. Instants are in frames, k + 1/2 being the middle of frame k.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from xsheet.annotate.motion.series import FPS, Floats, finite_median, gaussian_smooth, true_ranges

_LOW, _HIGH = 0.2, 0.8  # of the way
_AT_LOW, _AT_HIGH = 0.3266, 0.6734  # of the time, where minimum jerk has gone that far
# An action stands out from what a speaker does all the time: by this factor from the range of 0.6 s in the quietest
# tenth of the clip. More of the clip or longer windows would count the actions of lively clips as usual.
_SALIENCE_FACTOR, _QUIET_QUANTILE, _QUIET_FRAMES = 2.0, 0.1, 15
_RETURN_SHARE = 0.45  # at rest again: nearer to where it began than this share of the farthest point
_STEP_WIDTH_SIGMAS = 1.75  # width of a smoothed step between these shares, in standard deviations of the smoothing
_TRACKER_SIGMA_FRAMES = 1.0  # frames, standard deviation of what a tracker smooths by itself
_REST_FRAMES, _REST_SHARE = 6, 0.08  # a way that goes on by less than this share in so many frames rests


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSegment:
    """One movement of one quantity in one direction."""

    start: float
    end: float
    value: float  # where it begins
    delta: float  # how far it goes, signed

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return (self.end - self.start) / FPS


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionEpisode:
    """Legs that follow one another: away from a place, perhaps to and fro, and perhaps back."""

    segments: tuple[MotionSegment, ...]
    held_until: float | None = None  # the end of the clip, for a pose that is still held there

    @property
    def start(self) -> float:
        """When the first leg begins."""
        return self.segments[0].start

    @property
    def end(self) -> float:
        """When the last leg ends, or the clip does before the way back."""
        return self.segments[-1].end if self.held_until is None else self.held_until

    @property
    def offsets(self) -> Floats:
        """(legs,) how far from the first place each leg ends, signed."""
        return np.array([leg.value + leg.delta - self.segments[0].value for leg in self.segments])

    @property
    def peak(self) -> float:
        """The farthest of these, signed."""
        offsets = self.offsets
        return float(offsets[np.abs(offsets).argmax()])

    @property
    def returns(self) -> bool:
        """Whether it ends near where it began, as far as the clip shows."""
        return self.held_until is not None or abs(float(self.offsets[-1])) <= _RETURN_SHARE * abs(self.peak)

    @property
    def core(self) -> "MotionEpisode":
        """Without what comes before it leaves for good, and after it is back for good."""
        far = np.flatnonzero(np.abs(self.offsets) > _RETURN_SHARE * abs(self.peak))
        return replace(self, segments=self.segments[far[0] : far[-1] + 2])

    @property
    def hold_frames(self) -> float:
        """Frames of stillness after the farthest point; 0 where it is the end."""
        at = int(np.abs(self.offsets).argmax())
        return self.segments[at + 1].start - self.segments[at].end if at + 1 < len(self.segments) else 0.0


def find_segments(values: Floats, *, min_size: float, smoothing_frames: float = 1.0) -> list[MotionSegment]:
    """Movements of at least `least`, in order; whatever turns back by less is jitter."""
    calm = gaussian_smooth(values, sigma_frames=smoothing_frames)
    found: list[MotionSegment] = []
    for known in true_ranges(np.isfinite(calm)):
        path = calm[known.start : known.stop]
        turns = turning_points(path, min_size)
        parts = [part for a, b in pairwise(turns) for part in _split_at_rests(path, a, b, min_size)]
        found += (_fit_segment(path, a, b, offset=known.start, blur=smoothing_frames) for a, b in parts)
    return found


def turning_points(path: Floats, min_size: float) -> list[int]:
    """Frames where a series turns: neighbours differ by `least` or more, and nothing between turns back so far.

    The first and the last are where its first movement begins and its last one ends; [] for one that stands still.
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
    """Legs joined into episodes.

    Args:
        segments: in order.
        frames: length of the clip.
        max_gap_s: what may lie between the return from one movement and the next repetition of it.
        max_hold_s: how long a pose may be held before it is a new place.
        is_distance: the series is a distance: what begins by falling is a way back, and stands alone.
    """
    open_legs: list[MotionSegment] = []
    for leg in segments:
        if open_legs:
            so_far = MotionEpisode(segments=tuple(open_legs))
            pause_s = (leg.start - so_far.end) / FPS
            if pause_s > (max_gap_s if so_far.returns else max_hold_s):
                yield so_far
                open_legs = []
        if is_distance and not open_legs and leg.delta < 0:
            yield MotionEpisode(segments=(leg,))
        else:
            open_legs.append(leg)
    if open_legs:
        last = MotionEpisode(segments=tuple(open_legs))
        held = not last.returns and (frames - last.end) / FPS <= max_hold_s
        yield replace(last, held_until=float(frames)) if held else last


def find_episodes(
    values: Floats, *, min_size: float, max_gap_s: float, max_hold_s: float, smoothing_frames: float = 1.0
) -> list[MotionEpisode]:
    """Chains of legs that stand out: `least` and more, and more than the speaker always does."""
    found = find_segments(
        values, min_size=max(min_size, _SALIENCE_FACTOR * background_range(values)), smoothing_frames=smoothing_frames
    )
    return [
        chain.core for chain in group_segments(found, frames=len(values), max_gap_s=max_gap_s, max_hold_s=max_hold_s)
    ]


def background_range(values: Floats) -> float:
    """How far a series wanders in 0.6 s of the quietest tenth of a clip; 0 where it is too short to tell."""
    calm = gaussian_smooth(values)
    calm = calm[np.isfinite(calm)]
    if len(calm) < 2 * _QUIET_FRAMES:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(calm, _QUIET_FRAMES)
    return float(np.quantile(np.ptp(windows, axis=1), _QUIET_QUANTILE))


def count_cycles(values: Floats, frames: range, *, min_size: float) -> int:
    """Full cycles of at least `least` that a series makes inside a stretch; 0 where it moves one way only."""
    return len(find_segments(values[frames.start : frames.stop], min_size=min_size)) // 2


def excursion(values: Floats, frames: range, *, margin: int = 5) -> float | None:
    """How far a series goes inside a stretch from where it is just before and after, signed; None where it is not seen.

    `margin` is the number of frames before and after that are asked; at an end of the clip only the other side is.
    """
    around = np.concatenate((values[max(0, frames.start - margin) : frames.start], values[frames.stop :][:margin]))
    within = values[frames.start : frames.stop]
    if not np.isfinite(around).any() or not np.isfinite(within).any():
        return None
    away = gaussian_smooth(within) - finite_median(around)
    return float(away[np.nanargmax(np.abs(away))])


def _split_at_rests(path: Floats, a: int, b: int, min_size: float) -> list[tuple[int, int]]:
    """A way from one turning point to the next, in two where it rests in between: each part at least `least` long."""
    way = np.abs(path[a : b + 1] - path[a])
    for k in range(1, b - a - _REST_FRAMES):
        rest = way[k + _REST_FRAMES] - way[k]
        if rest <= _REST_SHARE * way[-1] and way[k] >= min_size and way[-1] - way[k + _REST_FRAMES] >= min_size:
            middle = a + k + _REST_FRAMES // 2
            return [(a, middle), *_split_at_rests(path, middle, b, min_size)]
    return [(a, b)]


def _fit_segment(path: Floats, a: int, b: int, *, offset: int, blur: float) -> MotionSegment:
    way = (path[a : b + 1] - path[a]) / (path[b] - path[a])
    later = int(np.argmax(way >= _HIGH))
    earlier = int(np.flatnonzero(way[: later + 1] <= _LOW)[-1])
    at_low, at_high = _crossing(way, earlier, _LOW), _crossing(way, later - 1, _HIGH)
    # Smoothing widens a step: the squares of the widths add.
    steep = np.sqrt(max((at_high - at_low) ** 2 - _STEP_WIDTH_SIGMAS**2 * (blur**2 + _TRACKER_SIGMA_FRAMES**2), 0.25))
    half = float(steep / (_AT_HIGH - _AT_LOW) / 2)
    middle = (at_low + at_high) / 2
    start, end = max(0.0, middle - half), min(float(b - a), middle + half)
    origin = offset + a + 0.5
    return MotionSegment(start=origin + start, end=origin + end, value=float(path[a]), delta=float(path[b] - path[a]))


def _crossing(progress: Floats, before: int, share: float) -> float:
    """Where the line from frame `before` to the next one passes `share`."""
    a, b = float(progress[before]), float(progress[before + 1])
    return before + (share - a) / (b - a) if b > a else float(before)
