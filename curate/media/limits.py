"""Resource limits on untrusted input video: checked in the header before a decode, and again during it."""

from typing import Literal

from pydantic import Field

from xsheet.schemas.settings import StrictModel


class MediaLimits(StrictModel):
    """Limits on one input file, and the tracks to use; a file that exceeds one fails with reason `over_limit`."""

    max_pixels: int = Field(
        default=16_777_216,
        ge=1,
        le=2**28,
        description="coded width × height; 4096², as ffmpeg's advice for web uploads",
    )
    max_duration_s: int = Field(
        default=4 * 3600,
        ge=1,
        le=7 * 86_400,
        description="seconds; admits a long lecture, excludes a day of surveillance video",
    )
    max_frame_gap_s: float = Field(
        default=60,
        gt=0,
        le=86_400,
        description="seconds from one frame to the next or to the end; admits slides",
    )
    max_repeats_per_frame: float = Field(
        default=100, ge=1, description="frames at 25 fps for each frame of the file; 100 is a frame in 4 s"
    )
    max_fps: int = Field(default=240, ge=1, le=100_000, description="frames per second; slow motion of phones")
    max_streams: int = Field(default=16, ge=1, le=1000, description="streams of any kind; films carry about ten")
    max_frames: int = Field(
        default=864_000, ge=1, description="frames or packets of one pass; max_duration_s at 60 fps"
    )
    max_decoded_ratio: int = Field(
        default=100_000,
        ge=1,
        description="decoded RGB bytes for each byte of the file; real clips reach 1 800, an all-black film 57 000 at "
        "1080p and 88 000 at 4K (docs/log/curate.md#media-limits)",
    )
    decoder: Literal["software", "nvdec"] = Field(
        default="software",
        description="of the pictures. nvdec: an NVIDIA card, where there is one that knows the codec, else software",
    )
    video_track: int | None = Field(
        default=None, ge=0, description="index of the video track, cover pictures not counted; null: see docs/curate.md"
    )
    audio_track: int | None = Field(
        default=None, ge=0, description="index of the audio track; null: the default one, else the one with a voice"
    )
    probe_bytes: int = Field(
        default=5_000_000, ge=4096, description="bytes the demuxer may read to find the streams; ffmpeg's default"
    )
    probe_duration_us: int = Field(
        default=5_000_000, ge=100_000, description="µs of media the demuxer may decode for the same; ffmpeg's default"
    )
