"""Settings of a curation run: one section per part, each declared beside the code that reads it."""

from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from xsheet.curate.audio.features import AudioFeatureSettings
from xsheet.curate.body.pose import PoseSettings
from xsheet.curate.candidates.segment import CandidateSettings
from xsheet.curate.faces.tracker import FaceSettings
from xsheet.curate.filter.limits import FilterLimits
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.writer import ClipEncodingSettings
from xsheet.curate.picture.quality import PictureSettings
from xsheet.curate.shots.detect import ShotSettings
from xsheet.curate.sync.both import BothSettings
from xsheet.curate.sync.light_asd_scorer import LightAsdSettings
from xsheet.curate.sync.lip_audio import LipAudioSettings
from xsheet.curate.sync.syncnet_scorer import SyncNetSettings
from xsheet.schemas.settings import StrictModel


def _name(value: Any) -> Any:
    """Which scorer a section configures; the built-in one where it names none."""
    return value.get("name", "lip_audio") if isinstance(value, dict) else getattr(value, "name", None)


SyncSettings = Annotated[
    Annotated[LipAudioSettings, Tag("lip_audio")]
    | Annotated[SyncNetSettings, Tag("syncnet")]
    | Annotated[BothSettings, Tag("both")]
    | Annotated[LightAsdSettings, Tag("light_asd")],
    Discriminator(_name),
]
"""A sync scorer by its `name`; each is a `SyncMethod`."""


class DecodeSettings(StrictModel):
    """What the decode reads. A change of any value measures the source again."""

    media: MediaLimits = Field(default=MediaLimits(), description="limits on input files")
    long_side_px: int = Field(
        default=640,
        ge=128,
        le=2160,
        description="longer side of the frames that analysers get; faces need about 60 px. A whole fraction of 1280, "
        "1920 and 3840, to which scaling costs least",
    )
    min_frames: int = Field(default=8, ge=1, description="0.3 s; shorter sources are rejected without a decode")
    min_voiced_s: float = Field(
        default=1.0, ge=0, description="sources with less voice are rejected without a decode; 0 decodes everything"
    )
    sound: AudioFeatureSettings = Field(default=AudioFeatureSettings(), description="detection of voice and music")
    picture: PictureSettings = Field(default=PictureSettings(), description="picture measures")
    faces: FaceSettings = Field(default=FaceSettings(), description="face detection and tracking")


class SegmentSettings(StrictModel):
    """What shots, candidates and their measures follow from. A change needs no decode: `xsheet curate segment`."""

    shots: ShotSettings = Field(default=ShotSettings(), description="shot detection")
    candidates: CandidateSettings = Field(
        default=CandidateSettings(), description="how shots and tracks become candidates"
    )
    sync: SyncSettings = Field(
        default=LipAudioSettings(), description="sync scorer: lip_audio, syncnet, both or light_asd"
    )

    @model_validator(mode="after")
    def _distances_cover_the_shift(self) -> Self:
        network, needed = self.sync.network, self.sync.max_offset_frames + self.candidates.max_sync_shift_frames
        if network is not None and 0 < network.max_lag_frames < needed:
            raise ValueError(
                f"expected sync.network.max_lag_frames of at least {needed}, the sum of the scorer's "
                f"max_offset_frames and candidates.max_sync_shift_frames, got {network.max_lag_frames}"
            )
        return self


class AnalysisSettings(DecodeSettings, SegmentSettings):
    """Everything that changes measurements. Limits, which decide what is kept, are separate."""

    @property
    def decode(self) -> DecodeSettings:
        """The part that the decode reads, but for the network of the sync scorer."""
        return DecodeSettings(**{name: getattr(self, name) for name in DecodeSettings.model_fields})

    @property
    def segment(self) -> SegmentSettings:
        """The part that needs no decode."""
        return SegmentSettings(**{name: getattr(self, name) for name in SegmentSettings.model_fields})


class ClipExportSettings(StrictModel):
    """How kept clips are written."""

    max_long_side_px: int = Field(default=1920, ge=64, le=4096, description="larger frames are scaled down")
    encoding: ClipEncodingSettings = Field(default=ClipEncodingSettings(), description="H.264 and AAC")
    pose: PoseSettings | None = Field(
        default=PoseSettings(), description="shoulders, arms and hands; null = not tracked"
    )
    measure_flow: bool = Field(default=True, description="optical flow inside the body parts, evidence for the audit")


class CurateSettings(FilterLimits):
    """All settings of a run: limits, analysis, export. Presets hold limits only."""

    analysis: AnalysisSettings = Field(default=AnalysisSettings(), description="how sources are measured")
    export: ClipExportSettings = Field(default=ClipExportSettings(), description="how kept clips are written")

    @property
    def limits(self) -> FilterLimits:
        """The limits alone; the hash in a verdict covers nothing else."""
        return FilterLimits(**{name: getattr(self, name) for name in FilterLimits.model_fields})
