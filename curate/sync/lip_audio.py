"""Do these lips say what is heard? The embedded scorer: the mouth that was seen against the mouth the sound predicts.

Both are series at 25 fps, so scoring is pure and costs milliseconds; another span, shift or limit needs no decode.
The confidence is in standard deviations of chance: the correlation of seen and heard, Fisher-transformed, times the
root of the number of independent frames after Bartlett (1946), of opening and width together. Unrelated lips and voice
reach 3 at the best of 31 offsets once in twenty times, however long the clip; a true pair grows with its length.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.audio.features import VOICE_THRESHOLD, series_to_array
from xsheet.curate.sync.audio_to_mouth import WEIGHTS_SHA256
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.columns import Series
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import FaceTrack, Timeline

Floats = NDArray[np.float64]

SCORER = f"lip_audio@1-{WEIGHTS_SHA256[:8]}"
QUANTITY_WEIGHTS = np.array((1.0, 0.5))  # opening, width: the width is heard half as well; docs/log/curate.md#sync
_MAX_LAG_FRAMES = 25  # a mouth's motion is forgotten after a second
PEAK_HALF_WIDTH_FRAMES = 3  # a syllable is about six frames long, so a peak is no wider to each side


class LipAudioSettings(StrictModel):
    """How lips and voice are compared."""

    max_offset_frames: int = Field(default=15, ge=1, le=50, description="frames of 40 ms searched; SyncNet's range")
    window_frames: int = Field(default=50, ge=10, description="frames that are judged worth counting, or not, together")
    hop_frames: int = Field(default=25, ge=1, description="frames from one window to the next")
    min_voice_share: float = Field(default=0.3, ge=0, le=1, description="voiced frames of a window that counts")
    min_mouth_visible_share: float = Field(
        default=0.8, ge=0, le=1, description="frames with the mouth in a window that counts"
    )
    min_counted_frames: int = Field(
        default=50, ge=10, description="fewer counted frames say nothing; docs/log/curate.md#sync"
    )
    min_mouth_std: float = Field(
        default=0.004,
        ge=0,
        description="deviation of the opening by face height; stills stay below it; docs/log/curate.md#sync",
    )
    min_speaker_confidence: float = Field(
        default=2.5, ge=0, description="of the speaker among several faces; docs/log/curate.md#sync"
    )
    min_speaker_margin: float = Field(
        default=1.0, ge=0, description="of the speaker over the other faces, in the unit of the confidence; same entry"
    )


DEFAULT_SETTINGS = LipAudioSettings()


class LipAudioScorer:
    """Scores face tracks of one source."""

    def __init__(self, timeline: Timeline, settings: LipAudioSettings = DEFAULT_SETTINGS) -> None:
        heard = (timeline.mouth_open_from_audio, timeline.mouth_width_from_audio)
        self._predicted_mouth = np.stack([_place_series(series, 0, timeline.frames) for series in heard])
        self._voice = series_to_array(timeline.voice)
        self._settings = settings

    def __call__(self, track: FaceTrack, frames: range, *, shift: int = 0) -> SyncScore | None:
        """The score over frames of the source, with the sound taken `shift` frames later; None without sound."""
        if not len(self._voice):
            return None
        length = len(self._voice)
        mouth = np.stack(
            [_place_series(series, track.start_frame, length) for series in (track.mouth_open, track.mouth_wide)]
        )
        heard, voice = shift_series(self._predicted_mouth, shift), shift_series(self._voice, shift)
        return score_sync(mouth, heard, voice, frames=frames, settings=self._settings)


def score_sync(
    mouth: NDArray[np.floating],
    predicted: NDArray[np.floating],
    voice: NDArray[np.floating],
    *,
    frames: range | None = None,
    settings: LipAudioSettings = DEFAULT_SETTINGS,
) -> SyncScore:
    """Agreement of lips and voice over a span.

    Windows with enough voice and a visible mouth vote with all their frames, pauses included: a mouth that rests when
    the voice does is half of the evidence.

    Args:
        mouth: (T,) opening seen, or (2, T) opening and width; NaN where it was not.
        predicted: the same predicted from the sound; looked up beyond the span where an offset asks for it.
        voice: (T,) probability of voice.
        frames: the span in these series; all T when None.
        settings: how to compare.
    """
    seen, predicted = (np.atleast_2d(np.asarray(series, np.float64)) for series in (mouth, predicted))
    span = range(seen.shape[1]) if frames is None else frames
    seen = seen[:, span.start : span.stop]
    voiced = np.asarray(voice)[span.start : span.stop] >= VOICE_THRESHOLD
    counted, windows = valid_frames(~np.isnan(seen[0]), voiced, settings=settings)
    reason = _not_measurable_reason(seen[0], counted, settings)
    if reason is not None:
        return SyncScore(scorer=SCORER, windows=windows, not_measurable=reason)
    offsets = np.arange(-settings.max_offset_frames, settings.max_offset_frames + 1)
    z = np.array([_weighted_z(seen, predicted, span.start + int(d), counted) for d in offsets])
    if np.isnan(z).all():
        return SyncScore(scorer=SCORER, windows=windows, not_measurable="short")
    best = int(np.nanargmax(z))
    away = z[(np.abs(offsets - offsets[best]) > PEAK_HALF_WIDTH_FRAMES) & ~np.isnan(z)]
    return SyncScore(
        scorer=SCORER,
        offset_frames=int(offsets[best]),
        confidence=float(z[best]),
        margin=float(z[best] - away.max()) if len(away) else None,
        windows=windows,
    )


def active_speaker(scores: Sequence[SyncScore], *, settings: LipAudioSettings = DEFAULT_SETTINGS) -> int | None:
    """Place of the face whose mouth the sound explains; None when none does or two do alike."""
    ranked = sorted(range(len(scores)), key=lambda k: _confidence(scores[k]), reverse=True)
    if not ranked or _confidence(scores[ranked[0]]) < settings.min_speaker_confidence:
        return None
    lead = _confidence(scores[ranked[0]]) - (_confidence(scores[ranked[1]]) if len(ranked) > 1 else 0.0)
    return ranked[0] if lead >= settings.min_speaker_margin else None


def valid_frames(
    mouth_visible: NDArray[np.bool_], voiced: NDArray[np.bool_], *, settings: LipAudioSettings
) -> tuple[NDArray[np.bool_], int]:
    """(T,) frames of a span that count, and how many windows they come from.

    Args:
        mouth_visible: (T,) frames with the mouth.
        voiced: (T,) frames with voice.
        settings: how long a window is, and what it needs to count.
    """
    size = min(settings.window_frames, len(mouth_visible))
    counted, windows = np.zeros(len(mouth_visible), np.bool_), 0
    starts = [*range(0, len(mouth_visible) - size, settings.hop_frames), len(mouth_visible) - size] if size else []
    for start in starts:
        window = slice(start, start + size)
        if (
            voiced[window].mean() >= settings.min_voice_share
            and mouth_visible[window].mean() >= settings.min_mouth_visible_share
        ):
            counted[window] = True
            windows += 1
    return counted & mouth_visible, windows


def shift_series(series: NDArray[np.floating], frames: int) -> Floats:
    """The series (last axis T) taken `frames` later: what stood at t + frames stands at t. NaN where nothing is left.

    With the offset of a score as `frames`, lips and voice meet.
    """
    moved = np.full(series.shape, np.nan)
    length = series.shape[-1]
    kept = np.asarray(series, np.float64)[..., max(frames, 0) : max(length + min(frames, 0), 0)]
    start = max(-frames, 0)
    moved[..., start : start + kept.shape[-1]] = kept
    return moved


def _place_series(series: Series, start: int, length: int) -> Floats:
    """A series that begins at frame `start` of the source, as (length,) with NaN around it; all NaN when empty."""
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
    """Weighted sum of the agreements of all quantities, in standard deviations of chance; NaN without enough sound.

    Args:
        mouth: (Q, T) mouth.
        predicted: (Q, ...) of the source.
        start: frame of the source whose sound goes with the first frame of the mouth.
        valid: (T,) frames that count.
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


def _correlation_z(mouth: Floats, predicted: Floats, valid: NDArray[np.bool_], *, min_frames: int) -> float | None:
    """Fisher's z of the correlation of two (T,) series, in its standard deviations; None below `least` frames."""
    here = valid & ~np.isnan(mouth) & ~np.isnan(predicted)
    frames = int(here.sum())
    if frames < max(min_frames, 10):
        return None
    a, b = (np.where(here, series - series[here].mean(), 0.0) for series in (mouth, predicted))
    power = np.sqrt((a @ a) * (b @ b))
    if power == 0:
        return 0.0
    alike = sum((a[k:] @ a[:-k]) * (b[k:] @ b[:-k]) for k in range(1, min(_MAX_LAG_FRAMES, len(a))))
    independent = frames / max(1.0, 1 + 2 * alike / power**2)
    r = min(max(a @ b / power, -0.999), 0.999)
    return float(np.arctanh(r) * np.sqrt(independent))


def _confidence(score: SyncScore) -> float:
    return float("-inf") if score.confidence is None else score.confidence
