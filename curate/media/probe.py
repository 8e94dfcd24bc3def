"""The facts of a video: header checked against the limits, then every packet's time read without decoding.

Only the first frame is decoded: it sets time zero and says how the picture must be turned. The times of the packets
give what a header only claims: how many frames there are, how long the picture really is, whether the rate varies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from xsheet.curate.media.container import (
    PassCounts,
    arm,
    audio_of,
    broken_header,
    frames_of,
    only,
    opened,
    over_limit,
    packets,
    start_of,
    ticks_to_us,
    video_of,
)
from xsheet.curate.media.image import turn_of, upright_size
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.safety import LocalFile
from xsheet.curate.media.timing import timing_of
from xsheet.schemas.errors import MediaError
from xsheet.schemas.ids import source_id
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import US_PER_S


@dataclass(slots=True)
class _Scan:
    """What the packets and the first frame of a file say, in ticks of each stream's own clock."""

    first: VideoFrame | None = None
    starts: list[int] = field(default_factory=list)
    end: int | None = None  # latest end of a packet that states its length
    packets: int = 0
    audio_start: int | None = None


def read_facts(file: LocalFile, *, sha256: str, limits: MediaLimits) -> SourceVideo:
    """Facts of an admitted file.

    Raises:
        MediaError: broken_header, no_video, over_limit, or decode_failed when not one frame can be decoded.
    """
    with opened(file, limits=limits) as container:
        video = _checked_video(container, file=file, limits=limits)
        audio = audio_of(container)
        scan = _scan(container, video, audio, limits=limits, file=file)
        if scan.first is None:
            raise MediaError(
                reason="decode_failed",
                where=file.given,
                expected="at least one decodable frame",
                came=f"{scan.packets} packets of {video.codec_context.name}, none of which decodes",
                todo="fetch it again",
            )
        facts = SourceVideo(
            source_id=source_id(sha256),
            path=file.given,
            sha256=sha256,
            size_bytes=file.size_bytes,
            status="ok",
            container=file.demuxer,
            duration_header_us=_header_us(container),
        )
        facts = _with_picture(facts, video, scan, file=file, limits=limits)
        return _with_sound(facts, container.streams.audio, audio, scan)


def _checked_video(container: InputContainer, *, file: LocalFile, limits: MediaLimits) -> VideoStream:
    if len(container.streams) > limits.max_streams:
        raise over_limit(file, f"at most {limits.max_streams} streams", str(len(container.streams)))
    video = video_of(container)
    if video is None:
        kinds = ", ".join(s.type for s in container.streams) or "none"
        todo = "leave the file out"
        raise MediaError(
            reason="no_video", where=file.given, expected="a video stream", came=f"streams: {kinds}", todo=todo
        )
    if video.codec_context is None or video.time_base is None:
        raise broken_header(file, "a video stream with a known codec and a clock", "an unknown codec or no clock")
    if video.width <= 0 or video.height <= 0:
        raise broken_header(file, "a picture size", f"{video.width}×{video.height}")
    if video.width * video.height > limits.max_pixels:
        raise over_limit(file, f"at most {limits.max_pixels} pixels", f"{video.width}×{video.height}")
    _check_length(_header_us(container), file=file, limits=limits)
    if video.average_rate is not None and video.average_rate > limits.max_fps:
        raise over_limit(file, f"at most {limits.max_fps} frames per second", f"{float(video.average_rate):.6g}")
    if video.frames > limits.max_frames:
        raise over_limit(file, f"at most {limits.max_frames} frames", str(video.frames))
    return video


def _check_length(us: int | None, *, file: LocalFile, limits: MediaLimits) -> None:
    if us is not None and us > limits.max_duration_s * US_PER_S:
        raise over_limit(file, f"at most {limits.max_duration_s} s", f"{us / US_PER_S:.1f} s")


def _header_us(container: InputContainer) -> int | None:
    # libavformat counts in µs. A negative length is what damaged headers give.
    return container.duration if container.duration is not None and container.duration >= 0 else None


def _scan(
    container: InputContainer, video: VideoStream, audio: AudioStream | None, *, limits: MediaLimits, file: LocalFile
) -> _Scan:
    arm(video, limits=limits, threads=1)
    streams: tuple[Stream, ...] = (video,) if audio is None else (video, audio)
    only(container, *streams)
    scan, counts = _Scan(), PassCounts()
    for packet in packets(container, *streams, counts=counts):
        if packet.stream_index != video.index:
            if scan.audio_start is None and packet.pts is not None and not packet.is_discard:
                scan.audio_start = packet.pts
            continue
        if scan.first is None:
            scan.first = next(iter(frames_of(packet, VideoFrame, counts=counts)), None)
        if packet.size:
            _note(scan, packet)
            if scan.packets > limits.max_frames:
                raise over_limit(file, f"at most {limits.max_frames} frames", "more packets than that")
    return scan


def _note(scan: _Scan, packet: "Packet[Stream]") -> None:
    scan.packets += 1
    start = packet.pts if packet.pts is not None else packet.dts
    if start is None or packet.is_discard:
        return
    scan.starts.append(start)
    if packet.duration:
        end = start + packet.duration
        scan.end = end if scan.end is None else max(scan.end, end)


def _with_picture(
    facts: SourceVideo, video: VideoStream, scan: _Scan, *, file: LocalFile, limits: MediaLimits
) -> SourceVideo:
    assert scan.first is not None
    assert video.time_base is not None
    zero = start_of(scan.first)
    # Frames before the first one that decodes (their key frame was cut away) are found, but never seen.
    starts = sorted({zero, *(start for start in scan.starts if start > zero)})
    timing = timing_of(starts, end=scan.end, tick_s=video.time_base, declared=video.average_rate)
    _check_length(timing.duration_us, file=file, limits=limits)
    if float(timing.rate) > limits.max_fps:
        raise over_limit(file, f"at most {limits.max_fps} frames per second", f"{float(timing.rate):.6g}")
    turn = turn_of(scan.first)
    # The decoder's size, not the header's: the two can differ, and only one of them arrives.
    width, height = upright_size(scan.first.width, scan.first.height, pixel_aspect=video.sample_aspect_ratio, turn=turn)
    return replace(
        facts,
        duration_us=timing.duration_us,
        video_codec=video.codec_context.name,
        width=width,
        height=height,
        rotation_deg=turn.clockwise_deg,
        is_mirrored=turn.is_mirrored,
        fps_num=timing.rate.num,
        fps_den=timing.rate.den,
        is_vfr=timing.is_vfr,
        frames_header=video.frames or None,
        frames_found=scan.packets,
        start_us=ticks_to_us(zero, video),
    )


def _with_sound(
    facts: SourceVideo, streams: Sequence[AudioStream], audio: AudioStream | None, scan: _Scan
) -> SourceVideo:
    facts = replace(facts, audio_streams=len(streams))
    if audio is None:
        return facts
    start_us = None if scan.audio_start is None else ticks_to_us(scan.audio_start, audio)
    return replace(
        facts,
        audio_codec=audio.codec_context.name,
        audio_rate_hz=audio.rate or None,
        audio_channels=audio.channels or None,
        audio_start_us=None if start_us is None or facts.start_us is None else start_us - facts.start_us,
    )
