"""Small films whose truth is known: frame k is grey with level 8 + 4·k, sound is what the test plants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray


def grey(index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), 8 + 4 * (index % 60), np.uint8)


def index_of(rgb: NDArray[np.uint8]) -> int:
    return round((float(rgb.mean()) - 8) / 4)


@dataclass(frozen=True, kw_only=True)
class Film:
    """What to write; every field can be planted on its own."""

    frames: int = 25
    size: tuple[int, int] = (64, 48)
    rate: Fraction = Fraction(25)
    stamps: Sequence[int] | None = None  # in ticks of `tick`; 0, 1, 2, ... of the rate when None
    tick: Fraction | None = None
    codec: str = "libx264"
    container: str = "mp4"
    rotation_deg: int = 0  # counter-clockwise, as a player would turn it
    mirrored: bool = False
    aspect: Fraction | None = None
    sound: NDArray[np.float32] | None = None  # 16 kHz mono
    sound_start_us: int = 0
    audio_codec: str = "aac"
    title: str | None = None
    picture: Callable[[int, tuple[int, int]], NDArray[np.uint8]] = grey
    more_audio: int = 0
    only_sound: bool = False
    fragmented: bool = False  # MP4 whose time stamps lie beside its pictures

    def write(self, path: Path) -> Path:
        options = {"fflags": "+bitexact"}
        if self.fragmented:
            options["movflags"] = "frag_keyframe+empty_moov"
        with av.open(str(path), "w", format=self.container, container_options=options) as out:
            if self.title is not None:
                out.metadata["title"] = self.title
            videos = [] if self.only_sound else [self._video(out)]
            tracks = [self._audio(out) for _ in range(1 + self.more_audio)] if self.sound is not None else []
            tick = self.tick or 1 / self.rate
            for index in range(self.frames):
                frame = av.VideoFrame.from_ndarray(self.picture(index, self.size), format="rgb24")
                frame.pts = self.stamps[index] if self.stamps is not None else index
                frame.time_base = tick
                out.mux(videos[0].encode(frame))
            for track in tracks:
                out.mux(track.encode(self._audio_frame()))
            for stream in (*videos, *tracks):
                out.mux(stream.encode(None))
        return path

    def _video(self, out: av.container.OutputContainer):
        video = out.add_stream(self.codec, rate=self.rate, options={"crf": "10"} if self.codec == "libx264" else {})
        video.width, video.height = self.size
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = self.tick or 1 / self.rate
        if self.codec not in ("libx264", "libvpx-vp9"):
            video.codec_context.bit_rate = 2_000_000
        if self.aspect is not None:
            video.codec_context.sample_aspect_ratio = self.aspect
        if self.rotation_deg or self.mirrored:
            video.set_display_rotation(self.rotation_deg, hflip=self.mirrored)
        return video

    def _audio(self, out: av.container.OutputContainer):
        rate = 48_000 if self.audio_codec == "libopus" else 16_000
        stream = out.add_stream(self.audio_codec, rate=rate, layout="mono")
        stream.codec_context.time_base = Fraction(1, rate)
        return stream

    def _audio_frame(self) -> av.AudioFrame:
        assert self.sound is not None
        frame = av.AudioFrame.from_ndarray(self.sound[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        frame.pts = self.sound_start_us * 16_000 // 1_000_000
        frame.time_base = Fraction(1, 16_000)
        return frame


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    """Write a film below the test's folder and return its path."""

    def write(name: str = "film.mp4", **planted: object) -> Path:
        return Film(**planted).write(tmp_path / name)

    return write


@pytest.fixture
def film_with_tracks(tmp_path: Path) -> Callable[..., Path]:
    """Write a film of several sounds, 16 kHz mono; at most one track is flagged as default."""

    def write(sounds: Sequence[NDArray[np.float32]], *, default: int | None = None) -> Path:
        path = tmp_path / "tracks.mkv"
        with av.open(str(path), "w", format="matroska") as out:
            video = out.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            tracks = [out.add_stream("aac", rate=16_000, layout="mono") for _ in sounds]
            for k, track in enumerate(tracks):
                track.disposition = av.stream.Disposition.default if k == default else av.stream.Disposition(0)
            for k in range(len(sounds[0]) // 640):
                frame = av.VideoFrame.from_ndarray(grey(25, (64, 48)), format="rgb24")
                frame.pts, frame.time_base = k, Fraction(1, 25)
                out.mux(video.encode(frame))
            for sound, track in zip(sounds, tracks, strict=True):
                frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16_000, 0
                out.mux(track.encode(frame))
            for stream in (video, *tracks):
                out.mux(stream.encode(None))
        return path

    return write


@pytest.fixture
def film_index() -> Callable[[NDArray[np.uint8]], int]:
    """Which frame of a film, modulo 60, a picture shows."""
    return index_of
