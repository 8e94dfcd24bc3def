"""Probe a video: check the header against the limits, then read every packet's time stamp without decoding.

Only the first frame is decoded; it defines time zero and the display transform. Packet time stamps give the real
frame count, duration and rate, which headers often misstate.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from xsheet.curate.media.clock import ContainerClock, StreamTimes, join_clocks
from xsheet.curate.media.container import (
    DecodeCounts,
    broken_header_error,
    configure_decoder,
    decode_packet,
    demux_packets,
    discard_other_streams,
    frame_start_ticks,
    moving_video_streams,
    open_container,
    over_limit_error,
    select_audio_stream,
    select_video_stream,
    ticks_to_us,
)
from xsheet.curate.media.image import display_transform, upright_size
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.safety import LocalFile
from xsheet.curate.media.timing import compute_timing
from xsheet.curate.media.tone_map import PRIMARIES_NAMES, TRANSFER_NAMES, color_name
from xsheet.schemas.errors import MediaError
from xsheet.schemas.ids import source_id
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import CLIP_RATE, US_PER_S

MAX_START_US = 1 << 53  # 285 years


@dataclass(slots=True)
class _PacketScan:
    """Packet time stamps and first frame of a file, in ticks of each stream."""

    video: StreamTimes
    audio: StreamTimes | None
    first_frame: VideoFrame | None = None
    durations: list[int | None] = field(default_factory=list)  # per video packet; None for one that shows no picture
    packets: int = 0
    audio_start: int | None = None
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class ProbedFile:
    """Metadata of a file, and the clock that its passes use."""

    source: SourceVideo
    clock: ContainerClock


def probe_file(file: LocalFile, *, sha256: str, limits: MediaLimits) -> ProbedFile:
    """Probe a validated file.

    Raises:
        MediaError: broken_header, no_video, over_limit, or decode_failed if no frame decodes.
    """
    with open_container(file, limits=limits) as container:
        video = _check_video_stream(container, file=file, limits=limits)
        audio = select_audio_stream(container, limits.audio_track)
        if audio is None and limits.audio_track is not None and container.streams.audio:
            raise _no_such_track(file, "audio", limits.audio_track, len(container.streams.audio))
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
        clock = _join_parts(video, scan, forward=file.demuxer == "mpeg")
        facts = _with_video_fields(facts, video, scan, clock, file=file, limits=limits)
        facts = replace(facts, video_streams=len(moving_video_streams(container)))
        return ProbedFile(_with_audio_fields(facts, container.streams.audio, audio, scan, file=file), clock)


def _check_video_stream(container: InputContainer, *, file: LocalFile, limits: MediaLimits) -> VideoStream:
    if len(container.streams) > limits.max_streams:
        raise over_limit_error(file, f"at most {limits.max_streams} streams", str(len(container.streams)))
    video = select_video_stream(container, limits.video_track)
    if video is None:
        if limits.video_track is not None and moving_video_streams(container):
            raise _no_such_track(file, "video", limits.video_track, len(moving_video_streams(container)))
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


def _container_of(stream: VideoStream) -> InputContainer:
    assert isinstance(stream.container, InputContainer)  # PyAV types it as either direction
    return stream.container


def _no_such_track(file: LocalFile, kind: Literal["video", "audio"], track: int, count: int) -> MediaError:
    return MediaError(
        reason="no_video" if kind == "video" else "no_audio",
        where=file.input_path, expected=f"{kind} track {track}", got=f"{count} {kind} tracks",
        hint=f"count from 0 in analysis.media.{kind}_track, or remove the setting",
    )  # fmt: skip


def _check_duration(us: int | None, *, file: LocalFile, limits: MediaLimits) -> None:
    if us is not None and us > limits.max_duration_s * US_PER_S:
        raise over_limit_error(file, f"at most {limits.max_duration_s} s", f"{us / US_PER_S:.1f} s")


def _check_start(us: int, *, file: LocalFile) -> int:
    """Raise MediaError if a start time or a difference of two would overflow 64-bit microseconds."""
    if abs(us) > MAX_START_US:
        expected, got = f"a start within {MAX_START_US // US_PER_S} s of zero", f"{us / US_PER_S:.4g} s"
        raise over_limit_error(file, expected, got)
    return us


def _check_filler(
    starts: Sequence[int], duration_us: int, *, time_base_s: Fraction, file: LocalFile, limits: MediaLimits
) -> None:
    """Raise MediaError for long gaps between frames: wrong time stamps would cost 25 repeated frames per second."""
    ends: tuple[int | Fraction, ...] = (*starts[1:], starts[0] + Fraction(duration_us, US_PER_S) / time_base_s)
    gap_s = float(max(end - start for start, end in zip(starts, ends, strict=True)) * time_base_s)
    if gap_s > limits.max_frame_gap_s:
        raise over_limit_error(file, f"at most {limits.max_frame_gap_s:g} s from frame to frame", f"{gap_s:.1f} s")
    repeats = duration_us * CLIP_RATE.num / (US_PER_S * CLIP_RATE.den * len(starts))
    if repeats > limits.max_repeats_per_frame:
        expected = f"at most {limits.max_repeats_per_frame:g} frames at {CLIP_RATE} fps for each frame of the file"
        raise over_limit_error(file, expected, f"{repeats:.0f}")


def _header_duration_us(container: InputContainer) -> int | None:
    # libavformat counts in µs; damaged headers give negative durations.
    return container.duration if container.duration is not None and container.duration >= 0 else None


def _scan_packets(
    container: InputContainer, video: VideoStream, audio: AudioStream | None, *, limits: MediaLimits, file: LocalFile
) -> _PacketScan:
    configure_decoder(video, limits=limits, threads=1)
    streams: tuple[Stream, ...] = (video,) if audio is None else (video, audio)
    discard_other_streams(container, *streams)
    assert video.time_base is not None
    sound = None if audio is None or audio.time_base is None else StreamTimes(audio.time_base)
    scan, counts = _PacketScan(StreamTimes(video.time_base), sound), DecodeCounts()
    for place, packet in enumerate(demux_packets(container, *streams, counts=counts)):
        if packet.stream_index != video.index:
            if scan.audio is not None:
                scan.audio.add(packet, place)
            if scan.audio_start is None and packet.pts is not None and not packet.is_discard:
                scan.audio_start = packet.pts
            continue
        if scan.first_frame is None:
            scan.first_frame = next(iter(decode_packet(packet, VideoFrame, counts=counts)), None)
        scan.video.add(packet, place)
        scan.durations.append(None if packet.is_discard or not packet.size else packet.duration or 0)
        if packet.size:
            scan.packets += 1
            if scan.packets > limits.max_frames:
                raise over_limit_error(file, f"at most {limits.max_frames} frames", "more packets than that")
    return scan


def _join_parts(video: VideoStream, scan: _PacketScan, *, forward: bool) -> ContainerClock:
    assert video.time_base is not None
    durations = [duration for duration in scan.durations if duration]
    rate = video.average_rate or CLIP_RATE.num
    step = int(statistics.median(durations)) if durations else round(1 / (rate * video.time_base))
    return join_clocks(scan.video, scan.audio, step=step, forward=forward)


def _shown_packets(scan: _PacketScan, clock: ContainerClock) -> tuple[list[int], int | None]:
    """Start of every shown picture on the joined clock, and the latest stated end."""
    starts, end = [], None
    for index, (time, duration) in enumerate(zip(scan.video.presentation, scan.durations, strict=True)):
        if time is None or duration is None:
            continue
        starts.append(time + clock.video.offset_at(index))
        if duration:
            end = starts[-1] + duration if end is None else max(end, starts[-1] + duration)
    return starts, end


def _with_video_fields(
    facts: SourceVideo,
    video: VideoStream,
    scan: _PacketScan,
    clock: ContainerClock,
    *,
    file: LocalFile,
    limits: MediaLimits,
) -> SourceVideo:
    assert scan.first_frame is not None
    assert video.time_base is not None
    zero = frame_start_ticks(scan.first_frame)
    # Packets before the first decodable frame (their key frame is missing) do not count.
    shown, end = _shown_packets(scan, clock)
    starts = sorted({zero, *(start for start in shown if start > zero)})
    timing = compute_timing(starts, end=end, time_base_s=video.time_base, declared=video.average_rate)
    _check_duration(timing.duration_us, file=file, limits=limits)
    _check_filler(starts, timing.duration_us, time_base_s=video.time_base, file=file, limits=limits)
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
        start_us=_check_start(ticks_to_us(zero, video), file=file),
        video_track=moving_video_streams(_container_of(video)).index(video),
        clock_restarts=clock.restarts,
        color_transfer=color_name(TRANSFER_NAMES, scan.first_frame.color_trc),
        color_primaries=color_name(PRIMARIES_NAMES, scan.first_frame.color_primaries),
        bit_depth=max((component.bits for component in scan.first_frame.format.components), default=None),
        is_interlaced=scan.first_frame.interlaced_frame,
        pixel_aspect=None if video.sample_aspect_ratio is None else float(video.sample_aspect_ratio),
    )


def _with_audio_fields(
    facts: SourceVideo,
    streams: Sequence[AudioStream],
    audio: AudioStream | None,
    scan: _PacketScan,
    *,
    file: LocalFile,
) -> SourceVideo:
    facts = replace(facts, audio_streams=len(streams))
    if audio is None:
        return facts
    start_us = None if scan.audio_start is None else _check_start(ticks_to_us(scan.audio_start, audio), file=file)
    return replace(
        facts,
        audio_track=list(streams).index(audio),
        audio_codec=audio.codec_context.name,
        audio_rate_hz=audio.rate or None,
        audio_channels=audio.channels or None,
        audio_start_us=None if start_us is None or facts.start_us is None else start_us - facts.start_us,
    )
