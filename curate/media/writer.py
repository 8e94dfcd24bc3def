"""Canonical clips: constant 25 fps H.264 with 16 kHz mono AAC in MP4, both from time 0; same input, same bytes.

Guarantees: no reordered frames, so frame k starts at 40 000·k µs even for readers that ignore edit lists; the first
frame is a key frame; the index precedes the data; BT.601 limited range, tagged, which readers that ignore tags assume
anyway; no source metadata, encoder name or date.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags as CodecFlags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from pydantic import Field

from xsheet.curate.media.audio import Samples
from xsheet.curate.media.container import short_message
from xsheet.curate.media.image import Rgb
from xsheet.curate.media.planes import Plane, rgb_to_planes
from xsheet.schemas.errors import MediaError, RunError
from xsheet.schemas.files import atomic_path
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE, FrameRate

_SMPTE170M = 6  # the number of BT.601 among colour primaries, transfer curves and matrices alike
_MUXER_OPTIONS = {"movflags": "+faststart", "fflags": "+bitexact"}
_SEI_FILTER = "filter_units=remove_types=6"  # x264 writes its settings and version into an SEI message


class ClipEncodingSettings(StrictModel):
    """How canonical clips are encoded."""

    crf: int = Field(default=18, ge=0, le=51, description="x264 quality, lower is better; 18 is visually lossless")
    preset: str = Field(
        default="veryfast",
        pattern="^(ultrafast|superfast|veryfast|faster|fast|medium|slow|slower|veryslow)$",
        description="x264 effort; at this crf 'medium' is 1.6 dB nearer to its source for 2.4 times the work "
        "(docs/log/curate.md#media-limits)",
    )
    subme: int | None = Field(
        default=1,
        ge=0,
        le=11,
        description="x264's refinement of motion; null is that of the preset. 1 saves a fifth or more of the time of "
        "veryfast for 1 to 12 % more bytes (docs/log/curate.md#media-reading)",
    )
    keyframe_interval_frames: int = Field(
        default=50, ge=1, le=250, description="frames between key frames; 50 is two seconds"
    )
    audio_bits_per_s: int = Field(
        default=64_000, ge=16_000, le=256_000, description="AAC; enough for 16 kHz mono speech"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedClip:
    """Properties of the written file."""

    sha256: str
    size_bytes: int
    frames: int
    samples: int
    width: int
    height: int


def write_clip(
    out: Path,
    *,
    frames: Iterable[Rgb | Plane],
    sound: Samples | None = None,
    encoding: ClipEncodingSettings | None = None,
    rate: FrameRate = CLIP_RATE,
) -> EncodedClip:
    """Write one clip atomically.

    Args:
        out: the MP4 file; its folder is created if missing.
        frames: RGB (height, width, 3) or I420 (height × 3/2, width) as of `ClipFrame`, at least one, all of the same
            even size.
        sound: float32 in -1..1 at 16 kHz, `sample_count` samples for the frames; None writes no audio stream.
        encoding: encoder settings.
        rate: frames per second; the clips of a set have 25, exports for a trainer what its model takes.

    Raises:
        ValueError: no frames, an odd or changing size, or sound of another length.
        MediaError: encode_failed.
        RunError: the disk is full.
    """
    try:
        with atomic_path(out) as temporary:
            count, (height, width) = _encode(temporary, frames, sound, encoding or ClipEncodingSettings(), rate)
            return EncodedClip(
                sha256=file_sha256(temporary),
                size_bytes=temporary.stat().st_size,
                frames=count,
                samples=0 if sound is None else len(sound),
                width=width,
                height=height,
            )
    except MemoryError:
        raise  # av.error.MemoryError is an FFmpegError too
    except (av.error.FFmpegError, OSError) as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free space and run again; finished clips are kept"
            raise RunError(where=str(out), expected="space on the disk", got=short_message(error), hint=hint) from error
        raise MediaError(
            reason="encode_failed",
            where=str(out),
            expected="a writable clip",
            got=short_message(error),
            hint="check the permissions of the folder and the frame size",
        ) from error


def sample_count(frames: int, rate: FrameRate = CLIP_RATE) -> int:
    """Audio samples at 16 kHz until the end of so many frames: 640 per frame at 25 fps."""
    return frames * AUDIO_RATE.num * rate.den // rate.num


def _encode(
    path: Path, frames: Iterable[Rgb | Plane], sound: Samples | None, encoding: ClipEncodingSettings, rate: FrameRate
) -> tuple[int, tuple[int, int]]:
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError("expected at least one frame, got none")
    height, width = _size(first)
    if height % 2 or width % 2:
        raise ValueError(f"expected even width and height (chroma has half the resolution), got {width}×{height}")
    count = 0
    with av.open(f"file:{path}", "w", format="mp4", container_options=_MUXER_OPTIONS) as container:
        video = _video_stream(container, width=width, height=height, encoding=encoding, rate=rate)
        audio = None if sound is None else _audio_stream(container, encoding)
        without_sei = BitStreamFilterContext(_SEI_FILTER, in_stream=video)
        for picture in chain([first], pictures):
            for packet in video.encode(_video_frame(picture, count, (height, width), rate)):
                container.mux(without_sei.filter(packet))
            start = sample_count(count, rate)
            samples = None if sound is None else sound[start : sample_count(count + 1, rate)]
            if audio is not None and samples is not None and samples.size:
                container.mux(audio.encode(_audio_frame(samples, start)))
            count += 1
        if sound is not None and len(sound) != sample_count(count, rate):
            raise ValueError(f"expected {sample_count(count, rate)} samples for {count} frames, got {len(sound)}")
        for packet in video.encode(None):
            container.mux(without_sei.filter(packet))
        container.mux(without_sei.filter(None))
        if audio is not None:
            container.mux(audio.encode(None))
    return count, (height, width)


def _video_stream(
    container: OutputContainer, *, width: int, height: int, encoding: ClipEncodingSettings, rate: FrameRate
) -> VideoStream:
    options = {
        "crf": str(encoding.crf),
        "preset": encoding.preset,
        "g": str(encoding.keyframe_interval_frames),
        "bf": "0",
    }
    if encoding.subme is not None:
        options["x264-params"] = f"subme={encoding.subme}"
    stream = container.add_stream("libx264", rate=Fraction(rate.num, rate.den), options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(rate.den, rate.num)
    context.flags |= CodecFlags.bitexact
    context.color_primaries = context.color_trc = context.colorspace = _SMPTE170M
    context.color_range = ColorRange.MPEG
    context.thread_count = 1  # the bytes depend on the number of threads
    return stream


def _audio_stream(container: OutputContainer, encoding: ClipEncodingSettings) -> AudioStream:
    stream = container.add_stream("aac", rate=AUDIO_RATE.num, layout="mono", bit_rate=encoding.audio_bits_per_s)
    assert isinstance(stream, AudioStream)
    stream.codec_context.time_base = Fraction(1, AUDIO_RATE.num)
    stream.codec_context.flags |= CodecFlags.bitexact
    return stream


def _size(picture: Rgb | Plane) -> tuple[int, int]:
    """Height and width."""
    rows, width = picture.shape[:2]
    return (rows if picture.ndim == 3 else rows * 2 // 3), width


def _video_frame(picture: Rgb | Plane, index: int, size: tuple[int, int], rate: FrameRate) -> VideoFrame:
    if _size(picture) != size:
        raise ValueError(f"expected frames of size {size}, got {_size(picture)} at frame {index}")
    planes = picture if picture.ndim == 2 else rgb_to_planes(np.ascontiguousarray(picture))
    frame = VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.colorspace, frame.color_range = Colorspace.ITU601, ColorRange.MPEG
    frame.pts, frame.time_base = index, Fraction(rate.den, rate.num)
    return frame


def _audio_frame(samples: Samples, start: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
    frame.sample_rate = AUDIO_RATE.num
    frame.pts, frame.time_base = start, Fraction(1, AUDIO_RATE.num)
    return frame
