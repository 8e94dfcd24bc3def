"""Limits that make a verdict out of measures. Their numbers live in the presets, each with its source.

An absent section is not judged, and neither is an absent limit in a section. The order of the sections is the order of
the reasons: what needs no sound and no model comes first.
"""

from pydantic import Field

from xsheet.schemas.settings import StrictModel


class FaceLimits(StrictModel):
    """Limits on the face of the candidate's track."""

    require_active_speaker: bool = Field(
        default=True, description="reject a track whose mouth the sound does not explain when several faces are seen"
    )
    min_share_of_frames: float | None = Field(default=None, ge=0, le=1, description="frames with the face, share")
    max_faces: float | None = Field(default=None, ge=1, description="median number of faces in the picture")
    min_height_px: float | None = Field(default=None, ge=0, description="median face height, source pixels")
    min_height_share: float | None = Field(default=None, ge=0, le=1, description="median face height / picture height")
    max_yaw_abs_deg: float | None = Field(default=None, ge=0, le=180, description="90th percentile of |yaw|, degrees")
    max_pitch_abs_deg: float | None = Field(default=None, ge=0, le=180, description="same of |pitch|, degrees")
    min_sharpness: float | None = Field(
        default=None, ge=0, description="variance of the Laplacian over the face at a height of 128 px, 8-bit luma"
    )
    max_cut_off: float | None = Field(default=None, ge=0, le=1, description="frames with the face cut by the edge")


class ClipLimits(StrictModel):
    """FilterLimits on the length of a candidate."""

    min_seconds: float | None = Field(default=None, ge=0, description="seconds")
    max_seconds: float | None = Field(default=None, gt=0, description="seconds")


class PictureLimits(StrictModel):
    """FilterLimits on the whole picture."""

    min_luma: float | None = Field(default=None, ge=0, le=255, description="mean luma, 0..255")
    max_luma: float | None = Field(default=None, ge=0, le=255, description="mean luma, 0..255")
    max_frozen_share: float | None = Field(default=None, ge=0, le=1, description="frames of a standing picture, share")
    max_letterbox_share: float | None = Field(default=None, ge=0, le=1, description="picture inside bars, share")
    max_camera_motion: float | None = Field(default=None, ge=0, description="picture heights per second")
    max_text_likelihood: float | None = Field(default=None, ge=0, le=1, description="burnt-in text; needs the model")


class SoundLimits(StrictModel):
    """FilterLimits on the sound."""

    min_voice_share: float | None = Field(default=None, ge=0, le=1, description="time with voice activity, share")
    max_silent_share: float | None = Field(default=None, ge=0, le=1, description="samples of digital zero, share")
    min_loudness_db: float | None = Field(default=None, le=0, description="RMS level, dB of full scale")
    min_snr_db: float | None = Field(default=None, description="voiced against unvoiced stretches, dB")
    max_clipped_share: float | None = Field(default=None, ge=0, le=1, description="samples at full scale, share")
    max_music_likelihood: float | None = Field(default=None, ge=0, le=1, description="music; needs the model")


class SyncScorerLimits(StrictModel):
    """Limits on what one sync scorer says; judged after the correction of the offset where there was one."""

    min_confidence: float | None = Field(default=None, description="in the scorer's own unit; LSE-C for SyncNet")
    min_margin: float | None = Field(default=None, description="lead of the best offset, in the unit of the confidence")
    max_distance: float | None = Field(default=None, ge=0, description="LSE-D for SyncNet")
    max_abs_offset_frames: int | None = Field(default=None, ge=0, description="frames of 40 ms")


class SyncLimits(StrictModel):
    """Limits per scorer. A row is judged by the section its scorer's name begins with; without one it is rejected."""

    lip_audio: SyncScorerLimits | None = Field(default=None, description="the embedded scorer, 'lip_audio@...'")
    syncnet: SyncScorerLimits | None = Field(default=None, description="SyncNet, 'syncnet...@...'")


class MotionLimits(StrictModel):
    """Limits on body motion: the choice of clips in which much happens. Of two hands the better one counts."""

    min_hands_speed_p90: float | None = Field(default=None, ge=0, description="shoulder widths per second")
    min_hands_visible_share: float | None = Field(default=None, ge=0, le=1, description="frames with the hand, share")
    min_head_speed_p90: float | None = Field(default=None, ge=0, description="shoulder widths per second")


class FilterLimits(StrictModel):
    """All limits of one verdict."""

    face: FaceLimits | None = Field(default=None, description="a face to speak with")
    clip: ClipLimits | None = Field(default=None, description="length")
    picture: PictureLimits | None = Field(default=None, description="picture quality")
    sound: SoundLimits | None = Field(default=None, description="speech that can be heard")
    sync: SyncLimits | None = Field(default=None, description="lips and voice agree")
    motion: MotionLimits | None = Field(default=None, description="body motion; for the second training stage")
