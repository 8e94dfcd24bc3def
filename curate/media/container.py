"""One pass over one admitted file: PyAV opened with nothing but that file, its streams chosen, its frames decoded.

The demuxer gets an open file, not a name, so no protocol is involved; should it ask for another file or address all the
same (external tracks of MOV, playlists), it is refused. Damage inside the file is counted and skipped; only what leaves
nothing to show becomes a MediaError.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.safety import LocalFile
from xsheet.schemas.errors import MediaError
from xsheet.schemas.time import US_PER_S

# What PyAV raises when the file is at fault. ValueError and OverflowError: facts that do not fit Python's types.
FILE_ERRORS = (av.error.FFmpegError, ValueError, OverflowError)

_FORMAT_ALLOWLIST = {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm", "mpeg": "mpeg"}
_READ_BYTES = 1 << 16
AnyFrame = TypeVar("AnyFrame", VideoFrame, AudioFrame)
_MAX_DEMUX_ERRORS = 16  # each time reading goes on behind the damage; a file that fails more often only fails


@dataclass(slots=True)
class DecodeCounts:
    """What happened in one pass over a stream."""

    decoded: int = 0  # frames that came out of the decoder
    damaged: int = 0  # packets that could not be read or decoded, and frames out of order or flagged as corrupt
    emitted: int = 0  # frames handed out at the requested rate
    repeated: int = 0  # shown frames that repeat the one before
    dropped: int = 0  # decoded frames that were never shown


@contextmanager
def open_container(file: LocalFile, *, limits: MediaLimits) -> Iterator[InputContainer]:
    """The file's container, open for one pass.

    Raises:
        MediaError: broken_header when the demuxer refuses it, unreadable when the file was exchanged.
    """
    with file.open() as raw:
        try:
            container = av.open(
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
                metadata_errors="replace",  # a title in another encoding is no reason to refuse the picture
                buffer_size=_READ_BYTES,
                io_open=_refuse_other_files,
            )
        except MemoryError:
            raise  # av's own is an FFmpegError too; whether to try again is the executor's decision
        except FILE_ERRORS as error:
            raise broken_header_error(file, f"a readable {file.demuxer} header", short_message(error)) from error
        with container:
            yield container


def _refuse_other_files(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise ValueError(f"the file refers to another one: {url!r}")


def first_video_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream that is no cover picture."""
    moving = (s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
    return next(moving, None)


def first_audio_stream(container: InputContainer) -> AudioStream | None:
    """The first audio stream that has a decoder."""
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def discard_other_streams(container: InputContainer, *kept: Stream) -> None:
    """Let the demuxer skip all other streams: subtitles, data, attachments, further tracks."""
    for stream in container.streams:
        if stream not in kept:
            stream.discard = Discard.all


def configure_decoder(stream: VideoStream | AudioStream, *, limits: MediaLimits, threads: int) -> None:
    """Set a decoder's limits; PyAV ignores max_pixels among the options of the container."""
    context = stream.codec_context
    context.options = {"max_pixels": str(limits.max_pixels)}
    context.thread_count = threads
    context.thread_type = "AUTO" if threads > 1 else "NONE"


def demux_packets(container: InputContainer, *streams: Stream, counts: DecodeCounts) -> "Iterator[Packet[Stream]]":
    """Packets of the streams in file order, empty ones at the end to flush the decoders."""
    for _ in range(_MAX_DEMUX_ERRORS):
        try:
            yield from container.demux(streams)
            return
        except MemoryError:
            raise
        except FILE_ERRORS:
            counts.damaged += 1


def decode_frames(
    container: InputContainer, stream: Stream, kind: type[AnyFrame], *, counts: DecodeCounts
) -> Iterator[AnyFrame]:
    """Frames of one stream in showing order; damaged packets are counted and skipped."""
    for packet in demux_packets(container, stream, counts=counts):
        yield from decode_packet(packet, kind, counts=counts)


def decode_packet(packet: "Packet[Stream]", kind: type[AnyFrame], *, counts: DecodeCounts) -> list[AnyFrame]:
    """Frames that one packet completes, often none."""
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
    """Start of a frame in ticks; its packet's place in the file where it carries no time of its own."""
    return frame.pts if frame.pts is not None else frame.dts or 0


def ticks_to_us(ticks: int, stream: Stream) -> int:
    """Container time in µs, rounded down as all frame starts are; may be negative."""
    base = stream.time_base
    return 0 if base is None else ticks * base.numerator * US_PER_S // base.denominator


def seek_to_key_frame(container: InputContainer, stream: Stream, us: int) -> None:
    """Go to the key frame at or before a container time; where the file has no way there, stay at the beginning."""
    base = stream.time_base
    if base is None:
        return
    try:
        container.seek(us * base.denominator // (base.numerator * US_PER_S), stream=stream, backward=True)
    except FILE_ERRORS:
        return


def over_limit_error(file: LocalFile, expected: str, got: str) -> MediaError:
    """The error of a file that asks for too much."""
    todo = "leave the file out, or raise the limit"
    return MediaError(reason="over_limit", where=file.input_path, expected=expected, got=got, hint=todo)


def broken_header_error(file: LocalFile, expected: str, got: str) -> MediaError:
    """The error of a container that cannot be opened or makes no sense."""
    todo = "fetch it again, or repair it with another tool"
    return MediaError(reason="broken_header", where=file.input_path, expected=expected, got=got, hint=todo)


def short_message(error: BaseException) -> str:
    """What a library said, without the path that it repeats."""
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0][:200]
