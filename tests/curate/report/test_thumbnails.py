import zipfile

import cv2
import numpy as np
import pytest

from xsheet.curate.media.frames import Frame
from xsheet.curate.media.thumbnails import (
    MAX_BYTES,
    ThumbnailCollector,
    encode_thumbnail,
    read_thumbnail,
    thumbnails_path,
    write_thumbnails,
)
from xsheet.demo.puppet.draw import draw
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Pose
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us

SPAN = Span(0, 4_000_000)


def decoded(data):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.slow
def test_a_still_looks_like_the_picture():
    picture = draw(random_identity(3), Pose(), height_px=320)
    small = decoded(encode_thumbnail(picture))
    assert small.shape == (160, 160, 3)
    assert np.abs(small.astype(int) - cv2.resize(picture, (160, 160), interpolation=cv2.INTER_AREA)).mean() < 6


@pytest.mark.parametrize("size", [(720, 1280), (1920, 1080), (9, 4000), (4000, 9), (1, 1)])
def test_a_still_of_noise_stays_small(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    data = encode_thumbnail(noise)
    assert len(data) <= MAX_BYTES
    assert decoded(data).shape[0] <= 160


def test_a_small_picture_is_not_blown_up():
    assert decoded(encode_thumbnail(np.zeros((40, 60, 3), np.uint8))).shape == (40, 60, 3)


def film(frames):
    """Pictures whose brightness tells their second."""
    for k in range(frames):
        rgb = np.full((64, 64, 3), 2 * (k // 25), np.uint8)
        yield Frame(k, frame_start_us(k, CLIP_RATE), rgb, k, frame_start_us(k, CLIP_RATE))


def test_a_candidate_gets_the_still_nearest_to_its_middle(tmp_path):
    reel = ThumbnailCollector()
    for frame in film(500):
        reel.add(frame)
    reel.save(tmp_path, "src_ab12")
    still = read_thumbnail(tmp_path, "src_ab12", Span(8_000_000, 12_000_000))
    assert abs(decoded(still).mean() - 20) < 2


def test_a_long_film_keeps_fewer_stills_but_all_along_it(tmp_path, monkeypatch):
    monkeypatch.setattr("xsheet.curate.media.thumbnails._MAX_THUMBNAILS", 8)
    reel = ThumbnailCollector()
    for frame in film(2500):
        reel.add(frame)
    reel.save(tmp_path, "src_ab12")
    still = read_thumbnail(tmp_path, "src_ab12", Span(80_000_000, 84_000_000))
    assert abs(decoded(still).mean() - 2 * 82) <= 2 * 8


def test_a_film_without_frames_leaves_no_still(tmp_path):
    ThumbnailCollector().save(tmp_path, "src_ab12")
    assert not list(tmp_path.rglob("*.zip"))


def test_the_same_stills_are_the_same_bytes_at_any_time(tmp_path):
    for name in ("src_a", "src_b"):
        write_thumbnails(tmp_path, name, {25: b"x", 0: b"y"})
    a, b = (thumbnails_path(tmp_path, name).read_bytes() for name in ("src_a", "src_b"))
    assert a == b
    assert b"1980" not in a


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", b"\xff\xd8\xff" + b"0" * 100_000])
def test_an_entry_that_is_no_small_jpeg_is_not_shown(tmp_path, content):
    write_thumbnails(tmp_path, "src_ab12", {0: content})
    assert read_thumbnail(tmp_path, "src_ab12", SPAN) is None


def test_a_compressed_entry_is_not_unpacked(tmp_path):
    path = thumbnails_path(tmp_path, "src_ab12")
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("0.jpg", b"\xff\xd8\xff" + bytes(5_000))
    assert read_thumbnail(tmp_path, "src_ab12", SPAN) is None


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no zip at all"])
def test_a_file_that_is_no_archive_of_stills_shows_nothing(tmp_path, content):
    path = thumbnails_path(tmp_path, "src_ab12")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert read_thumbnail(tmp_path, "src_ab12", SPAN) is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b", ""])
def test_an_id_that_leads_elsewhere_is_not_followed(tmp_path, name):
    assert read_thumbnail(tmp_path, name, SPAN) is None
