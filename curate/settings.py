"""Settings of a curation run: a section per part, each beside its owner."""

from pydantic import Field

from xsheet.curate.audio.features import ListenSettings
from xsheet.curate.body.pose import BodySettings
from xsheet.curate.candidates.segment import CandidateSettings
from xsheet.curate.faces.tracker import FaceSettings
from xsheet.curate.filter.limits import Limits
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.writer import Compression
from xsheet.curate.picture.quality import PictureSettings
from xsheet.curate.shots.detect import CutSettings
from xsheet.curate.sync.lip_audio import LipsSettings
from xsheet.schemas.settings import StrictModel


class MeasureSettings(StrictModel):
    """All that decides what is measured; not what is kept."""

    media: MediaLimits = Field(default=MediaLimits(), description="limits on what is read")
    long_side_px: int = Field(
        default=720, ge=128, le=2160, description="analysers see pictures of at most this size; faces need about 60 px"
    )
    min_voice_s: float = Field(
        default=1.0, ge=0, description="sources with less voice are not decoded at all; 0 decodes everything"
    )
    sound: ListenSettings = Field(default=ListenSettings(), description="sound")
    cuts: CutSettings = Field(default=CutSettings(), description="shots")
    picture: PictureSettings = Field(default=PictureSettings(), description="picture")
    faces: FaceSettings = Field(default=FaceSettings(), description="faces")
    lips: LipsSettings = Field(default=LipsSettings(), description="embedded sync scorer")
    candidates: CandidateSettings = Field(default=CandidateSettings(), description="spans to judge")


class WriteSettings(StrictModel):
    """How survivors are written."""

    max_long_side_px: int = Field(default=1920, ge=64, le=4096, description="larger pictures are scaled down")
    compression: Compression = Field(default=Compression(), description="H.264 and AAC")
    body: BodySettings | None = Field(
        default=BodySettings(), description="shoulders, arms and hands; null = not followed"
    )


class CurateSettings(Limits):
    """A curation run: the limits, how facts are measured, how survivors are written. Presets hold limits only."""

    measure: MeasureSettings = Field(default=MeasureSettings(), description="what is measured")
    write: WriteSettings = Field(default=WriteSettings(), description="how survivors are written")

    @property
    def limits(self) -> Limits:
        """What decides; a verdict's hash covers nothing else."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})
