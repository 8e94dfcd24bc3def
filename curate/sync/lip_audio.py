"""Built-in sync scorer: correlates the measured mouth with the mouth predicted from the sound.

Both are series at 25 fps, so scoring is pure, takes milliseconds and needs no decode for another span or shift.
Confidence is in standard deviations of chance: Fisher z of the correlation, times the root of the number of independent
frames (Bartlett, 1946), combined over opening and width. Unrelated lips and voice reach 3 at the best of 31 offsets in
5 % of cases, for any clip length; the confidence of a true pair grows with length.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.audio.features import VOICE_THRESHOLD
from xsheet.curate.series import series_to_array, shift_series
from xsheet.curate.sync.audio_to_mouth import WEIGHTS_SHA256
from xsheet.curate.sync.base import SeriesScorerSettings, SyncDistances, valid_frames
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.columns import Series
from xsheet.schemas.source import FaceTrack, Timeline

Floats = NDArray[np.float64]

SCORER = f"lip_audio@1-{WEIGHTS_SHA256[:8]}"
QUANTITY_WEIGHTS = np.array((1.0, 0.5))  # opening, width: width is predicted half as well; docs/log/curate.md#sync
_MAX_LAG_FRAMES = 25  # mouth motion is uncorrelated after a second
PEAK_HALF_WIDTH_FRAMES = 3  # a syllable lasts about six frames


class LipAudioSettings(SeriesScorerSettings):
    """The built-in scorer."""

    name: Literal["lip_audio"] = Field(default="lip_audio", description="the scorer")
    max_offset_frames: int = Field(default=15, ge=1, le=50, description="frames of 40 ms searched; SyncNet's range")
    min_mouth_std: float = Field(
        default=0.004,
        ge=0,
        description="minimum standard deviation of the opening by face height; still images have less; "
        "docs/log/curate.md#sync",
    )

    def scorers(self, timeline: Timeline, distances: Sequence[SyncDistances]) -> tuple["LipAudioScorer"]:
        """The scorer of one source."""
        return (LipAudioScorer(timeline, self),)


DEFAULT_SETTINGS = LipAudioSettings()


class LipAudioScorer:
    """Scores face tracks of one source."""

    def __init__(self, timeline: Timeline, settings: LipAudioSettings = DEFAULT_SETTINGS) -> None:
        predicted = (timeline.mouth_open_from_audio, timeline.mouth_width_from_audio)
        self._predicted_mouth = np.stack([_place_series(series, 0, timeline.frames) for series in predicted])
        self._voice = series_to_array(timeline.voice)
        self._settings = settings

    def __call__(self, track: FaceTrack, frames: range, *, shift: int = 0) -> SyncScore | None:
        """Score frames of the source with the sound advanced by `shift` frames; None without sound."""
        if not len(self._voice):
            return None
        length = len(self._voice)
        mouth = np.stack(
            [_place_series(series, track.start_frame, length) for series in (track.mouth_open, track.mouth_wide)]
        )
        predicted, voice = shift_series(self._predicted_mouth, shift), shift_series(self._voice, shift)
        return score_sync(mouth, predicted, voice, frames=frames, settings=self._settings)


def score_sync(
    mouth: NDArray[np.floating],
    predicted: NDArray[np.floating],
    voice: NDArray[np.floating],
    *,
    frames: range | None = None,
    settings: LipAudioSettings = DEFAULT_SETTINGS,
) -> SyncScore:
    """Score the agreement of lips and voice over a span.

    Valid windows (enough voice, visible mouth) count with all their frames, pauses included: a mouth that rests in
    pauses is evidence too.

    Args:
        mouth: (T,) measured opening, or (2, T) opening and width; NaN where not visible.
        predicted: the same predicted from the sound; offsets read beyond the span.
        voice: (T,) probability of voice.
        frames: the span in these series; None is all T.
        settings: parameters of the scorer.
    """
    measured, predicted = (np.atleast_2d(np.asarray(series, np.float64)) for series in (mouth, predicted))
    span = range(measured.shape[1]) if frames is None else frames
    measured = measured[:, span.start : span.stop]
    voiced = np.asarray(voice)[span.start : span.stop] >= VOICE_THRESHOLD
    valid, windows = valid_frames(~np.isnan(measured[0]), voiced, settings=settings)
    reason = _not_measurable_reason(measured[0], valid, settings)
    if reason is not None:
        return SyncScore(scorer=SCORER, windows=windows, not_measurable=reason)
    offsets = np.arange(-settings.max_offset_frames, settings.max_offset_frames + 1)
    z = np.array([_weighted_z(measured, predicted, span.start + int(d), valid) for d in offsets])
    if np.isnan(z).all():
        return SyncScore(scorer=SCORER, windows=windows, not_measurable="short")
    best = int(np.nanargmax(z))
    outside_peak = z[(np.abs(offsets - offsets[best]) > PEAK_HALF_WIDTH_FRAMES) & ~np.isnan(z)]
    return SyncScore(
        scorer=SCORER,
        offset_frames=int(offsets[best]),
        confidence=float(z[best]),
        margin=float(z[best] - outside_peak.max()) if len(outside_peak) else None,
        windows=windows,
    )


def _place_series(series: Series, start: int, length: int) -> Floats:
    """Place a series that begins at frame `start` into (length,) NaN."""
    placed = np.full(length, np.nan)
    placed[start : start + len(series)] = series_to_array(series)[: max(0, length - start)]
    return placed


def _not_measurable_reason(mouth: Floats, valid: NDArray[np.bool_], settings: LipAudioSettings) -> str | None:
    if len(mouth) < settings.min_counted_frames:
        return "short"
    if valid.sum() < settings.min_counted_frames:
        return "face_hidden" if np.mean(~np.isnan(mouth)) < settings.min_mouth_visible_share else "unvoiced"
    return "still" if np.std(mouth[valid]) < settings.min_mouth_std else None


def _weighted_z(mouth: Floats, predicted: Floats, start: int, valid: NDArray[np.bool_]) -> float:
    """Weighted z of all quantities, in standard deviations of chance; NaN without enough sound.

    Args:
        mouth: (Q, T) measured mouth.
        predicted: (Q, frames of the source) predicted mouth.
        start: frame of the source whose sound pairs with the first frame of the mouth.
        valid: (T,) valid frames.
    """
    low, high = max(0, -start), min(mouth.shape[1], predicted.shape[1] - start)
    if high <= low:
        return float("nan")
    pairs = [
        _correlation_z(a[low:high], b[start + low : start + high], valid[low:high], min_frames=valid.sum() // 2)
        for a, b in zip(mouth, predicted, strict=True)
    ]
    known = [(z, weight) for z, weight in zip(pairs, QUANTITY_WEIGHTS, strict=False) if z is not None]
    if pairs[0] is None:
        return float("nan")
    return float(sum(z * w for z, w in known) / np.sqrt(sum(w * w for _, w in known)))


def _autocovariances(series: Floats) -> Floats:
    """(_MAX_LAG_FRAMES - 1,) sums of products of a (T,) series with itself, 1, 2, ... frames later."""
    padded = np.concatenate([series, np.zeros(_MAX_LAG_FRAMES - 1)])
    return np.asarray(np.correlate(padded, series, mode="valid")[1:], np.float64)


def _correlation_z(mouth: Floats, predicted: Floats, valid: NDArray[np.bool_], *, min_frames: int) -> float | None:
    """Fisher z of the correlation of two (T,) series in standard deviations; None below `min_frames` frames."""
    both = valid & ~np.isnan(mouth) & ~np.isnan(predicted)
    frames = int(both.sum())
    if frames < max(min_frames, 10):
        return None
    a, b = (np.where(both, series - series[both].mean(), 0.0) for series in (mouth, predicted))
    power = np.sqrt((a @ a) * (b @ b))
    if power == 0:
        return 0.0
    autocovariance = float(_autocovariances(a) @ _autocovariances(b))
    independent = frames / max(1.0, 1 + 2 * autocovariance / power**2)
    r = min(max(a @ b / power, -0.999), 0.999)
    return float(np.arctanh(r) * np.sqrt(independent))
