"""Reading untrusted video: facts, frames at a constant rate, sound on the same clock. Time zero is the first frame.

    with open_media(path, root=root) as media:
        sound = media.sound()                                     # float32, 16 kHz mono, 640 samples per frame; or None
        for frame in media.frames(size=fit_size(media.source.width, media.source.height, long_side=720)):
            ...                                                   # hand frame.rgb to everything that looks at pixels

Frames and sound are separate passes, each opening the file anew; a source is meant to be decoded once, so all analysers
share one loop over `frames`, and `video_passes` lets a test count.

Everything here runs in the calling process. C demuxers and decoders can crash, hang or grow on hostile input, so the
product calls this module only in tasks of xsheet.runtime.executor, whose spawned children have memory and wall-clock
limits and are killed as a group: that is the one place of isolation. Inside it, every fault of the file is a
MediaError.
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

from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples, Soundtrack
from xsheet.curate.media.container import (
    FILE_FAULTS,
    PassCounts,
    arm,
    audio_of,
    broken_header,
    decoded,
    one_line,
    only,
    opened,
    over_limit,
    seek,
    start_of,
    ticks_to_us,
    video_of,
)
from xsheet.curate.media.frames import Frame, at_rate
from xsheet.curate.media.image import Renderer, Rgb, Turn
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.probe import read_facts
from xsheet.curate.media.safety import LocalFile, admit
from xsheet.curate.media.timing import frame_count
from xsheet.schemas.errors import MediaError
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import CLIP_RATE, FrameRate, Span, frame_start_us, frames_in

DEFAULT_LIMITS = MediaLimits()
S = TypeVar("S", VideoStream, AudioStream)
F = TypeVar("F", VideoFrame, AudioFrame)
Start = TypeVar("Start", int, int | None)
LATE_US = 500_000  # audio frames may stand this far from their place in the file


def probe(
    path: str | os.PathLike[str], *, root: Path, limits: MediaLimits = DEFAULT_LIMITS, count_frames: bool = False
) -> SourceVideo:
    """Facts of one input; only its first frame is decoded unless all are to be counted.

    Raises:
        MediaError: the input cannot be used; its reason says why.
    """
    with open_media(path, root=root, limits=limits) as media:
        return replace(media.source, frames_decoded=media.count_frames()) if count_frames else media.source


@contextmanager
def open_media(
    path: str | os.PathLike[str], *, root: Path, limits: MediaLimits = DEFAULT_LIMITS, threads: int = 1
) -> Iterator["Media"]:
    """One input, checked, its facts read; passes that are left unfinished are closed at the end.

    Args:
        path: as the user gave it.
        root: folder that the input must lie below.
        limits: what the file may ask of us.
        threads: of the video decoder. Fixed, so that results and memory do not depend on the machine.

    Raises:
        MediaError: the input cannot be used; its reason says why.
    """
    file = admit(path, root=root)
    with file.open() as raw:
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    media = Media(file, read_facts(file, sha256=sha256, limits=limits), limits=limits, threads=threads)
    try:
        yield media
    finally:
        media.close()


class Media:
    """One usable input. `source` holds its facts, `counts` what happened in the latest pass over its frames."""

    def __init__(self, file: LocalFile, source: SourceVideo, *, limits: MediaLimits, threads: int) -> None:
        self.source = source
        self.counts = PassCounts()
        self.sound_counts = PassCounts()
        self.video_passes = 0
        self._file = file
        self._limits = limits
        self._threads = threads
        self._passes: list[Generator[Frame]] = []

    @property
    def size(self) -> tuple[int, int]:
        """Upright width and height in square pixels."""
        assert self.source.width is not None
        assert self.source.height is not None
        return self.source.width, self.source.height

    @property
    def clip_frames(self) -> int:
        """Frames of the whole film at 25 fps: as many as `frames()` gives, and 640 samples of `sound()` for each."""
        return frame_count(self._duration_us, rate=CLIP_RATE)

    def frames(
        self, *, rate: FrameRate = CLIP_RATE, size: tuple[int, int] | None = None, span: Span | None = None
    ) -> Iterator[Frame]:
        """Frames from zero to the end of the picture, upright and in square pixels.

        A frame is the last one that has started at its instant, so a variable rate becomes a constant one. Damaged
        stretches are skipped (the frame before is held) and counted in `counts`.

        Args:
            rate: frames per second to hand out.
            size: width and height to scale to; the upright size when None.
            span: only the frames that start inside; decodes from the key frame before. The whole film when None.

        Raises:
            MediaError: over_limit when the file holds more than it said.
        """
        one_pass = self._frames(rate, size or self.size, span or Span(0, max(1, self._duration_us)))
        self._passes.append(one_pass)
        return one_pass

    def count_frames(self) -> int:
        """Decode everything, show nothing, count the frames that came out."""
        counts = self.counts = PassCounts()
        for _ in self._timed(counts):
            pass
        return counts.decoded

    def sound(self, span: Span | None = None) -> Samples | None:
        """The first audio track as float32 mono at 16 kHz; None when there is none.

        Sample 0 sounds with the first frame. The array covers every frame at 25 fps in full: 640 samples each, silence
        where the file has no sound, cut where the sound outlasts the picture.

        Args:
            span: only the frames (at 25 fps) that start inside; the whole film when None.

        Raises:
            MediaError: over_limit when the file holds more than it said.
        """
        if self.source.audio_codec is None:
            return None
        counts = self.sound_counts = PassCounts()
        frames = range(self.clip_frames) if span is None else frames_in(span, CLIP_RATE)
        begin_us, end_us = frame_start_us(frames.start, CLIP_RATE), frame_start_us(frames.stop, CLIP_RATE)
        track = Soundtrack(len(frames) * SAMPLES_PER_FRAME)
        for start_us, frame in self._timed_sound(counts, from_us=begin_us):
            if start_us is not None and start_us >= end_us:
                if span is not None and start_us >= end_us + LATE_US:
                    break
                continue  # after the picture, or a stamp gone wrong with good ones behind it
            try:
                track.add(frame, start_us=None if start_us is None else start_us - begin_us)
            except MemoryError:
                raise
            except FILE_FAULTS:
                counts.damaged += 1
        return track.finished() if counts.decoded else None

    def close(self) -> None:
        """End all passes and release their files."""
        for one_pass in self._passes:
            one_pass.close()
        self._passes.clear()

    @property
    def _duration_us(self) -> int:
        assert self.source.duration_us is not None
        return self.source.duration_us

    @property
    def _zero_us(self) -> int:
        assert self.source.start_us is not None
        return self.source.start_us

    def _frames(self, rate: FrameRate, size: tuple[int, int], span: Span) -> Generator[Frame]:
        turn = Turn(self.source.rotation_deg or 0, is_mirrored=self.source.is_mirrored or False)
        counts = self.counts = PassCounts()
        renderer = Renderer(size, turn=turn)

        def render(frame: VideoFrame) -> Rgb:
            try:
                return renderer(frame)
            except MemoryError:
                raise
            except FILE_FAULTS as error:
                raise self._unconvertible(frame, error) from error

        timed = self._timed(counts, from_us=span.start_us)
        end_us, first = min(span.end_us, self._duration_us), frames_in(span, rate).start
        yield from at_rate(timed, rate=rate, end_us=end_us, render=render, counts=counts, first=first)

    def _timed(self, counts: PassCounts, *, from_us: int = 0) -> Iterator[tuple[int, VideoFrame]]:
        """Decoded frames with their start from zero, from the one current at `from_us` or an earlier one on."""
        return _sought(lambda us: self._decoded(counts, from_us=us), from_us, seek_us=from_us)

    def _decoded(self, counts: PassCounts, *, from_us: int = 0) -> Generator[tuple[int, VideoFrame]]:
        """The one decode loop over pictures."""
        self.video_passes += from_us == 0
        latest_us, decoded_bytes = -1, 0
        with opened(self._file, limits=self._limits) as container:
            video = self._known(video_of(container))
            only(container, video)
            arm(video, limits=self._limits, threads=self._threads)
            if from_us:
                seek(container, video, self._zero_us + from_us)
            for frame in decoded(container, video, VideoFrame, counts=counts):
                decoded_bytes += 3 * frame.width * frame.height
                self._check_growth(counts.decoded, decoded_bytes)
                start_us = ticks_to_us(start_of(frame), video) - self._zero_us
                if start_us <= latest_us:
                    counts.damaged += 1
                    continue
                latest_us = start_us
                yield start_us, frame

    def _timed_sound(self, counts: PassCounts, *, from_us: int = 0) -> Iterator[tuple[int | None, AudioFrame]]:
        lead_us = max(0, from_us - LATE_US)  # decoders and the resampler want a run-up
        return _sought(lambda us: self._decoded_sound(counts, from_us=us), from_us, seek_us=lead_us)

    def _decoded_sound(self, counts: PassCounts, *, from_us: int = 0) -> Generator[tuple[int | None, AudioFrame]]:
        with opened(self._file, limits=self._limits) as container:
            audio = self._known(audio_of(container))
            only(container, audio)
            arm(audio, limits=self._limits, threads=1)
            if from_us:
                seek(container, audio, self._zero_us + from_us)
            heard_s = 0.0
            for frame in decoded(container, audio, AudioFrame, counts=counts):
                heard_s += frame.samples / max(1, frame.sample_rate)
                if heard_s > self._limits.max_duration_s:
                    raise over_limit(self._file, f"at most {self._limits.max_duration_s} s of sound", "more")
                start_us = None if frame.pts is None else ticks_to_us(frame.pts, audio) - self._zero_us
                yield start_us, frame

    def _known(self, stream: S | None) -> S:
        # A program stream shows its streams as they come; one that was there before may be missing now.
        if stream is None:
            raise broken_header(self._file, "the same streams as before", "a stream less")
        return stream

    def _unconvertible(self, frame: VideoFrame, error: BaseException) -> MediaError:
        return MediaError(
            reason="decode_failed",
            where=self._file.given,
            expected="pictures that convert to RGB",
            came=f"{frame.format.name}: {one_line(error)}",
            todo="convert the file to yuv420p",
        )

    def _check_growth(self, frames: int, decoded_bytes: int) -> None:
        if frames > self._limits.max_frames:
            raise over_limit(self._file, f"at most {self._limits.max_frames} frames", "more, whatever the header says")
        if decoded_bytes > self._limits.max_expansion * self._file.size_bytes:
            came = f"{decoded_bytes} after {frames} frames, from {self._file.size_bytes}"
            raise over_limit(self._file, f"at most {self._limits.max_expansion} decoded bytes for each byte", came)


def _sought(
    decode: Callable[[int], Generator[tuple[Start, F]]], from_us: int, *, seek_us: int
) -> Iterator[tuple[Start, F]]:
    """Timed frames from the one current at `from_us`, or an earlier one, on."""
    if seek_us:
        seeking = decode(seek_us)
        first = next(seeking, None)
        if first is not None and first[0] is not None and first[0] <= from_us:
            yield first
            yield from seeking
            return
        seeking.close()  # an index that leads too far, or none: from the beginning then
    yield from decode(0)
