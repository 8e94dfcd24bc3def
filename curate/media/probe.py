"""Probe a video: check the header against the limits, then read every packet's time stamp without decoding.

Only the first frame is decoded; it defines time zero and the display transform. Packet time stamps give the real
frame count, duration and rate, which headers often misstate.
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
    DecodeCounts,
    broken_header_error,
    configure_decoder,
    decode_packet,
    demux_packets,
    discard_other_streams,
    first_audio_stream,
    first_video_stream,
    frame_start_ticks,
    open_container,
    over_limit_error,
    ticks_to_us,
)
from xsheet.curate.media.image import display_transform, upright_size
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.safety import LocalFile
from xsheet.curate.media.timing import compute_timing
from xsheet.schemas.errors import MediaError
from xsheet.schemas.ids import source_id
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import US_PER_S


@dataclass(slots=True)
class _PacketScan:
    """Packet time stamps and first frame of a file, in ticks of each stream."""

    first_frame: VideoFrame | None = None
    starts: list[int] = field(default_factory=list)
    end: int | None = None  # latest end of a packet with a stated duration
    packets: int = 0
    audio_start: int | None = None


def probe_file(file: LocalFile, *, sha256: str, limits: MediaLimits) -> SourceVideo:
    """Probe a validated file.

    Raises:
        MediaError: broken_header, no_video, over_limit, or decode_failed if no frame decodes.
    """
    with open_container(file, limits=limits) as container:
        video = _check_video_stream(container, file=file, limits=limits)
        audio = first_audio_stream(container)
        scan = _scan_packets(container, video, audio, limits=limits, file=file)
        if scan.first_frame is None:
            raise MediaError(
                reason="decode_failed",
                where=file.input_path,
                expected="at least one decodable frame",
                got=f"{scan.packets} packets of {video.codec_context.name}, none of which decodes",
                hint="download it again",
            )
        facts = SourceVideo(
            source_id=source_id(sha256),
            path=file.input_path,
            sha256=sha256,
            size_bytes=file.size_bytes,
            status="ok",
            container=file.demuxer,
            duration_header_us=_header_duration_us(container),
        )
        facts = _with_video_fields(facts, video, scan, file=file, limits=limits)
        return _with_audio_fields(facts, container.streams.audio, audio, scan)


def _check_video_stream(container: InputContainer, *, file: LocalFile, limits: MediaLimits) -> VideoStream:
    if len(container.streams) > limits.max_streams:
        raise over_limit_error(file, f"at most {limits.max_streams} streams", str(len(container.streams)))
    video = first_video_stream(container)
    if video is None:
        kinds = ", ".join(s.type for s in container.streams) or "none"
        hint = "leave the file out"
        raise MediaError(
            reason="no_video", where=file.input_path, expected="a video stream", got=f"streams: {kinds}", hint=hint
        )
    if video.codec_context is None or video.time_base is None:
        raise broken_header_error(file, "a video stream with a known codec and a clock", "an unknown codec or no clock")
    if video.width <= 0 or video.height <= 0:
        raise broken_header_error(file, "a picture size", f"{video.width}×{video.height}")
    if video.width * video.height > limits.max_pixels:
        raise over_limit_error(file, f"at most {limits.max_pixels} pixels", f"{video.width}×{video.height}")
    _check_duration(_header_duration_us(container), file=file, limits=limits)
    if video.average_rate is not None and video.average_rate > limits.max_fps:
        raise over_limit_error(file, f"at most {limits.max_fps} frames per second", f"{float(video.average_rate):.6g}")
    if video.frames > limits.max_frames:
        raise over_limit_error(file, f"at most {limits.max_frames} frames", str(video.frames))
    return video


def _check_duration(us: int | None, *, file: LocalFile, limits: MediaLimits) -> None:
    if us is not None and us > limits.max_duration_s * US_PER_S:
        raise over_limit_error(file, f"at most {limits.max_duration_s} s", f"{us / US_PER_S:.1f} s")


def _header_duration_us(container: InputContainer) -> int | None:
    # libavformat counts in µs; damaged headers give negative durations.
    return container.duration if container.duration is not None and container.duration >= 0 else None


def _scan_packets(
    container: InputContainer, video: VideoStream, audio: AudioStream | None, *, limits: MediaLimits, file: LocalFile
) -> _PacketScan:
    configure_decoder(video, limits=limits, threads=1)
    streams: tuple[Stream, ...] = (video,) if audio is None else (video, audio)
    discard_other_streams(container, *streams)
    scan, counts = _PacketScan(), DecodeCounts()
    for packet in demux_packets(container, *streams, counts=counts):
        if packet.stream_index != video.index:
            if scan.audio_start is None and packet.pts is not None and not packet.is_discard:
                scan.audio_start = packet.pts
            continue
        if scan.first_frame is None:
            scan.first_frame = next(iter(decode_packet(packet, VideoFrame, counts=counts)), None)
        if packet.size:
            _add_packet(scan, packet)
            if scan.packets > limits.max_frames:
                raise over_limit_error(file, f"at most {limits.max_frames} frames", "more packets than that")
    return scan


def _add_packet(scan: _PacketScan, packet: "Packet[Stream]") -> None:
    scan.packets += 1
    start = packet.pts if packet.pts is not None else packet.dts
    if start is None or packet.is_discard:
        return
    scan.starts.append(start)
    if packet.duration:
        end = start + packet.duration
        scan.end = end if scan.end is None else max(scan.end, end)


def _with_video_fields(
    facts: SourceVideo, video: VideoStream, scan: _PacketScan, *, file: LocalFile, limits: MediaLimits
) -> SourceVideo:
    assert scan.first_frame is not None
    assert video.time_base is not None
    zero = frame_start_ticks(scan.first_frame)
    # Packets before the first decodable frame (their key frame is missing) do not count.
    starts = sorted({zero, *(start for start in scan.starts if start > zero)})
    timing = compute_timing(starts, end=scan.end, time_base_s=video.time_base, declared=video.average_rate)
    _check_duration(timing.duration_us, file=file, limits=limits)
    if float(timing.rate) > limits.max_fps:
        raise over_limit_error(file, f"at most {limits.max_fps} frames per second", f"{float(timing.rate):.6g}")
    transform = display_transform(scan.first_frame)
    # The decoder's size, because the header's can differ from it.
    width, height = upright_size(
        scan.first_frame.width, scan.first_frame.height, pixel_aspect=video.sample_aspect_ratio, transform=transform
    )
    return replace(
        facts,
        duration_us=timing.duration_us,
        video_codec=video.codec_context.name,
        width=width,
        height=height,
        rotation_deg=transform.clockwise_deg,
        is_mirrored=transform.is_mirrored,
        fps_num=timing.rate.num,
        fps_den=timing.rate.den,
        is_vfr=timing.is_vfr,
        frames_header=video.frames or None,
        frames_found=scan.packets,
        start_us=ticks_to_us(zero, video),
    )


def _with_audio_fields(
    facts: SourceVideo, streams: Sequence[AudioStream], audio: AudioStream | None, scan: _PacketScan
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
