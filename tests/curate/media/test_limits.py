"""Limits hold before the decode, from the header, and during it, when the header lies."""

import time
from fractions import Fraction

import numpy as np
import pytest

from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.reader import open_media, probe
from xsheet.schemas.errors import MediaError


def refused(path, root, **limits):
    with pytest.raises(MediaError) as error, open_media(path, root=root, limits=MediaLimits(**limits)) as media:
        list(media.frames())
    return error.value


@pytest.mark.slow
def test_a_decompression_bomb_of_8192x4320_is_refused_from_its_header(film, tmp_path):
    path = film(size=(8192, 4320), frames=1, picture=lambda k, size: np.zeros((size[1], size[0], 3), np.uint8))
    error = refused(path, tmp_path)
    assert (error.reason, error.got) == ("over_limit", "8192×4320")


def test_ten_hours_are_refused_from_the_header(film, tmp_path):
    path = film(frames=101, stamps=[360 * k for k in range(101)], tick=Fraction(1))
    error = refused(path, tmp_path)
    assert error.reason == "over_limit"
    assert error.expected == "at most 14400 s"


def test_ten_hours_are_refused_when_only_the_packets_say_so(film, tmp_path):
    path = film(container="matroska", frames=101, stamps=[360_000 * k for k in range(101)], tick=Fraction(1, 1000))
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88")  # the Duration element, a double
    data[at + 3 : at + 11] = np.array(1000.0, ">f8").tobytes()
    path.write_bytes(data)
    assert probe_header_us(path, tmp_path) == 1_000_000
    assert refused(path, tmp_path).reason == "over_limit"


def probe_header_us(path, root):
    limits = MediaLimits(max_duration_s=7 * 86_400, max_frame_gap_s=2000, max_repeats_per_frame=1e6)
    return probe(path, root=root, limits=limits).duration_header_us


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_gap_between_time_stamps_is_refused(container, film, tmp_path):
    stamps = [40 * k + 500_000 * (k > 5) for k in range(11)]
    path = film(container=container, frames=11, stamps=stamps, tick=Fraction(1, 1000))
    error = refused(path, tmp_path)
    assert error.reason == "over_limit" and error.expected == "at most 60 s from frame to frame"


def test_a_film_that_would_be_mostly_repeated_frames_is_refused(film, tmp_path):
    path = film(frames=11, stamps=[10_000 * k for k in range(11)], tick=Fraction(1, 1000))
    error = refused(path, tmp_path)
    assert error.expected.startswith("at most 100 frames at 25 fps") and float(error.got) > 200


def test_a_clock_of_zero_is_refused_at_once(film, tmp_path):
    path = film(frames=25)
    data = bytearray(path.read_bytes())
    at = data.index(b"mdhd") + 4
    data[at + 12 : at + 16] = bytes(4)  # time scale of the media, version 0
    path.write_bytes(data)
    began = time.monotonic()
    assert refused(path, tmp_path).reason in ("over_limit", "broken_header", "no_video")
    assert time.monotonic() - began < 20


def test_a_start_that_64_bits_of_microseconds_cannot_hold_is_refused(film, tmp_path):
    path = film(frames=25, fragmented=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"tfdt") + 4
    assert data[at] == 1  # version: 64 bits
    data[at + 4 : at + 12] = (2**62).to_bytes(8, "big")
    path.write_bytes(data)
    error = refused(path, tmp_path)
    assert (error.reason, error.expected) == ("over_limit", f"a start within {(1 << 53) // 10**6} s of zero")


def test_a_clock_of_nanoseconds_is_refused(film, tmp_path):
    path = film(container="matroska", frames=25)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x2a\xd7\xb1")  # the TimestampScale element
    size = data[at + 3] & 0x7F
    data[at + 4 : at + 4 + size] = (1).to_bytes(size, "big")
    path.write_bytes(data)
    error = refused(path, tmp_path)
    assert error.reason == "over_limit" and error.expected.endswith("frames per second")


def test_too_many_frames_per_second_are_refused(film, tmp_path):
    assert refused(film(rate=Fraction(300)), tmp_path).got == "300"


def test_too_many_streams_are_refused(film, tmp_path):
    path = film(sound=np.zeros(16_000, np.float32), more_audio=3)
    assert refused(path, tmp_path, max_streams=4).got == "5"


@pytest.mark.parametrize("container", ["mp4", "matroska"])  # Matroska declares no number of frames
def test_too_many_frames_are_refused(container, film, tmp_path):
    assert refused(film(container=container), tmp_path, max_frames=24).reason == "over_limit"


@pytest.mark.slow
def test_decoded_bytes_are_counted_against_the_bytes_of_the_file(film, tmp_path):
    path = film(size=(1280, 720), frames=60, picture=lambda k, size: np.zeros((size[1], size[0], 3), np.uint8))
    error = refused(path, tmp_path, max_decoded_ratio=1000)
    assert error.reason == "over_limit"
    assert "decoded bytes for each byte" in error.expected


def test_a_picture_larger_than_the_header_says_never_decodes(film, tmp_path):
    path = film(size=(640, 480), container="matroska")
    data = bytearray(path.read_bytes())
    for element, value in ((b"\xb0\x82", 64), (b"\xba\x82", 48)):  # PixelWidth and PixelHeight, two bytes each
        at = data.index(element)
        data[at + 2 : at + 4] = value.to_bytes(2, "big")
    path.write_bytes(data)
    assert refused(path, tmp_path, max_pixels=64 * 48).reason in ("over_limit", "decode_failed")


@pytest.mark.slow
def test_a_normal_video_passes_every_limit(film, tmp_path):
    path = film(size=(640, 480), sound=np.zeros(16_000, np.float32))
    with open_media(path, root=tmp_path, limits=MediaLimits(max_pixels=640 * 480, max_streams=2)) as media:
        assert len(list(media.frames())) == 25
