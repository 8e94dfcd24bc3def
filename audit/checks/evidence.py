"""Evidence: motion and voice measured in one clip, computed once and cached for all checks.

Speeds are stored as cumulative sums, so the mean over any span takes two look-ups. Movements of a quantity are detected
on first use.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.annotator import MotionSettings
from xsheet.annotate.motion.arm_rules import distance_from_rest
from xsheet.annotate.motion.curves import MOVING_SPEED, motion_curves, track_speeds
from xsheet.annotate.motion.detectors import detection_strength
from xsheet.annotate.motion.segments import MotionEpisode, background_range, find_segments, group_segments
from xsheet.annotate.motion.series import FPS, Floats
from xsheet.annotate.speech.relation import voice_spans
from xsheet.audit.checks.quantities import MotionQuantity, motion_quantities
from xsheet.schemas import vocab
from xsheet.schemas.clip import Signals
from xsheet.schemas.time import Span

_MIN_RESTING_SPEED = 0.1  # of the speed of a small movement; synthetic signals can be perfectly still
_USUAL_RANGE_FACTOR = 2.0  # times the usual range, as in the motion annotator
_HELD_AMPLITUDE_FACTOR = 1.5  # as in the motion annotator for expressions
_MIN_CORRELATION_FRAMES = 10  # fewest frames for a correlation


class ClipEvidence:
    """Measured motion and voice of one clip; frames are at 25 fps."""

    def __init__(self, signals: Signals, *, limits: MotionSettings | None = None) -> None:
        """`limits`: settings of the motion rules, those of the audited run if it has any; None is the default."""
        self.signals = signals
        self._limits = limits or MotionSettings()
        self.quantities = motion_quantities(self._limits)
        self.curves = motion_curves(signals)
        self.speeds = track_speeds(self.curves)
        self._sums: dict[vocab.Track, tuple[Floats, NDArray[np.int64]]] = {}
        self._values: dict[MotionQuantity, Floats] = {}
        self._large_movements: list[tuple[MotionQuantity, range, MotionEpisode]] | None = None
        self._usual_ranges: dict[MotionQuantity, float] = {}
        self._spans: dict[tuple[MotionQuantity, float], list[tuple[float, float]]] = {}
        self._episodes: dict[tuple[MotionQuantity, float], list[MotionEpisode]] = {}

    @cached_property
    def voice(self) -> tuple[Span, ...] | None:
        """Spans with voice activity; None if the sound was not measured."""
        return voice_spans(self.signals) if self.signals.voice else None

    def visible_share(self, track: vocab.Track, frames: range) -> float | None:
        """Share of the frames in which a track is visible; None if its motion was not measured."""
        visible = self.curves.visibility.get(track)
        if visible is None or (track == "torso" and not self._has_torso):
            return None
        part = visible[frames.start : frames.stop]
        return float(part.mean()) if len(part) else None

    @cached_property
    def _has_torso(self) -> bool:
        # A head height that never changes is a constant, not a measurement.
        return bool(
            np.isfinite(self.curves.shoulder_rise).any() or np.ptp(np.nan_to_num(self.curves.log_head_height)) > 0
        )

    def mean_speed(self, track: vocab.Track, frames: range) -> float | None:
        """Mean speed of a track over frames; None if it is hidden in all of them."""
        total, known = self._sums_of(track)
        start, stop = frames.start, min(frames.stop, len(known) - 1)
        count = known[stop] - known[start] if start < stop else 0
        return float((total[stop] - total[start]) / count) if count else None

    def resting_speed(self, track: vocab.Track, active_frames: NDArray[np.bool_]) -> float | None:
        """Median speed outside the active frames, at least a tenth of a small movement; None without such frames."""
        outside = self.speeds[track][~active_frames]
        outside = np.sort(outside[np.isfinite(outside)])  # takes a third of the time of np.median
        return (
            max(float(outside[len(outside) // 2]), _MIN_RESTING_SPEED * MOVING_SPEED[track]) if len(outside) else None
        )

    def motion_energy_gain(self, track: vocab.Track, frames: range, active_frames: NDArray[np.bool_]) -> float | None:
        """Share of the motion in `frames` minus their share of the time; excludes other active frames from both."""
        speed = self.speeds[track]
        counted = ~active_frames & np.isfinite(speed)
        counted[frames.start : frames.stop] = np.isfinite(speed[frames.start : frames.stop])
        total, inside = float(speed[counted].sum()), self.mean_speed(track, frames)
        if inside is None or total <= 0:
            return None
        within = int(counted[frames.start : frames.stop].sum())
        return within * inside / total - within / int(counted.sum())

    def class_strength(self, action: vocab.Action, frames: range, side: vocab.Laterality) -> float | None:
        """Amplitude of a class in `frames`, 1 = the minimum that counts; negative for the opposite side."""
        return detection_strength(self.curves, action, frames, side=side, limits=self._limits)

    def values(self, quantity: MotionQuantity) -> Floats:
        """(frames,) values of a quantity."""
        if quantity not in self._values:
            curve: Floats = getattr(self.curves, quantity.curve)
            self._values[quantity] = distance_from_rest(curve) if curve.ndim == 2 else curve
        return self._values[quantity]

    def movements(self, quantity: MotionQuantity, *, scale: float) -> list[MotionEpisode]:
        """Movements of a quantity in order; each segment has at least `scale` times the minimum amplitude."""
        key = (quantity, scale)
        if key not in self._episodes:
            values = self.values(quantity)
            segments = find_segments(
                values, min_size=scale * quantity.min_amplitude, smoothing_frames=quantity.jitter_frames
            )
            self._episodes[key] = list(
                group_segments(
                    segments,
                    frames=len(values),
                    max_gap_s=quantity.max_gap_s,
                    max_hold_s=quantity.max_hold_s,
                    is_distance=quantity.curve.startswith("wrist"),
                )
            )
        return self._episodes[key]

    def movement_spans(self, quantity: MotionQuantity, *, scale: float) -> list[tuple[float, float]]:
        """(start, end) in frames of each movement, with and without its preparation and retraction."""
        key = (quantity, scale)
        if key not in self._spans:
            episodes = self.movements(quantity, scale=scale)
            self._spans[key] = sorted({(e.start, e.end) for episode in episodes for e in (episode, episode.core)})
        return self._spans[key]

    def large_movements(
        self, min_amplitude: float, min_duration_s: float
    ) -> list[tuple[MotionQuantity, range, MotionEpisode]]:
        """Movements of all quantities that are large enough for their pace, have the required sign and return."""
        if self._large_movements is None:
            self._large_movements = [
                (quantity, frames, episode)
                for quantity in self.quantities.missable
                if self._range_exceeds(self.values(quantity), min_amplitude * quantity.min_amplitude)
                for episode in self.movements(quantity, scale=1.0)
                if len(frames := range(max(0, round(episode.start)), min(len(self.curves), round(episode.end))))
                >= min_duration_s * FPS
                and _is_large(episode, len(frames) / FPS, quantity, min_amplitude * quantity.min_amplitude)
            ]
        return self._large_movements

    def exceeds_usual_range(self, quantity: MotionQuantity, frames: range, episode: MotionEpisode) -> bool:
        """Whether a movement exceeds the usual range of this speaker and its required class responds."""
        if quantity not in self._usual_ranges:
            self._usual_ranges[quantity] = background_range(self.values(quantity))
        if abs(episode.peak) < _USUAL_RANGE_FACTOR * self._usual_ranges[quantity]:
            return False
        return (
            quantity.required_action is None
            or (self.class_strength(quantity.required_action, frames, "none") or 0.0) >= 1.0
        )

    def _range_exceeds(self, values: Floats, min_range: float) -> bool:
        """Cheap test that spares most quantities the search for movements."""
        known = values[np.isfinite(values)]
        return len(known) > 0 and float(known.max() - known.min()) >= min_range

    @cached_property
    def mouth_correlation(self) -> float | None:
        """Pearson's r of mouth opening and loudness over frames with both; None if either is constant."""
        mouth = self.curves.mouth_opening
        loud = np.array(self.signals.energy_db or [None] * len(mouth), np.float64)
        both = np.isfinite(mouth) & np.isfinite(loud)
        if both.sum() < _MIN_CORRELATION_FRAMES or np.ptp(mouth[both]) == 0 or np.ptp(loud[both]) == 0:
            return None
        return float(np.corrcoef(mouth[both], loud[both])[0, 1])

    def _sums_of(self, track: vocab.Track) -> tuple[Floats, NDArray[np.int64]]:
        if track not in self._sums:
            speed = self.speeds[track]
            known = np.isfinite(speed)
            total = np.concatenate(([0.0], np.cumsum(np.where(known, speed, 0.0))))
            self._sums[track] = total, np.concatenate(([0], np.cumsum(known)))
        return self._sums[track]


def _is_large(episode: MotionEpisode, seconds: float, quantity: MotionQuantity, min_amplitude: float) -> bool:
    if not episode.returns or (quantity.required_sign and quantity.required_sign * episode.peak < 0):
        return False
    if quantity.max_segments is not None and len(episode.segments) > quantity.max_segments:
        return False
    cycle_s = seconds / max(1, len(episode.segments) // 2)
    factor = 1.0
    if episode.held_until is not None:  # a pose held to the end of the clip can be drift
        factor = _HELD_AMPLITUDE_FACTOR
    if cycle_s > quantity.posture_after_s:
        factor = max(factor, quantity.posture_amplitude_factor)
    return abs(episode.peak) >= factor * min_amplitude
