"""Settings of a curation run: one section per part, each declared beside the code that reads it."""

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
    """Everything that changes measurements. Limits, which decide what is kept, are separate."""

    media: MediaLimits = Field(default=MediaLimits(), description="limits on input files")
    long_side_px: int = Field(
        default=720, ge=128, le=2160, description="longer side of the frames that analysers get; faces need about 60 px"
    )
    min_voiced_s: float = Field(
        default=1.0, ge=0, description="sources with less voice are rejected without a decode; 0 decodes everything"
    )
    sound: AudioFeatureSettings = Field(default=AudioFeatureSettings(), description="voice detection")
    shots: ShotSettings = Field(default=ShotSettings(), description="shot detection")
    picture: PictureSettings = Field(default=PictureSettings(), description="picture measures")
    faces: FaceSettings = Field(default=FaceSettings(), description="face detection and tracking")
    lip_audio: LipAudioSettings = Field(default=LipAudioSettings(), description="built-in sync scorer")
    candidates: CandidateSettings = Field(
        default=CandidateSettings(), description="how shots and tracks become candidates"
    )


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
