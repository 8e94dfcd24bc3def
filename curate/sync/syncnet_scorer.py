"""SyncNet as a sync scorer: its settings, and scores of spans from the distances that the decode stored."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.audio.features import VOICE_THRESHOLD
from xsheet.curate.media.audio import Samples
from xsheet.curate.series import series_to_array, shift_series
from xsheet.curate.sync.base import Floats, SyncDistances, VoicedWindowSettings, valid_frames
from xsheet.curate.sync.lip_audio import PEAK_HALF_WIDTH_FRAMES
from xsheet.curate.sync.network_weights import converted_weights
from xsheet.curate.sync.syncnet import WINDOW_FRAMES, SyncNet, SyncNetNetworkSettings
from xsheet.curate.sync.syncnet_stream import SyncNetAnalyser
from xsheet.curate.weights import SYNCNET_WEIGHTS
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.source import FaceTrack, Timeline


class SyncNetSettings(VoicedWindowSettings):
    """SyncNet: needs its weights; the confidence is LSE-C."""

    name: Literal["syncnet"] = Field(default="syncnet", description="the scorer")
    max_offset_frames: int = Field(default=15, ge=1, le=50, description="frames of 40 ms searched; as in the original")
    network: SyncNetNetworkSettings = Field(default=SyncNetNetworkSettings(), description="what runs in the decode")

    def weights(self, models: Path | None) -> Path:
        """The converted weights in the models folder.

        Raises:
            ConfigError: they are not there.
        """
        return converted_weights(models, SYNCNET_WEIGHTS, command="xsheet models convert")

    def open(self, models: Path | None) -> Callable[[Samples], SyncNetAnalyser]:
        """Load the network; raises as SyncNet.open."""
        net = SyncNet(self.weights(models), settings=self.network)
        net.open()
        return partial(SyncNetAnalyser, net)

    def scorers(self, timeline: Timeline, distances: Sequence[SyncDistances]) -> tuple["SyncNetScorer"]:
        """The scorer of one source."""
        return (SyncNetScorer(timeline, distances, self),)


DEFAULT_SETTINGS = SyncNetSettings()


class SyncNetScorer:
    """Scores face tracks of one source over voiced windows."""

    def __init__(
        self, timeline: Timeline, distances: Sequence[SyncDistances], settings: SyncNetSettings = DEFAULT_SETTINGS
    ) -> None:
        self._voice = series_to_array(timeline.voice)
        self._settings = settings
        self._distances = {row.track_id: (row.scorer, _place_distances(row, len(self._voice))) for row in distances}

    def __call__(self, track: FaceTrack, frames: range, *, shift: int = 0) -> SyncScore | None:
        """Score frames of the source with the sound advanced by `shift` frames; None without sound."""
        if not len(self._voice):
            return None
        name, distances = self._distances[track.track_id]
        span = slice(frames.start, max(frames.start, frames.stop - WINDOW_FRAMES))  # windows that end inside
        voiced = shift_series(self._voice, shift)[span] >= VOICE_THRESHOLD
        if len(voiced) < self._settings.min_counted_frames:
            return SyncScore(scorer=name, windows=0, not_measurable="short")
        hidden = np.isnan(distances[span, 0])
        valid, windows = valid_frames(~hidden, voiced, settings=self._settings)
        if not windows:
            is_hidden = hidden.mean() > 1 - self._settings.min_mouth_visible_share
            return SyncScore(scorer=name, windows=0, not_measurable="face_hidden" if is_hidden else "unvoiced")
        return syncnet_score(distances[span], valid, scorer=name, shift=shift, settings=self._settings)


def syncnet_score(
    distances: Floats,
    valid: NDArray[np.bool_],
    *,
    scorer: str,
    shift: int = 0,
    settings: SyncNetSettings = DEFAULT_SETTINGS,
) -> SyncScore:
    """Score as in the original: distance (LSE-D) = minimum mean distance, confidence (LSE-C) = median - minimum.

    Args:
        distances: (T, 2 max_lag_frames + 1) of the windows of a span; NaN where the face is not visible.
        valid: (T,) valid windows.
        scorer: name and version of the network.
        shift: advance of the sound in frames; with the search it stays within the stored lags.
        settings: parameters of SyncNet.
    """
    rows = distances[valid & ~np.isnan(distances[:, 0])]
    if not len(rows):
        return SyncScore(scorer=scorer, windows=0, not_measurable="face_hidden")
    centre, max_offset = distances.shape[1] // 2 + shift, settings.max_offset_frames
    mean = rows[:, centre - max_offset : centre + max_offset + 1].mean(0)
    best = int(mean.argmin())
    outside_peak = mean[np.abs(np.arange(len(mean)) - best) > PEAK_HALF_WIDTH_FRAMES]
    return SyncScore(
        scorer=scorer,
        offset_frames=best - max_offset,
        confidence=float(np.median(mean) - mean[best]),
        margin=float(outside_peak.min() - mean[best]) if len(outside_peak) else None,
        distance=float(mean[best]),
        windows=len(rows),
    )


def _place_distances(row: SyncDistances, frames: int) -> Floats:
    """(frames of the source, 2 max_lag_frames + 1) distances of one track; NaN where it has none."""
    placed = np.full((frames, 2 * row.max_lag_frames + 1), np.nan, np.float32)
    part = row.to_array()[: max(0, frames - row.start_frame)]
    placed[row.start_frame : row.start_frame + len(part)] = part
    return placed
