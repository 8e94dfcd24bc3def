"""Interface of every sync scorer: what it adds to the decode, and how it scores faces from what is stored.

A scorer is chosen by its settings, a member of `SyncSettings` in `curate/settings.py`:

    network, weights, open          what runs in the decode and gives distances; None where series suffice
    scorers(timeline, distances)    scores from stored results, without pictures
    select_speaker(scores)          which of several faces speaks, by thresholds in the unit of its `speaker_scorer`
"""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from xsheet.curate.faces.linker import Box
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.frames import Frame
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.columns import RECORD, Count, Id, Str
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import FaceTrack, Timeline

Floats = NDArray[np.float32]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class SyncDistances:
    """Distances of the mouth of one track to the sound around it. Stored with the results of the decode, in no table.

    Row k belongs to the window that starts at frame `start_frame` + k, column j to a sound that is j - `max_lag_frames`
    frames late. NaN = no window. The smaller, the better they match, in the unit of the scorer.
    """

    TAG: ClassVar[str] = "sync_distances"
    track_id: Annotated[Id, "face track"]
    scorer: Annotated[Str, "name and version of the network"]
    start_frame: Annotated[Count, "first frame in the source, at 25 fps"]
    max_lag_frames: Annotated[Count, "offsets to each side"]
    values: Annotated[Str, "(frames, 2 max_lag_frames + 1) little-endian float32 in base64; exact and short"]

    @classmethod
    def of(cls, distances: Floats, **fields: Any) -> Self:
        """Encode (frames, 2 max_lag_frames + 1) distances."""
        return cls(values=base64.b64encode(distances.astype("<f4").tobytes()).decode(), **fields)

    def to_array(self) -> Floats:
        """(frames, 2 max_lag_frames + 1) distances."""
        values = np.frombuffer(base64.b64decode(self.values, validate=True), "<f4")
        return values.reshape(-1, 2 * self.max_lag_frames + 1)


class SyncScorer(Protocol):
    """Scores the agreement of lips and voice."""

    def __call__(self, track: FaceTrack, frames: range, *, shift: int) -> SyncScore | None:
        """Score frames of the source with the sound advanced by `shift` frames; None without sound."""
        ...


class SyncAnalyser(Protocol):
    """The part of a scorer that needs pictures and sound: receives every frame of the decode, in order."""

    def add(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Process the faces of the next frame; boxes are (x0, y0, x1, y1) in pixels."""
        ...

    def close(self) -> None:
        """Process what is pending; no frame may follow."""
        ...

    def distances(self, tracks: Sequence[FaceTrack]) -> list[SyncDistances]:
        """One row per track, NaN where it has no window."""
        ...


class NetworkSettings(Protocol):
    """Settings of what a scorer runs in the decode; all of them are part of the key of its results."""

    @property
    def max_lag_frames(self) -> int:
        """Frames of 40 ms compared to each side; 0 = the network searches no offset."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """As a dictionary."""
        ...


class SyncMethod(Protocol):
    """Settings of a sync scorer, which build it."""

    @property
    def network(self) -> NetworkSettings | None:
        """Settings of what runs in the decode; None where series of mouth and sound suffice."""
        ...

    @property
    def max_offset_frames(self) -> int:
        """Frames of 40 ms searched to each side."""
        ...

    def weights(self, models: Path | None) -> Path | None:
        """The file that `open` loads.

        Raises:
            ConfigError: it is not in the models folder.
        """
        ...

    def open(self, models: Path | None) -> Callable[[Samples], SyncAnalyser] | None:
        """Load what runs in the decode, once per worker; returns the analyser of one source, given its sound.

        Raises:
            ConfigError: weights or their hash missing, another hash, or unexpected tensors.
            RunError: the extra is not installed.
        """
        ...

    def scorers(self, timeline: Timeline, distances: Sequence[SyncDistances]) -> tuple[SyncScorer, ...]:
        """The scorer of one source, then a second one whose scores are stored beside the first one's."""
        ...

    @property
    def speaker_scorer(self) -> int:
        """Index in `scorers` of the one whose scores `select_speaker` compares."""
        ...

    def select_speaker(self, scores: Sequence[SyncScore]) -> int | None:
        """Index of the face that speaks; None if none does or two match similarly."""
        ...


class VoicedWindowSettings(StrictModel):
    """Which frames of a candidate count, and who of several faces speaks."""

    window_frames: int = Field(default=50, ge=10, description="window length; a window counts as a whole or not at all")
    hop_frames: int = Field(default=25, ge=1, description="frames from one window to the next")
    min_voice_share: float = Field(
        default=0.3, ge=0, le=1, description="minimum share of voiced frames in a valid window"
    )
    min_mouth_visible_share: float = Field(
        default=0.8, ge=0, le=1, description="minimum share of frames with a visible mouth in a valid window"
    )
    min_counted_frames: int = Field(
        default=50, ge=10, description="minimum number of valid frames for a score; docs/log/curate.md#sync"
    )
    min_speaker_confidence: float = Field(
        default=2.5, ge=0, description="minimum confidence of the speaker among several faces; docs/log/curate.md#sync"
    )
    min_speaker_margin: float = Field(
        default=1.0,
        ge=0,
        description="minimum lead of the speaker over other faces, in the unit of the confidence; same entry",
    )

    @property
    def speaker_scorer(self) -> int:
        """0: the first scorer."""
        return 0

    def select_speaker(self, scores: Sequence[SyncScore]) -> int | None:
        """Index of the face whose mouth matches the sound; None if none does or two match similarly."""
        ranked = sorted(range(len(scores)), key=lambda k: _confidence(scores[k]), reverse=True)
        if not ranked or _confidence(scores[ranked[0]]) < self.min_speaker_confidence:
            return None
        lead = _confidence(scores[ranked[0]]) - (_confidence(scores[ranked[1]]) if len(ranked) > 1 else 0.0)
        return ranked[0] if lead >= self.min_speaker_margin else None


class SeriesScorerSettings(VoicedWindowSettings):
    """A scorer that needs nothing of the decode but the series that every decode stores."""

    @property
    def network(self) -> None:
        """None: the series of every decode suffice."""
        return

    def weights(self, models: Path | None) -> None:
        """None: there is no file to load."""
        return

    def open(self, models: Path | None) -> None:
        """None: nothing runs in the decode."""
        return


def valid_frames(
    mouth_visible: NDArray[np.bool_], voiced: NDArray[np.bool_], *, settings: VoicedWindowSettings
) -> tuple[NDArray[np.bool_], int]:
    """(T,) mask of valid frames in a span, and the number of valid windows.

    Args:
        mouth_visible: (T,) frames with a visible mouth.
        voiced: (T,) frames with voice.
        settings: window length and thresholds.
    """
    size = min(settings.window_frames, len(mouth_visible))
    valid, windows = np.zeros(len(mouth_visible), np.bool_), 0
    starts = [*range(0, len(mouth_visible) - size, settings.hop_frames), len(mouth_visible) - size] if size else []
    for start in starts:
        window = slice(start, start + size)
        if (
            voiced[window].mean() >= settings.min_voice_share
            and mouth_visible[window].mean() >= settings.min_mouth_visible_share
        ):
            valid[window] = True
            windows += 1
    return valid & mouth_visible, windows


def _confidence(score: SyncScore) -> float:
    return float("-inf") if score.confidence is None else score.confidence
