"""Every real and every deliberately broken clip: the right fact or a precise error. Truth: ../shared/data/README.md."""

from pathlib import Path

import numpy as np
import pytest

from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import open_media, probe
from xsheet.schemas.errors import MediaError
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import CLIP_RATE

UNUSABLE = {
    "truncated-no-moov.mp4": "broken_header",
    "zero-byte.mp4": "empty",
    "audio-only.mp4": "no_video",
    "png-named-mp4.mp4": "not_media",
    "lfs-pointer-named-mp4.mp4": "not_media",
    "html-named-mp4.mp4": "not_media",
}
FACTS = {
    "truncated-faststart.mp4": {"frames_header": 199, "frames_found": 114, "duration_header_us": 6_633_333},
    "no-audio-track.mp4": {"audio_streams": 0, "audio_codec": None},
    "silent-audio-track.mp4": {"audio_streams": 1, "frames_found": 199},
    "mp4-named-avi.avi": {"container": "mov", "frames_found": 90},
    "corrupt-middle.mp4": {"frames_header": 199, "frames_found": 199},
    "vfr-dropped-frames.mp4": {"is_vfr": True, "frames_found": 153, "duration_us": 6_600_000},
    "rotated-metadata.mp4": {"rotation_deg": 270, "width": 1080, "height": 1920},
    "upside-down.mp4": {"rotation_deg": 0},
    "hard-cut-two-speakers.mp4": {"frames_found": 200, "duration_us": 8_000_000},
    "tiny-96px.mp4": {"width": 96, "height": 96},
    "60fps.mp4": {"fps_num": 60, "fps_den": 1},
    "12fps.mp4": {"fps_num": 12, "fps_den": 1},
    "audio-8khz-51.mp4": {"audio_rate_hz": 8000, "audio_channels": 6},
    "vp9-opus.webm": {"container": "matroska", "video_codec": "vp9", "audio_codec": "opus"},
    "two-audio-tracks.mkv": {"audio_streams": 2},
    "start-offset-5s.mkv": {"start_us": 5_000_000, "duration_us": 4_000_000},
    "five-frames.mp4": {"frames_found": 5, "duration_us": 166_666},
    "name with spaces & ünï 'quote'.mp4": {"frames_found": 5},
}
VIDEO_FACTS = {
    "grid-bbaf2n.mpg": {"container": "mpeg", "fps_num": 25, "duration_us": 3_000_000},
    "retalk-man-vfr-700.mp4": {"is_vfr": True},
    "googlework-short.mp4": {"start_us": 834_000, "audio_start_us": -834_000},
    "latentsync-demo1-woman-seated.mp4": {"width": 1080, "height": 1920, "video_codec": "hevc"},
    "nasa-13013.mp4": {"width": 320, "height": 180, "audio_streams": 2},
    "asl-again.mkv": {"audio_streams": 0, "fps_num": 30},
    "no-person-great-wall.mp4": {"fps_num": 24},
}
# Milliseconds the voice of a file is later than the clip it was made from.
VOICE_MS = {
    "container-offset-200ms.mp4": 200,
    "audio-late-200ms.mp4": 200,
    "audio-early-320ms.mp4": -320,
    "audio-late-1s.mp4": 1000,
    "start-offset-5s.mkv": 0,
    "two-audio-tracks.mkv": 0,
    "vp9-opus.webm": 0,
    "vfr-dropped-frames.mp4": 0,
    "audio-8khz-51.mp4": 0,
    "60fps.mp4": 0,
    "corrupt-middle.mp4": 0,
    "clipped-audio.mp4": 0,
}
BASE = "retalk-woman-blue-700.mp4"


def facts_of(source: SourceVideo, like: dict[str, object]) -> dict[str, object]:
    return {name: getattr(source, name) for name in like}


def read(path: Path, root: Path) -> tuple[list[np.ndarray], np.ndarray | None]:
    with open_media(path, root=root) as media:
        size = fit_size(*media.size, long_side=90)
        return [frame.rgb for frame in media.frames(size=size)], media.sound()


def hear(path: Path, root: Path) -> np.ndarray | None:
    with open_media(path, root=root) as media:
        return media.sound()


def lag_ms(sound: np.ndarray, base: np.ndarray) -> float:
    n = 1 << (len(sound) + len(base)).bit_length()
    product = np.fft.rfft(sound, n) * np.conj(np.fft.rfft(base, n))
    lag = int(np.argmax(np.fft.irfft(product)))
    return (lag - n if lag > n // 2 else lag) / 16


@pytest.mark.parametrize(("name", "reason"), UNUSABLE.items())
def test_an_unusable_clip_has_a_precise_reason(name, reason, shared):
    with pytest.raises(MediaError) as error:
        probe(shared / "data" / "derived" / name, root=shared)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("folder", "name", "facts"),
    [("derived", *entry) for entry in FACTS.items()] + [("videos", *entry) for entry in VIDEO_FACTS.items()],
)
def test_a_clip_has_the_facts_of_its_description(folder, name, facts, shared):
    assert facts_of(probe(shared / "data" / folder / name, root=shared), facts) == facts


@pytest.mark.nightly
@pytest.mark.parametrize("folder", ["derived", "videos"])
def test_every_usable_clip_reads_to_its_end_with_sound_as_long_as_the_picture(folder, shared):
    wrong = {}
    for path in sorted((shared / "data" / folder).iterdir()):
        if path.name in UNUSABLE:
            continue
        with open_media(path, root=shared) as media:
            frames, sound = sum(1 for _ in media.frames(size=(32, 32))), media.sound()
            length_us = media.source.duration_us
        if abs(frames * 40_000 - length_us) > 40_000 or (sound is not None and len(sound) != frames * 640):
            wrong[path.name] = (frames, length_us, None if sound is None else len(sound))
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["truncated-faststart.mp4", "corrupt-middle.mp4"])
def test_undecodable_frames_reduce_frames_decoded(name, shared):
    source = probe(shared / "data" / "derived" / name, root=shared, count_frames=True)
    assert source.frames_found - 20 <= source.frames_decoded < source.frames_found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "late_ms"), VOICE_MS.items())
def test_the_voice_keeps_its_offset(name, late_ms, shared):
    base, sound = (hear(shared / "data" / folder, shared) for folder in (f"videos/{BASE}", f"derived/{name}"))
    assert abs(lag_ms(sound, base) - late_ms) < 20  # half a frame


@pytest.mark.slow
def test_a_variable_rate_copy_shows_the_same_picture_at_the_same_time(shared):
    base = read(shared / "data" / "videos" / BASE, shared)[0]
    thinned = read(shared / "data" / "derived" / "vfr-dropped-frames.mp4", shared)[0]

    def distance(shift: int) -> float:
        pairs = zip(base[10 + shift :], thinned[10:150], strict=False)
        return float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in pairs]))

    assert min(range(-4, 5), key=distance) in (-1, 0)  # a missing frame is covered by the one before it


@pytest.mark.nightly
def test_a_sideways_clip_comes_out_upright(shared):
    frames, _ = read(shared / "data" / "derived" / "rotated-metadata.mp4", shared)
    upright, _ = read(shared / "data" / "videos" / "latentsync-demo3-man-gestures.mp4", shared)
    assert frames[0].shape == upright[0].shape

    def distance(picture: np.ndarray) -> float:
        # The clip is cut from the longer one; its first picture is compared with all of the first ten seconds.
        return min(float(np.abs(picture.astype(int) - other).mean()) for other in upright[:250])

    turned = [np.rot90(frames[0], 2), frames[0][::-1], frames[0][:, ::-1]]
    assert distance(frames[0]) < min(distance(np.ascontiguousarray(t)) for t in turned) / 2


def test_rate_is_constant_for_every_consumer(shared):
    with open_media(shared / "data" / "videos" / "retalk-man-vfr-700.mp4", root=shared) as media:
        frames = [(f.index, f.start_us) for f in media.frames(rate=CLIP_RATE, size=(64, 64))]
    assert frames == [(k, 40_000 * k) for k in range(len(frames))]
