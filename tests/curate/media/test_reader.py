"""Frames come out upright, in square pixels, at a constant rate and in time with the sound."""

from fractions import Fraction

import numpy as np
import psutil
import pytest

from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import open_media, probe
from xsheet.schemas.errors import MediaError
from xsheet.schemas.time import CLIP_RATE, FrameRate


def click_at(samples: int, of: int = 16_000) -> np.ndarray:
    sound = np.zeros(of, np.float32)
    sound[samples] = 0.9
    return sound


@pytest.fixture
def read(tmp_path):
    """(facts, frames, sound, counts) of a film."""

    def read(path, **how):
        with open_media(path, root=tmp_path) as media:
            return media.source, list(media.frames(**how)), media.sound(), media.counts

    return read


@pytest.mark.parametrize(
    ("container", "codec", "audio"),
    [("mp4", "libx264", "aac"), ("matroska", "libx264", "aac"), ("webm", "libvpx-vp9", "libopus"),
     ("mpeg", "mpeg1video", "mp2"), ("mov", "mpeg4", "aac")],
)  # fmt: skip
def test_every_container_keeps_frames_and_sound_in_time(container, codec, audio, film, read, film_index):
    path = film(container=container, codec=codec, audio_codec=audio, sound=click_at(8000), frames=25)
    source, frames, sound, counts = read(path)
    assert [film_index(f.rgb) for f in frames] == list(range(25))
    assert [f.start_us for f in frames] == [40_000 * k for k in range(25)]
    assert (source.rate, source.is_vfr, source.frames_found) == (CLIP_RATE, False, 25)
    assert len(sound) == 25 * 640
    assert abs(int(np.argmax(np.abs(sound))) - 8000) <= 16
    assert (counts.decoded, counts.damaged, counts.repeated, counts.dropped) == (25, 0, 0, 0)


@pytest.mark.parametrize("sound", [None, click_at(8000)])
def test_a_fragmented_file_is_read_by_its_own_time_stamps(sound, film, read, film_index):
    """A writer that has no place left for the head start of AAC lets the first frame last as much longer: 64 ms."""
    _, frames, audio, _ = read(film(frames=25, codec="mpeg4", fragmented=True, sound=sound))
    shown = [film_index(f.rgb) for f in frames]
    assert shown == ([*range(25)] if sound is None else [0, 0, 0, *range(1, 25)])
    assert sound is None or shown[int(np.argmax(np.abs(audio))) // 640] == 12


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize("rate", [Fraction(12), Fraction(24000, 1001), Fraction(30), Fraction(60)])
def test_a_source_shown_at_its_own_rate_loses_and_repeats_nothing(container, rate, film, read, film_index):
    _, frames, _, counts = read(
        film(container=container, rate=rate, frames=50),
        rate=FrameRate(rate.numerator, rate.denominator),
    )
    assert [film_index(f.rgb) for f in frames] == list(range(50))
    assert (counts.repeated, counts.dropped) == (0, 0)


def test_a_variable_rate_shows_the_last_frame_that_has_started(film, read, film_index):
    source, frames, _, counts = read(film(stamps=[0, 1, 2, 5, 6, 9], frames=6))
    assert [film_index(f.rgb) for f in frames] == [0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 5, 5]
    assert [f.source_us for f in frames[3:6]] == [80_000, 80_000, 200_000]
    assert source.is_vfr
    assert counts.repeated == 6


def test_a_higher_rate_is_decimated(film, read, film_index):
    _, frames, _, counts = read(film(rate=Fraction(50), frames=50))
    assert [film_index(f.rgb) for f in frames] == list(range(0, 50, 2))
    assert counts.dropped == 25


def test_time_zero_is_the_first_video_frame_wherever_the_container_starts(film, read):
    stamps = [5000 + 40 * k for k in range(25)]
    path = film(
        container="matroska", stamps=stamps, tick=Fraction(1, 1000), sound=click_at(8000), sound_start_us=5_000_000
    )
    source, frames, sound, _ = read(path)
    assert source.start_us == 5_000_000
    assert (frames[0].start_us, frames[0].source_us, len(frames)) == (0, 0, 25)
    assert abs(int(np.argmax(np.abs(sound))) - 8000) <= 16


@pytest.mark.parametrize(("start_us", "click_sample"), [(200_000, 11_200), (-200_000, 4_800)])
def test_sound_that_starts_late_or_early_in_the_container_stays_so(start_us, click_sample, film, read):
    stamps = [1000 + 40 * k for k in range(25)]
    path = film(
        container="matroska", stamps=stamps, tick=Fraction(1, 1000), sound=click_at(8000),
        sound_start_us=1_000_000 + start_us,
    )  # fmt: skip
    source, _, sound, _ = read(path)
    assert abs(source.audio_start_us - start_us) <= 65_000  # AAC's priming comes before the first audible sample
    assert abs(int(np.argmax(np.abs(sound))) - click_sample) <= 16
    assert len(sound) == 25 * 640


def test_sound_is_padded_and_cut_to_the_picture(film, read):
    short = read(film("short.mp4", sound=np.full(4000, 0.5, np.float32)))[2]
    long = read(film("long.mp4", sound=np.full(64_000, 0.5, np.float32)))[2]
    assert len(short) == len(long) == 25 * 640
    assert not short[6000:].any()
    assert abs(long[-640:].mean() - 0.5) < 0.05


def test_no_audio_stream_gives_no_sound(film, read):
    source, _, sound, _ = read(film())
    assert (source.audio_streams, source.audio_codec, sound) == (0, None, None)


def test_a_file_without_video_has_no_video(tmp_path, film):
    with pytest.raises(MediaError, match=r"expected a video stream, got streams: audio") as error:
        probe(film(frames=0, sound=click_at(8000), only_sound=True), root=tmp_path)
    assert error.value.reason == "no_video"


def corner(index: int, size: tuple[int, int]) -> np.ndarray:
    """Black, with the top left corner white."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[: size[1] // 2, : size[0] // 2] = 255
    return picture


@pytest.mark.parametrize(
    ("rotation", "mirrored", "deg", "white"),
    [(0, False, 0, "top left"), (-90, False, 90, "top right"), (180, False, 180, "bottom right"),
     (90, False, 270, "bottom left"), (0, True, 0, "top right"), (-90, True, 90, "top left"),
     (180, True, 180, "bottom left"), (90, True, 270, "bottom right")],
)  # fmt: skip
def test_the_display_matrix_makes_the_picture_upright(rotation, mirrored, deg, white, film, read):
    source, frames, _, _ = read(film(rotation_deg=rotation, mirrored=mirrored, picture=corner, size=(64, 48)))
    assert (source.rotation_deg, source.is_mirrored) == (deg, mirrored)
    assert (source.width, source.height) == ((48, 64) if deg in (90, 270) else (64, 48))
    rgb = frames[0].rgb
    assert rgb.shape == (source.height, source.width, 3)
    corners = {"top left": rgb[5, 5], "top right": rgb[5, -5], "bottom left": rgb[-5, 5], "bottom right": rgb[-5, -5]}
    assert [name for name, pixel in corners.items() if pixel.mean() > 128] == [white]


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (85, 48)), (Fraction(3, 4), (64, 64))])
def test_pixels_become_square(aspect, size, film, read):
    source, frames, _, _ = read(film(aspect=aspect))
    assert (source.width, source.height) == size
    assert frames[0].rgb.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 150, 120)])
def test_colours_come_back(colour, film, read):
    _, frames, _, _ = read(film(picture=lambda k, size: np.full((size[1], size[0], 3), colour, np.uint8)))
    assert np.abs(frames[3].rgb.astype(int) - colour).max() <= 3


def test_frames_have_the_requested_size_and_are_read_only(film, tmp_path):
    with open_media(film(size=(320, 240)), root=tmp_path) as media:
        frame = next(iter(media.frames(size=fit_size(*media.size, long_side=100))))
    assert frame.rgb.shape == (75, 100, 3)
    with pytest.raises(ValueError, match="read-only"):
        frame.rgb[0, 0] = 0


@pytest.mark.parametrize(
    ("given", "long_side", "multiple", "fitted"),
    [((1920, 1080), 720, 1, (720, 405)), ((1920, 1080), 720, 2, (720, 404)), ((64, 48), 720, 1, (64, 48)),
     ((48, 64), 32, 1, (24, 32)), ((10_000, 1), 100, 2, (100, 2))],
)  # fmt: skip
def test_fit_size_keeps_the_shape_and_never_enlarges(given, long_side, multiple, fitted):
    assert fit_size(*given, long_side=long_side, multiple=multiple) == fitted


def test_one_loop_over_frames_is_one_decode(film, tmp_path):
    with open_media(film(sound=click_at(8000)), root=tmp_path) as media:
        for _ in media.frames():
            pass
        media.sound()
        assert media.video_passes == 1


def test_sound_can_be_read_during_a_frame_pass(film, tmp_path, film_index):
    with open_media(film(sound=click_at(8000)), root=tmp_path) as media:
        shown = [(film_index(f.rgb), int(np.argmax(np.abs(media.sound())))) for f in media.frames()]
    assert [index for index, _ in shown] == list(range(25))
    assert {peak for _, peak in shown} == {8000}


def test_leaving_early_closes_the_file(film, tmp_path):
    with open_media(film(), root=tmp_path) as media:
        frames = media.frames()
        next(iter(frames))
    assert list(frames) == []


def test_decoder_threads_change_nothing(film, tmp_path):
    path = film(size=(320, 240), frames=50)

    def read(threads):
        with open_media(path, root=tmp_path, threads=threads) as media:
            return np.stack([f.rgb for f in media.frames()])

    assert np.array_equal(read(1), read(4))


@pytest.mark.slow
def test_a_damaged_middle_is_skipped_and_counted(film, tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (240, 320, 3), np.uint8)
    path = film(size=(320, 240), frames=100, picture=lambda k, size: np.roll(noise, k, axis=1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20_000] = rng.bytes(20_000)
    path.write_bytes(data)
    with open_media(path, root=tmp_path) as media:
        assert len(list(media.frames())) == 100
        assert media.counts.damaged > 0
        assert media.counts.decoded > 50


def test_a_truncated_file_shows_what_is_left_beside_what_the_header_claims(film, tmp_path):
    rng = np.random.default_rng(0)
    path = film(container="matroska", frames=100, picture=lambda k, size: rng.integers(0, 255, (48, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    source = probe(path, root=tmp_path, count_frames=True)
    assert source.duration_header_us == 4_000_000
    assert 50 <= source.frames_found <= 65
    assert source.frames_found - 3 <= source.frames_decoded <= source.frames_found
    assert abs(source.duration_us - 40_000 * source.frames_found) <= 120_000


def test_a_header_without_frames_fails_to_decode(film, tmp_path):
    path = film()
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + 4
    data[at : data.index(b"moov") - 4] = bytes(data.index(b"moov") - 4 - at)
    path.write_bytes(data)
    with pytest.raises(MediaError) as error:
        probe(path, root=tmp_path)
    assert error.value.reason == "decode_failed"


def test_a_title_in_an_unknown_encoding_is_tolerated(film, tmp_path):
    path = film(title="x" * 10)
    path.write_bytes(path.read_bytes().replace(b"x" * 10, b"\xff\xfe" * 5))
    assert probe(path, root=tmp_path).status == "ok"


def test_probe_counts_frames_only_on_request(film, tmp_path):
    path = film()
    assert probe(path, root=tmp_path).frames_decoded is None
    assert probe(path, root=tmp_path, count_frames=True).frames_decoded == 25


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_film(film, tmp_path):
    path = film(frames=3000, size=(320, 240))
    here, seen = psutil.Process(), []
    with open_media(path, root=tmp_path) as media:
        for frame in media.frames():
            if frame.index % 500 == 400:
                seen.append(here.memory_info().rss)
    assert max(seen) - seen[0] < 16 << 20  # 70 frames of this size; 2600 were read in between
