"""Limits on measures, from which verdicts follow. Presets hold the values with their sources.

An absent section or limit is not applied. The order of the sections is the order of the reasons: measures that need
neither sound nor a model come first.
"""

from pydantic import Field

from xsheet.schemas.settings import StrictModel


class FaceLimits(StrictModel):
    """Limits on the face."""

    require_active_speaker: bool = Field(
        default=True, description="with several visible faces, reject tracks that are not the active speaker"
    )
    min_share_of_frames: float | None = Field(
        default=None, ge=0, le=1, description="frames in which the face is detected, share"
    )
    max_faces: float | None = Field(default=None, ge=1, description="median number of faces in the picture")
    min_height_px: float | None = Field(default=None, ge=0, description="median face height, source pixels")
    min_height_share: float | None = Field(default=None, ge=0, le=1, description="median face height / picture height")
    max_yaw_abs_deg: float | None = Field(default=None, ge=0, le=180, description="90th percentile of |yaw|, degrees")
    max_pitch_abs_deg: float | None = Field(default=None, ge=0, le=180, description="same of |pitch|, degrees")
    min_sharpness: float | None = Field(
        default=None, ge=0, description="variance of the Laplacian over the face at a height of 128 px, 8-bit luma"
    )
    min_luma: float | None = Field(default=None, ge=0, le=255, description="median luma of the face, 0..255")
    max_cut_off: float | None = Field(
        default=None, ge=0, le=1, description="frames with the face cut by the picture edge, share"
    )


class ClipLimits(StrictModel):
    """Limits on the duration."""

    min_seconds: float | None = Field(default=None, ge=0, description="seconds")
    max_seconds: float | None = Field(default=None, gt=0, description="seconds")


class PictureLimits(StrictModel):
    """Limits on the whole picture."""

    min_luma: float | None = Field(default=None, ge=0, le=255, description="mean luma, 0..255")
    max_luma: float | None = Field(default=None, ge=0, le=255, description="mean luma, 0..255")
    max_frozen_share: float | None = Field(default=None, ge=0, le=1, description="frozen frames, share")
    max_letterbox_share: float | None = Field(default=None, ge=0, le=1, description="picture covered by bars, share")
    max_damaged_share: float | None = Field(
        default=None, ge=0, le=1, description="frames that may show artefacts after a decoding error, share"
    )
    max_upside_down_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="frames in which a face is detected more clearly after rotating the picture by 180 degrees, share",
    )
    max_camera_motion: float | None = Field(default=None, ge=0, description="picture heights per second")
    max_text_likelihood: float | None = Field(
        default=None, ge=0, le=1, description="burnt-in text: captions, signs, prints"
    )


class SoundLimits(StrictModel):
    """Limits on the sound."""

    min_voice_share: float | None = Field(default=None, ge=0, le=1, description="time with voice activity, share")
    max_silent_share: float | None = Field(default=None, ge=0, le=1, description="digital silence within speech, share")
    min_loudness_db: float | None = Field(default=None, le=0, description="RMS level, dB of full scale")
    min_snr_db: float | None = Field(default=None, description="voiced against background frames, dB")
    max_clipped_share: float | None = Field(default=None, ge=0, le=1, description="samples at full scale, share")
    max_music_likelihood: float | None = Field(
        default=None, ge=0, le=1, description="likelihood of music, mean of the frames"
    )


class SyncScorerLimits(StrictModel):
    """Limits on the score of one sync scorer, after the offset correction if there was one."""

    min_confidence: float | None = Field(default=None, description="in the scorer's own unit; LSE-C for SyncNet")
    min_margin: float | None = Field(
        default=None, description="confidence of the best offset minus that of the next peak"
    )
    max_distance: float | None = Field(default=None, ge=0, description="LSE-D for SyncNet")
    max_abs_offset_frames: int | None = Field(default=None, ge=0, description="frames of 40 ms")


class SyncLimits(StrictModel):
    """Limits per scorer, chosen by the prefix of its name; candidates of a scorer without limits are rejected."""

    lip_audio: SyncScorerLimits | None = Field(default=None, description="the built-in scorer, 'lip_audio@...'")
    syncnet: SyncScorerLimits | None = Field(default=None, description="SyncNet, 'syncnet...@...'")
    light_asd: SyncScorerLimits | None = Field(
        default=None, description="Light-ASD, 'light_asd@...': the confidence is the mean logit of speaking, no offset"
    )


class MotionLimits(StrictModel):
    """Limits on body motion, to select clips with much motion. The better of the two hands counts."""

    min_hands_speed_p90: float | None = Field(default=None, ge=0, description="shoulder widths per second")
    min_hands_visible_share: float | None = Field(default=None, ge=0, le=1, description="frames with the hand, share")
    min_head_speed_p90: float | None = Field(default=None, ge=0, description="shoulder widths per second")


class FilterLimits(StrictModel):
    """All limits of a verdict."""

    face: FaceLimits | None = Field(default=None, description="face")
    clip: ClipLimits | None = Field(default=None, description="duration")
    picture: PictureLimits | None = Field(default=None, description="picture quality")
    sound: SoundLimits | None = Field(default=None, description="audio quality")
    sync: SyncLimits | None = Field(default=None, description="lip-voice agreement")
    motion: MotionLimits | None = Field(default=None, description="body motion; for the second training stage")
