"""One pass over one validated file: open with PyAV, choose streams, decode frames.

The demuxer gets an open file object, not a name, so it uses no protocol; requests for other files or addresses
(external tracks of MOV, playlists) are refused. Damaged packets are counted and skipped.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, NoReturn, TypeVar

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from xsheet.curate.media.clock import ClockPass, StreamClock
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.safety import LocalFile
from xsheet.schemas.errors import MediaError
from xsheet.schemas.time import US_PER_S

log = logging.getLogger(__name__)

# Exceptions of PyAV caused by the file. ValueError and OverflowError: values that do not fit Python's types.
FILE_ERRORS = (av.error.FFmpegError, ValueError, OverflowError)

_FORMAT_ALLOWLIST = {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm", "mpeg": "mpeg"}
_READ_BYTES = 1 << 16
AnyFrame = TypeVar("AnyFrame", VideoFrame, AudioFrame)
_MAX_DEMUX_ERRORS = 16  # reading resumes after each error, up to this many


@dataclass(slots=True)
class DecodeCounts:
    """Frame counts of one pass over a stream."""

    decoded: int = 0  # frames from the decoder
    damaged: int = 0  # unreadable or undecodable packets, and frames flagged corrupt
    unordered: int = 0  # decoded frames that start before their predecessor, not used
    resized: int = 0  # decoded frames of another shape than the first, shown between bars
    emitted: int = 0  # frames at the requested rate
    repeated: int = 0  # emitted frames that repeat the previous one
    dropped: int = 0  # decoded frames that were not emitted


@contextmanager
def open_container(file: LocalFile, *, limits: MediaLimits, decodes_pictures: bool = False) -> Iterator[InputContainer]:
    """Open the container of a file for one pass.

    Args:
        file: the file.
        limits: resource limits, and the decoder that passes over the pictures use.
        decodes_pictures: whether this is such a pass.

    Raises:
        MediaError: broken_header if the demuxer refuses it, unreadable if the file was replaced.
    """
    with file.open() as raw:
        container = None
        if decodes_pictures and limits.decoder == "nvdec":
            try:
                # A codec that the card cannot decode falls back to software inside FFmpeg.
                container = _open(raw, file, limits, HWAccel("cuda", allow_software_fallback=True))
            except MediaError as error:
                log.info("no NVIDIA decoder (%s); %s is decoded in software", error.got, file.input_path)
                raw.seek(0)
        with container or _open(raw, file, limits, None) as opened:
            yield opened


def _open(raw: BinaryIO, file: LocalFile, limits: MediaLimits, device: HWAccel | None) -> InputContainer:
    try:
        return av.open(
            raw,
            mode="r",
            format=file.demuxer,
            container_options={
                "format_whitelist": _FORMAT_ALLOWLIST[file.demuxer],
                "protocol_whitelist": "file",
                "enable_drefs": "0",
                "probesize": str(limits.probe_bytes),
                "analyzeduration": str(limits.probe_duration_us),
            },
            metadata_errors="replace",  # tolerate metadata in other encodings
            buffer_size=_READ_BYTES,
            io_open=_refuse_other_files,
            hwaccel=device,
        )
    except MemoryError:
        raise  # av.error.MemoryError is an FFmpegError too; the executor decides about retries
    except FILE_ERRORS as error:
        raise broken_header_error(file, f"a readable {file.demuxer} header", short_message(error)) from error


def _refuse_other_files(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise ValueError(f"expected a self-contained file, got a reference to {url!r}")


def moving_video_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams that are not cover pictures."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def select_video_stream(container: InputContainer, track: int | None = None) -> VideoStream | None:
    """The video stream with this index among those that are not cover pictures.

    Without an index: the first one flagged as default, else the one with most pixels, the first of equals.
    """
    moving = moving_video_streams(container)
    if track is not None:
        return moving[track] if track < len(moving) else None
    default = [s for s in moving if s.disposition & Disposition.default]
    if default:
        return default[0]
    return max(moving, key=lambda s: s.width * s.height, default=None)


def select_audio_stream(container: InputContainer, track: int | None = None) -> AudioStream | None:
    """The audio stream with this index; without one the only one flagged as default, else the first with a decoder."""
    streams = container.streams.audio
    if track is not None:
        return streams[track] if track < len(streams) and streams[track].codec_context is not None else None
    usable = [s for s in streams if s.codec_context is not None]
    default = [s for s in usable if s.disposition & Disposition.default]
    return default[0] if len(default) == 1 else next(iter(usable), None)


def undecided_audio_tracks(container: InputContainer) -> tuple[int, ...]:
    """Indices of the audio streams if none or several are flagged as default; empty if exactly one is."""
    usable = [k for k, s in enumerate(container.streams.audio) if s.codec_context is not None]
    default = [k for k in usable if container.streams.audio[k].disposition & Disposition.default]
    return () if len(usable) < 2 or len(default) == 1 else tuple(default or usable)


def discard_other_streams(container: InputContainer, *kept: Stream) -> None:
    """Let the demuxer skip all other streams."""
    for stream in container.streams:
        if stream not in kept:
            stream.discard = Discard.all


def configure_decoder(stream: VideoStream | AudioStream, *, limits: MediaLimits, threads: int) -> None:
    """Set the limits of a decoder; PyAV ignores max_pixels in container options."""
    context = stream.codec_context
    context.options = {"max_pixels": str(limits.max_pixels)}
    context.thread_count = threads
    context.thread_type = "AUTO" if threads > 1 else "NONE"


def demux_packets(container: InputContainer, *streams: Stream, counts: DecodeCounts) -> "Iterator[Packet[Stream]]":
    """Yield packets of the streams in file order, then empty packets that flush the decoders."""
    for _ in range(_MAX_DEMUX_ERRORS):
        try:
            yield from container.demux(streams)
            return
        except MemoryError:
            raise
        except FILE_ERRORS:
            counts.damaged += 1


def decode_frames(
    container: InputContainer, stream: Stream, kind: type[AnyFrame], *, counts: DecodeCounts, clock: StreamClock
) -> Iterator[AnyFrame]:
    """Yield frames of one stream in presentation order on the joined clock; count and skip damaged packets."""
    one_pass = ClockPass(clock)
    for packet in demux_packets(container, stream, counts=counts):
        one_pass.shift(packet)
        yield from decode_packet(packet, kind, counts=counts)


def decode_packet(packet: "Packet[Stream]", kind: type[AnyFrame], *, counts: DecodeCounts) -> list[AnyFrame]:
    """Frames that one packet completes; often none."""
    try:
        frames = [frame for frame in packet.decode() if isinstance(frame, kind)]
    except MemoryError:
        raise
    except FILE_ERRORS:
        counts.damaged += 1
        return []
    counts.decoded += len(frames)
    counts.damaged += sum(frame.is_corrupt for frame in frames)
    return frames


def frame_start_ticks(frame: VideoFrame | AudioFrame) -> int:
    """Start of a frame in ticks; the packet's decode time if it has no presentation time."""
    return frame.pts if frame.pts is not None else frame.dts or 0


def ticks_to_us(ticks: int, stream: Stream) -> int:
    """Convert ticks to µs, rounded down like all frame starts; may be negative."""
    base = stream.time_base
    return 0 if base is None else ticks * base.numerator * US_PER_S // base.denominator


def seek_to_key_frame(container: InputContainer, stream: Stream, us: int) -> None:
    """Seek to the key frame at or before a container time; stay at the start if the file cannot seek."""
    base = stream.time_base
    if base is None:
        return
    try:
        container.seek(us * base.denominator // (base.numerator * US_PER_S), stream=stream, backward=True)
    except FILE_ERRORS:
        return


def over_limit_error(file: LocalFile, expected: str, got: str) -> MediaError:
    """Error for a file that exceeds a limit."""
    hint = "leave the file out, or raise the limit"
    return MediaError(reason="over_limit", where=file.input_path, expected=expected, got=got, hint=hint)


def broken_header_error(file: LocalFile, expected: str, got: str) -> MediaError:
    """Error for a container that cannot be opened or is inconsistent."""
    hint = "download it again, or repair it with another tool"
    return MediaError(reason="broken_header", where=file.input_path, expected=expected, got=got, hint=hint)


def short_message(error: BaseException) -> str:
    """First line of a library's error message, without the path."""
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0][:200]
