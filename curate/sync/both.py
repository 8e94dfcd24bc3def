"""Both scorers in one run: SyncNet corrects the offset and selects the speaker, the built-in one checks its result."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from xsheet.curate.media.audio import Samples
from xsheet.curate.sync.base import SyncAnalyser, SyncDistances, SyncScorer
from xsheet.curate.sync.lip_audio import LipAudioSettings
from xsheet.curate.sync.syncnet import SyncNetNetworkSettings
from xsheet.curate.sync.syncnet_scorer import SyncNetSettings
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import Timeline


class BothSettings(StrictModel):
    """SyncNet's score in `sync`, the built-in scorer's in `sync_second`; the limits of both apply."""

    name: Literal["both"] = Field(default="both", description="the scorer")
    syncnet: SyncNetSettings = Field(default=SyncNetSettings(), description="the first scorer")
    lip_audio: LipAudioSettings = Field(default=LipAudioSettings(), description="the second scorer")

    @property
    def network(self) -> SyncNetNetworkSettings:
        """SyncNet's."""
        return self.syncnet.network

    @property
    def max_offset_frames(self) -> int:
        """SyncNet's."""
        return self.syncnet.max_offset_frames

    def weights(self, models: Path | None) -> Path:
        """SyncNet's."""
        return self.syncnet.weights(models)

    def open(self, models: Path | None) -> Callable[[Samples], SyncAnalyser]:
        """Load SyncNet."""
        return self.syncnet.open(models)

    def scorers(self, timeline: Timeline, distances: Sequence[SyncDistances]) -> tuple[SyncScorer, ...]:
        """SyncNet's, then the built-in one."""
        return (*self.syncnet.scorers(timeline, distances), *self.lip_audio.scorers(timeline, distances))

    @property
    def speaker_scorer(self) -> int:
        """0: SyncNet's scores choose the speaker."""
        return 0

    def select_speaker(self, scores: Sequence[SyncScore]) -> int | None:
        """By SyncNet's scores."""
        return self.syncnet.select_speaker(scores)
