"""Settings of the cache, the dataset of a stage, and the loader."""

from typing import Literal, Self

from pydantic import Field, model_validator

from xsheet.annotate.text.training_text import BlockPolicy
from xsheet.curate.faces.identity import IDENTITY_MODEL
from xsheet.model.config import latent_frames
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import AUDIO_RATE, FrameRate
from xsheet.train.data.texts import TextForm

ModelName = Literal["tiny", "motion-prior", "wan2.2-ti2v-5b"]


class EncoderSettings(StrictModel):
    """Encoders of video, text and audio. Weights are local folders; nothing is downloaded."""

    video: Literal["dct", "motion", "wan"] = Field(
        default="dct",
        description="video codec: an analytic cosine transform of pictures, the same for motion curves, or Wan's VAE",
    )
    motion_spreads: dict[str, float] = Field(
        default={},
        description="standard deviation per series, where it differs from curated clips, e.g. for planted series",
    )
    video_weights: str | None = Field(default=None, description="folder of an AutoencoderKLWan in diffusers' layout")
    text: Literal["bytes", "umt5"] = Field(
        default="bytes", description="text encoder: a byte-level one trained with the model, or Wan's frozen UMT5"
    )
    text_weights: str | None = Field(default=None, description="folder of a UMT5 encoder with its fast tokenizer")
    audio: Literal["log_mel", "wav2vec2"] = Field(
        default="log_mel", description="audio encoder: log-mel bands, or all hidden layers of wav2vec 2.0"
    )
    audio_weights: str | None = Field(default=None, description="folder of a wav2vec 2.0 model")


class PictureEncodingSettings(StrictModel):
    """Frame rate, lengths, resolutions and crops of encoded clips."""

    fps: int = Field(default=25, ge=5, le=25, description="frames per second; the paper's 25 is also the clips' rate")
    frame_counts: tuple[int, ...] = Field(
        default=(125,), min_length=1, description="lengths in frames, 4k + 1; a clip uses the longest one that it fills"
    )
    resolutions: tuple[tuple[int, int], ...] = Field(
        default=((704, 1280),),
        min_length=1,
        description="height and width in pixels; a clip uses the nearest aspect ratio",
    )
    crops_per_clip: int = Field(default=1, ge=1, le=16, description="crops in time per clip, evenly spread; our choice")
    mirror: bool = Field(default=True, description="also cache mirrored pictures; doubles the disk space")
    crop_centre: Literal["face", "picture"] = Field(default="face", description="centre of the crop")
    min_face_height: float | None = Field(
        default=None, gt=0, le=1, description="minimum face height as a share of the picture; null = no zoom"
    )
    max_upscale: float = Field(
        default=1.5, ge=1, le=8, description="maximum upscaling factor; clips that need more are rejected; our choice"
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if AUDIO_RATE.num % self.fps:
            raise ValueError(
                f"expected fps that divides {AUDIO_RATE.num}, so that a frame is whole samples, got {self.fps}"
            )
        for frames in self.frame_counts:
            if latent_frames(frames) < 2:
                raise ValueError(f"expected frame_counts of 5, 9, 13 and so on, got {frames}: one frame has no motion")
        return self

    @property
    def rate(self) -> FrameRate:
        """Frames per second."""
        return FrameRate(self.fps)

    @property
    def samples_per_frame(self) -> int:
        """Audio samples per frame, at 16 kHz."""
        return AUDIO_RATE.num // self.fps


class TextSettings(StrictModel):
    """Texts of a clip."""

    layer: str | None = Field(
        default="accepted",
        description="LAYER or LAYER@RUN with the phases for training; null = no phases and one caption for all clips",
    )
    blocks: BlockPolicy = Field(default=BlockPolicy(), description="wording of the timed blocks")
    forms: tuple[TextForm, ...] = Field(
        default=("brief", "blocks"), min_length=1, description="cached texts per clip; plain = blocks without times"
    )


class ExtraConditioningSettings(StrictModel):
    """Extra conditioning for model variants: identity and motion (xsheet.train.data.conditioning)."""

    identity_model: str = Field(
        default=IDENTITY_MODEL, description="`identity_model` of the face tracks whose identity vectors are cached"
    )
    identity_dim: int = Field(default=18, ge=1, le=4096, description="width of an identity vector; ArcFace has 512")


class RoundTripSettings(StrictModel):
    """Check that cached latents decode to the original pictures."""

    clip_count: int = Field(
        default=3, ge=0, le=1000, description="number of clips that are decoded and compared; our choice"
    )
    min_psnr_db: float = Field(
        default=18, ge=0, le=60, description="minimum PSNR, dB; a lower one means a wrong value range or normalisation"
    )


class CacheSettings(StrictModel):
    """Features of clips: model, encoders, framing, texts."""

    model: ModelName = Field(default="tiny", description="model for which the features are computed")
    encoders: EncoderSettings = Field(default=EncoderSettings(), description="encoders of video, text and audio")
    picture: PictureEncodingSettings = Field(
        default=PictureEncodingSettings(), description="size, frame rate and cropping"
    )
    text: TextSettings = Field(default=TextSettings(), description="layer and wording of the texts")
    extra_conditioning: ExtraConditioningSettings | None = Field(
        default=None,
        description="additional inputs of a `variant`; null = not cached, because the plain model does not read them",
    )
    round_trip: RoundTripSettings = Field(
        default=RoundTripSettings(), description="check that decoded latents match the clips"
    )


class MotionFilter(StrictModel):
    """Minimum motion of a clip. The paper filters by the size of DWPose motion and gives no number: ours."""

    min_speed: float = Field(
        default=0.1,
        ge=0,
        le=100,
        description="minimum 90th percentile of the speed of the fastest part, shoulder widths per second",
    )
    parts: tuple[str, ...] = Field(
        default=("head", "torso", "hand_left", "hand_right"),
        description="body parts considered, named as in measures.motion",
    )


class StageDatasetSettings(StrictModel):
    """Clips and texts of a stage."""

    text: TextForm = Field(
        description="text of the stage: the paper has brief captions in its first stage, blocks in its second; "
        "plain for ablations"
    )
    mark_phases: bool = Field(
        default=True, description="whether tokens of a block carry the phase number; false for ablations"
    )
    motion_filter: MotionFilter | None = Field(default=None, description="minimum motion of clips; null = all clips")


class LoaderSettings(StrictModel):
    """Batches of cached clips."""

    batch_size: int = Field(
        default=40, ge=1, description="clips per step, over all workers and micro-batches; the paper's"
    )
    mirror_probability: float = Field(
        default=0.5, ge=0, le=1, description="probability of mirroring picture and text; our choice"
    )
    prefetch: int = Field(default=2, ge=0, le=64, description="batches that are prepared in advance; 0 = none")
