"""Read untrusted video: metadata, frames at a constant rate, aligned sound. Time zero is the first frame.

    with open_media(path, root=root) as media:
        sound = media.sound()                                     # float32, 16 kHz mono, 640 samples per frame; or None
        for frame in media.frames(size=fit_size(media.source.width, media.source.height, long_side=720)):
            ...                                                   # pass frame.rgb to all picture analysers

Frames and sound are separate passes; each opens the file again. Analysers share one loop over `frames`, so that a
source is decoded once; `video_passes` counts the decodes.

C demuxers and decoders can crash, hang or exhaust memory on hostile input. Call this module only in tasks of
xsheet.runtime.executor, whose child processes have memory and time limits. Faults of the file raise MediaError.
"""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples, SoundtrackBuilder
from xsheet.curate.media.container import (
    FILE_ERRORS,
    DecodeCounts,
    broken_header_error,
    configure_decoder,
    decode_frames,
    discard_other_streams,
    frame_start_ticks,
    open_container,
    over_limit_error,
    seek_to_key_frame,
    select_audio_stream,
    select_video_stream,
    short_message,
    ticks_to_us,
    undecided_audio_tracks,
)
from xsheet.curate.media.frames import ClipFrame, DecodedFrame, Frame, Resampled, resample_frames
from xsheet.curate.media.image import FrameRenderer, PictureTransform, is_same_shape
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.probe import ProbedFile, probe_file
from xsheet.curate.media.safety import LocalFile, validate_input
from xsheet.curate.media.timing import frame_count
from xsheet.schemas.errors import MediaError
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import CLIP_RATE, FrameRate, Span, frame_start_us, frames_in

DEFAULT_LIMITS = MediaLimits()
S = TypeVar("S", VideoStream, AudioStream)
P = TypeVar("P")
Timed = TypeVar("Timed", DecodedFrame, tuple[int | None, AudioFrame])
MAX_AUDIO_SKEW_US = 500_000  # audio packets may lie this far from their presentation time in the file


def probe(
    path: str | os.PathLike[str], *, root: Path, limits: MediaLimits = DEFAULT_LIMITS, count_frames: bool = False
) -> SourceVideo:
    """Probe one input; decodes only the first frame unless `count_frames` is set.

    Raises:
        MediaError: the input cannot be used; its reason says why.
    """
    with open_media(path, root=root, limits=limits) as media:
        if not count_frames:
            return media.source
        media.count_frames()
        return media.with_counts(media.source)


@contextmanager
def open_media(
    path: str | os.PathLike[str], *, root: Path, limits: MediaLimits = DEFAULT_LIMITS, threads: int = 1
) -> Iterator["MediaReader"]:
    """Validate and probe one input; closes unfinished passes at exit.

    Args:
        path: input path.
        root: folder that the input must lie below.
        limits: resource limits.
        threads: threads of the video decoder; fixed, so that results and memory do not depend on the machine.

    Raises:
        MediaError: the input cannot be used; its reason says why.
    """
    file = validate_input(path, root=root)
    with file.open() as raw:
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    media = MediaReader(file, probe_file(file, sha256=sha256, limits=limits), limits=limits, threads=threads)
    try:
        yield media
    finally:
        media.close()


class MediaReader:
    """One usable input: `source` holds its metadata, `counts` the frame counts of the latest video pass."""

    def __init__(self, file: LocalFile, probed: ProbedFile, *, limits: MediaLimits, threads: int) -> None:
        self.source = probed.source
        self._clock = probed.clock
        self.counts = DecodeCounts()
        self.video_passes = 0
        self._file = file
        self._limits = limits
        self._threads = threads
        self._passes: list[Generator[Frame] | Generator[ClipFrame]] = []

    def with_counts(self, source: SourceVideo) -> SourceVideo:
        """The source with the frame counts of the latest video pass."""
        counts = self.counts
        return replace(
            source, frames_decoded=counts.decoded, frames_damaged=counts.damaged, frames_unordered=counts.unordered,
            frames_resized=counts.resized,
        )  # fmt: skip

    @property
    def undecided_audio_tracks(self) -> tuple[int, ...]:
        """Indices of the audio tracks among which neither a setting nor a default flag decides."""
        if self._limits.audio_track is not None:
            return ()
        with open_container(self._file, limits=self._limits) as container:
            return undecided_audio_tracks(container)

    @property
    def size(self) -> tuple[int, int]:
        """Upright width and height in square pixels."""
        assert self.source.width is not None
        assert self.source.height is not None
        return self.source.width, self.source.height

    @property
    def frame_count_at_clip_rate(self) -> int:
        """Number of frames at 25 fps that `frames()` yields; `sound()` has 640 samples for each."""
        return frame_count(self._duration_us, rate=CLIP_RATE)

    def frames(
        self, *, rate: FrameRate = CLIP_RATE, size: tuple[int, int] | None = None, span: Span | None = None
    ) -> Iterator[Frame]:
        """Yield frames at a constant rate, upright and in square pixels.

        Each output frame is the last decoded one that has started. Damaged parts are skipped (the previous frame is
        held) and counted in `counts`.

        Args:
            rate: output frames per second.
            size: output width and height; None is the upright size.
            span: yield only frames that start inside, decoding from the key frame before; None is the whole video.

        Raises:
            MediaError: over_limit if the content exceeds what the header states.
        """
        one_pass = self._iter_frames(rate, size or self.size, span or Span(0, max(1, self._duration_us)))
        self._passes.append(one_pass)
        return one_pass

    def clip_frames(self, span: Span, *, size: tuple[int, int]) -> Iterator[ClipFrame]:
        """Yield frames at 25 fps as a clip stores them; else as `frames`.

        Args:
            span: yield only frames that start inside.
            size: output width and height, both even.

        Raises:
            MediaError: as `frames`.
        """
        one_pass = self._iter_clip_frames(size, span)
        self._passes.append(one_pass)
        return one_pass

    def count_frames(self) -> int:
        """Decode the whole video and count the frames."""
        counts = self.counts = DecodeCounts()
        for _ in self._timed_frames(counts):
            pass
        return counts.decoded

    def sound(self, span: Span | None = None) -> Samples | None:
        """Decode the audio track as float32 mono at 16 kHz; None if there is none.

        Sample 0 is aligned with the first frame. The array has 640 samples per frame at 25 fps: silence where the file
        has no sound, cut where the sound outlasts the video. Where left and right cancel each other (one is the
        negative of the other), also in 5.1, the louder side is taken.

        Args:
            span: only frames (at 25 fps) that start inside; None is the whole video.

        Raises:
            MediaError: over_limit if the content exceeds what the header states.
        """
        if self.source.audio_codec is None:
            return None
        counts = DecodeCounts()
        frames = range(self.frame_count_at_clip_rate) if span is None else frames_in(span, CLIP_RATE)
        begin_us, end_us = frame_start_us(frames.start, CLIP_RATE), frame_start_us(frames.stop, CLIP_RATE)
        samples = len(frames) * SAMPLES_PER_FRAME
        track = self._fill(SoundtrackBuilder(samples), counts, begin_us, end_us, is_whole=span is None)
        if track.channels_cancel:
            counts = DecodeCounts()
            builder = SoundtrackBuilder(samples, channel=track.louder_channel)
            track = self._fill(builder, counts, begin_us, end_us, is_whole=span is None)
        return track.finish() if counts.decoded else None

    def _fill(
        self, track: SoundtrackBuilder, counts: DecodeCounts, begin_us: int, end_us: int, *, is_whole: bool
    ) -> SoundtrackBuilder:
        for start_us, frame in self._timed_audio_frames(counts, from_us=begin_us):
            if start_us is not None and start_us >= end_us:
                if not is_whole and start_us >= end_us + MAX_AUDIO_SKEW_US:
                    break
                continue  # after the video, or one bad time stamp among good ones
            try:
                track.add(frame, start_us=None if start_us is None else start_us - begin_us)
            except MemoryError:
                raise
            except FILE_ERRORS:
                counts.damaged += 1
        return track

    def close(self) -> None:
        """Close all passes and their files."""
        for one_pass in self._passes:
            one_pass.close()
        self._passes.clear()

    @property
    def _duration_us(self) -> int:
        assert self.source.duration_us is not None
        return self.source.duration_us

    @property
    def _first_frame_us(self) -> int:
        assert self.source.start_us is not None
        return self.source.start_us

    def _iter_frames(self, rate: FrameRate, size: tuple[int, int], span: Span) -> Generator[Frame]:
        for one in self._resample(self._renderer(size), rate, span):
            yield Frame(one.index, one.start_us, one.picture, one.source_index, one.source_us, one.is_damaged)

    def _iter_clip_frames(self, size: tuple[int, int], span: Span) -> Generator[ClipFrame]:
        for one in self._resample(self._renderer(size).planes, CLIP_RATE, span):
            yield ClipFrame(one.index, one.picture)

    def _renderer(self, size: tuple[int, int]) -> FrameRenderer:
        transform = PictureTransform(self.source.rotation_deg or 0, is_mirrored=self.source.is_mirrored or False)
        return FrameRenderer(size, transform=transform)

    def _resample(self, convert: Callable[[VideoFrame], P], rate: FrameRate, span: Span) -> Iterator[Resampled[P]]:
        counts = self.counts = DecodeCounts()

        def render(frame: VideoFrame) -> P:
            try:
                return convert(frame)
            except MemoryError:
                raise
            except FILE_ERRORS as error:
                raise self._conversion_error(frame, error) from error

        timed = self._timed_frames(counts, from_us=span.start_us)
        end_us, first = min(span.end_us, self._duration_us), frames_in(span, rate).start
        return resample_frames(timed, rate=rate, end_us=end_us, render=render, counts=counts, first_index=first)

    def _timed_frames(self, counts: DecodeCounts, *, from_us: int = 0) -> Iterator[DecodedFrame]:
        """Decoded frames with their start times, beginning at or before the frame current at `from_us`."""
        seek_us = 0 if self._clock.restarts else from_us  # one time may stand for several places
        return _decode_from(lambda us: self._decode_video(counts, from_us=us), from_us, seek_us=seek_us)

    def _decode_video(self, counts: DecodeCounts, *, from_us: int = 0) -> Generator[DecodedFrame]:
        """Decode video frames in order; the only video decode loop."""
        self.video_passes += from_us == 0
        latest_us, decoded_bytes, damaged, is_smeared = -1, 0, 0, False
        shape: float | None = None
        with open_container(self._file, limits=self._limits, decodes_pictures=True) as container:
            video = self._require_stream(select_video_stream(container, self._limits.video_track))
            discard_other_streams(container, video)
            configure_decoder(video, limits=self._limits, threads=self._threads)
            if from_us:
                seek_to_key_frame(container, video, self._first_frame_us + from_us)
            for frame in decode_frames(container, video, VideoFrame, counts=counts, clock=self._clock.video):
                decoded_bytes += 3 * frame.width * frame.height
                self._check_decoded_size(counts.decoded, decoded_bytes)
                # An error affects all frames that depend on it, up to the next key frame.
                is_smeared = counts.damaged > damaged or (is_smeared and not frame.key_frame)
                damaged = counts.damaged
                shape = shape or frame.width / frame.height
                counts.resized += not is_same_shape(frame.width / frame.height, shape)
                start_us = ticks_to_us(frame_start_ticks(frame), video) - self._first_frame_us
                if start_us <= latest_us:
                    counts.unordered += 1
                    continue
                latest_us = start_us
                yield DecodedFrame(start_us, frame, is_smeared)

    def _timed_audio_frames(self, counts: DecodeCounts, *, from_us: int = 0) -> Iterator[tuple[int | None, AudioFrame]]:
        # Run-up for decoder and resampler; with several clocks one time may stand for several places.
        lead_us = 0 if self._clock.restarts else max(0, from_us - MAX_AUDIO_SKEW_US)
        return _decode_from(lambda us: self._decode_audio(counts, from_us=us), from_us, seek_us=lead_us)

    def _decode_audio(self, counts: DecodeCounts, *, from_us: int = 0) -> Generator[tuple[int | None, AudioFrame]]:
        with open_container(self._file, limits=self._limits) as container:
            audio = self._require_stream(select_audio_stream(container, self._limits.audio_track))
            discard_other_streams(container, audio)
            configure_decoder(audio, limits=self._limits, threads=1)
            if from_us:
                seek_to_key_frame(container, audio, self._first_frame_us + from_us)
            decoded_s = 0.0
            for frame in decode_frames(container, audio, AudioFrame, counts=counts, clock=self._clock.audio):
                decoded_s += frame.samples / max(1, frame.sample_rate)
                if decoded_s > self._limits.max_duration_s:
                    raise over_limit_error(self._file, f"at most {self._limits.max_duration_s} s of audio", "more")
                start_us = None if frame.pts is None else ticks_to_us(frame.pts, audio) - self._first_frame_us
                yield start_us, frame

    def _require_stream(self, stream: S | None) -> S:
        # A program stream announces streams as they appear, so one found earlier may be missing now.
        if stream is None:
            raise broken_header_error(self._file, "the streams found by the probe", "a missing stream")
        return stream

    def _conversion_error(self, frame: VideoFrame, error: BaseException) -> MediaError:
        return MediaError(
            reason="decode_failed",
            where=self._file.input_path,
            expected="frames that convert to RGB",
            got=f"{frame.format.name}: {short_message(error)}",
            hint="convert the file to yuv420p",
        )

    def _check_decoded_size(self, frames: int, decoded_bytes: int) -> None:
        if frames > self._limits.max_frames:
            raise over_limit_error(
                self._file, f"at most {self._limits.max_frames} frames", "more than the header states"
            )
        if decoded_bytes > self._limits.max_decoded_ratio * self._file.size_bytes:
            got = f"{decoded_bytes} after {frames} frames, from {self._file.size_bytes}"
            raise over_limit_error(
                self._file, f"at most {self._limits.max_decoded_ratio} decoded bytes for each byte", got
            )


def _decode_from(decode: Callable[[int], Generator[Timed]], from_us: int, *, seek_us: int) -> Iterator[Timed]:
    """Timed frames, beginning at or before the one current at `from_us`."""
    if seek_us:
        seeking = decode(seek_us)
        first = next(seeking, None)
        start_us = None if first is None else first[0]
        if first is not None and start_us is not None and start_us <= from_us:
            yield first
            yield from seeking
            return
        seeking.close()  # the index leads too far or is missing: start at the beginning
    yield from decode(0)
