"""Movements in one series: legs between its turning points, and the chains they form.

    found = legs(course.pitch_deg, least=3.0)                  # down, up, down, up
    (nods,) = episodes(course.pitch_deg, least=3.0, gap_s=0.2, hold_s=2.0)    # one, that ends where it began
    oscillation(course.pitch_deg, range(40, 60), least=3.0)    # cycles inside a span

A leg is monotone but for jitter. Aimed human movement follows minimum jerk (Flash & Hogan, 1985), so where a leg begins
and ends is read off its steep middle, which no jitter blurs: the moments of 20 and 80 % of the way lie at 0.327 and
0.673 of its time. Instants are in frames, k + 1/2 being the middle of frame k.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from xsheet.annotate.motion.curves import FPS, Floats, median, smoothed, stretches

_LOW, _HIGH = 0.2, 0.8  # of the way
_AT_LOW, _AT_HIGH = 0.3266, 0.6734  # of the time, where minimum jerk has gone that far
# An action stands out from what a speaker does all the time: by this factor from the range of 0.6 s in the quietest
# tenth of the clip. More of the clip or longer windows would count the actions of lively clips as usual.
_STANDS_OUT, _QUIET, _QUIET_FRAMES = 2.0, 0.1, 15
_BACK = 0.45  # at rest again: nearer to where it began than this share of the farthest point
_BLUR = 1.75  # width of a smoothed step between these shares, in standard deviations of the smoothing
_TRACKER = 1.0  # frames, standard deviation of what a tracker smooths by itself
_REST_FRAMES, _REST_SHARE = 6, 0.08  # a way that goes on by less than this share in so many frames rests


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
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
class Chain:
    """Legs that follow one another: away from a place, perhaps to and fro, and perhaps back."""

    legs: tuple[Leg, ...]
    until: float | None = None  # the end of the clip, for a pose that is still held there

    @property
    def start(self) -> float:
        """When the first leg begins."""
        return self.legs[0].start

    @property
    def end(self) -> float:
        """When the last leg ends, or the clip does before the way back."""
        return self.legs[-1].end if self.until is None else self.until

    @property
    def offsets(self) -> Floats:
        """(legs,) how far from the first place each leg ends, signed."""
        return np.array([leg.value + leg.delta - self.legs[0].value for leg in self.legs])

    @property
    def peak(self) -> float:
        """The farthest of these, signed."""
        offsets = self.offsets
        return float(offsets[np.abs(offsets).argmax()])

    @property
    def returns(self) -> bool:
        """Whether it ends near where it began, as far as the clip shows."""
        return self.until is not None or abs(float(self.offsets[-1])) <= _BACK * abs(self.peak)

    @property
    def core(self) -> "Chain":
        """Without what comes before it leaves for good, and after it is back for good."""
        far = np.flatnonzero(np.abs(self.offsets) > _BACK * abs(self.peak))
        return replace(self, legs=self.legs[far[0] : far[-1] + 2])

    @property
    def hold(self) -> float:
        """Frames of stillness after the farthest point; 0 where it is the end."""
        at = int(np.abs(self.offsets).argmax())
        return self.legs[at + 1].start - self.legs[at].end if at + 1 < len(self.legs) else 0.0


def legs(values: Floats, *, least: float, jitter_frames: float = 1.0) -> list[Leg]:
    """Movements of at least `least`, in order; whatever turns back by less is jitter."""
    calm = smoothed(values, frames=jitter_frames)
    found: list[Leg] = []
    for known in stretches(np.isfinite(calm)):
        path = calm[known.start : known.stop]
        turns = turning_points(path, least)
        parts = [part for a, b in pairwise(turns) for part in _parts(path, a, b, least)]
        found += (_leg(path, a, b, offset=known.start, blur=jitter_frames) for a, b in parts)
    return found


def turning_points(path: Floats, least: float) -> list[int]:
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
        if rising is not False and values[high] - value >= least:
            turns.append(high)
            rising, low, high = False, k, k
        elif rising is not True and value - values[low] >= least:
            turns.append(low)
            rising, low, high = True, k, k
    return [*turns, high if rising else low] if turns else []


def chains(
    found: Sequence[Leg], *, frames: int, gap_s: float, hold_s: float, outwards: bool = False
) -> Iterator[Chain]:
    """Legs joined into episodes.

    Args:
        found: in order.
        frames: length of the clip.
        gap_s: what may lie between the return from one movement and the next repetition of it.
        hold_s: how long a pose may be held before it is a new place.
        outwards: the series is a distance: what begins by falling is a way back, and stands alone.
    """
    open_legs: list[Leg] = []
    for leg in found:
        if open_legs:
            so_far = Chain(legs=tuple(open_legs))
            pause_s = (leg.start - so_far.end) / FPS
            if pause_s > (gap_s if so_far.returns else hold_s):
                yield so_far
                open_legs = []
        if outwards and not open_legs and leg.delta < 0:
            yield Chain(legs=(leg,))
        else:
            open_legs.append(leg)
    if open_legs:
        last = Chain(legs=tuple(open_legs))
        held = not last.returns and (frames - last.end) / FPS <= hold_s
        yield replace(last, until=float(frames)) if held else last


def episodes(values: Floats, *, least: float, gap_s: float, hold_s: float, jitter_frames: float = 1.0) -> list[Chain]:
    """Chains of legs that stand out: `least` and more, and more than the speaker always does."""
    found = legs(values, least=max(least, _STANDS_OUT * usual_range(values)), jitter_frames=jitter_frames)
    return [chain.core for chain in chains(found, frames=len(values), gap_s=gap_s, hold_s=hold_s)]


def usual_range(values: Floats) -> float:
    """How far a series wanders in 0.6 s of the quietest tenth of a clip; 0 where it is too short to tell."""
    calm = smoothed(values)
    calm = calm[np.isfinite(calm)]
    if len(calm) < 2 * _QUIET_FRAMES:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(calm, _QUIET_FRAMES)
    return float(np.quantile(np.ptp(windows, axis=1), _QUIET))


def oscillation(values: Floats, inside: range, *, least: float) -> int:
    """Full cycles of at least `least` that a series makes inside a stretch; 0 where it moves one way only."""
    return len(legs(values[inside.start : inside.stop], least=least)) // 2


def excursion(values: Floats, inside: range, *, margin: int = 5) -> float | None:
    """How far a series goes inside a stretch from where it is just before and after, signed; None where it is not seen.

    `margin` is the number of frames before and after that are asked; at an end of the clip only the other side is.
    """
    around = np.concatenate((values[max(0, inside.start - margin) : inside.start], values[inside.stop :][:margin]))
    within = values[inside.start : inside.stop]
    if not np.isfinite(around).any() or not np.isfinite(within).any():
        return None
    away = smoothed(within) - median(around)
    return float(away[np.nanargmax(np.abs(away))])


def _parts(path: Floats, a: int, b: int, least: float) -> list[tuple[int, int]]:
    """A way from one turning point to the next, in two where it rests in between: each part at least `least` long."""
    way = np.abs(path[a : b + 1] - path[a])
    for k in range(1, b - a - _REST_FRAMES):
        rest = way[k + _REST_FRAMES] - way[k]
        if rest <= _REST_SHARE * way[-1] and way[k] >= least and way[-1] - way[k + _REST_FRAMES] >= least:
            middle = a + k + _REST_FRAMES // 2
            return [(a, middle), *_parts(path, middle, b, least)]
    return [(a, b)]


def _leg(path: Floats, a: int, b: int, *, offset: int, blur: float) -> Leg:
    way = (path[a : b + 1] - path[a]) / (path[b] - path[a])
    later = int(np.argmax(way >= _HIGH))
    earlier = int(np.flatnonzero(way[: later + 1] <= _LOW)[-1])
    at_low, at_high = _crossing(way, earlier, _LOW), _crossing(way, later - 1, _HIGH)
    # Smoothing widens a step: the squares of the widths add.
    steep = np.sqrt(max((at_high - at_low) ** 2 - _BLUR**2 * (blur**2 + _TRACKER**2), 0.25))
    half = float(steep / (_AT_HIGH - _AT_LOW) / 2)
    middle = (at_low + at_high) / 2
    start, end = max(0.0, middle - half), min(float(b - a), middle + half)
    origin = offset + a + 0.5
    return Leg(start=origin + start, end=origin + end, value=float(path[a]), delta=float(path[b] - path[a]))


def _crossing(way: Floats, before: int, share: float) -> float:
    """Where the line from frame `before` to the next one passes `share`."""
    a, b = float(way[before]), float(way[before + 1])
    return before + (share - a) / (b - a) if b > a else float(before)
