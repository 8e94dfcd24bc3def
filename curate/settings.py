"""Settings of a curation run: a section per part, each beside its owner."""

from pydantic import Field

from xsheet.curate.audio.features import AudioFeatureSettings
from xsheet.curate.body.pose import PoseSettings
from xsheet.curate.candidates.segment import CandidateSettings
from xsheet.curate.faces.tracker import FaceSettings
from xsheet.curate.filter.limits import FilterLimits
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.writer import ClipEncodingSettings
from xsheet.curate.picture.quality import PictureSettings
from xsheet.curate.shots.detect import ShotSettings
from xsheet.curate.sync.lip_audio import LipAudioSettings
from xsheet.schemas.settings import StrictModel


class AnalysisSettings(StrictModel):
    """All that decides what is measured; not what is kept."""

    media: MediaLimits = Field(default=MediaLimits(), description="limits on what is read")
    long_side_px: int = Field(
        default=720, ge=128, le=2160, description="analysers see pictures of at most this size; faces need about 60 px"
    )
    min_voiced_s: float = Field(
        default=1.0, ge=0, description="sources with less voice are not decoded at all; 0 decodes everything"
    )
    sound: AudioFeatureSettings = Field(default=AudioFeatureSettings(), description="sound")
    shots: ShotSettings = Field(default=ShotSettings(), description="shots")
    picture: PictureSettings = Field(default=PictureSettings(), description="picture")
    faces: FaceSettings = Field(default=FaceSettings(), description="faces")
    lip_audio: LipAudioSettings = Field(default=LipAudioSettings(), description="embedded sync scorer")
    candidates: CandidateSettings = Field(default=CandidateSettings(), description="spans to judge")


class ClipExportSettings(StrictModel):
    """How survivors are written."""

    max_long_side_px: int = Field(default=1920, ge=64, le=4096, description="larger pictures are scaled down")
    encoding: ClipEncodingSettings = Field(default=ClipEncodingSettings(), description="H.264 and AAC")
    pose: PoseSettings | None = Field(
        default=PoseSettings(), description="shoulders, arms and hands; null = not followed"
    )


class CurateSettings(FilterLimits):
    """A curation run: the limits, how facts are measured, how survivors are written. Presets hold limits only."""

    analysis: AnalysisSettings = Field(default=AnalysisSettings(), description="what is measured")
    export: ClipExportSettings = Field(default=ClipExportSettings(), description="how survivors are written")

    @property
    def limits(self) -> FilterLimits:
        """What decides; a verdict's hash covers nothing else."""
        return FilterLimits(**{name: getattr(self, name) for name in FilterLimits.model_fields})
