import cv2
import numpy as np
import pytest

from xsheet.curate.media.frames import Frame
from xsheet.curate.media.thumbnails import (
    MAX_BYTES,
    ThumbnailCollector,
    encode_thumbnail,
    read_thumbnail,
    thumbnail_path,
)
from xsheet.demo.puppet.draw import draw
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Pose
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us


def decoded(data):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


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


def test_a_candidate_gets_the_still_nearest_to_its_middle(tmp_path, candidate):
    reel = ThumbnailCollector()
    for frame in film(500):
        reel.add(frame)
    chosen = candidate(Span(8_000_000, 12_000_000))
    reel.save(chosen, tmp_path)
    assert abs(decoded(read_thumbnail(tmp_path, chosen.clip_id)).mean() - 20) < 2


def test_a_long_film_keeps_fewer_stills_but_all_along_it(tmp_path, candidate, monkeypatch):
    monkeypatch.setattr("xsheet.curate.media.thumbnails._MAX_THUMBNAILS", 8)
    reel = ThumbnailCollector()
    for frame in film(2500):
        reel.add(frame)
    chosen = candidate(Span(80_000_000, 84_000_000))
    reel.save(chosen, tmp_path)
    assert abs(decoded(read_thumbnail(tmp_path, chosen.clip_id)).mean() - 2 * 82) <= 2 * 8


def test_a_film_without_frames_leaves_no_still(tmp_path, candidate):
    ThumbnailCollector().save(candidate(Span(0, 4_000_000)), tmp_path)
    assert not list(tmp_path.rglob("*.jpg"))


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", b"\xff\xd8\xff" + b"0" * 100_000])
def test_a_file_that_is_no_small_jpeg_is_not_shown(tmp_path, content):
    path = thumbnail_path(tmp_path, "clip_ab12")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert read_thumbnail(tmp_path, "clip_ab12") is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b", ""])
def test_an_id_that_leads_elsewhere_is_not_followed(tmp_path, name):
    assert read_thumbnail(tmp_path, name) is None


@pytest.fixture
def candidate(plausible):
    source = SourceVideo(source_id="src_1", path="a.mp4", status="ok")
    return lambda span: plausible(source, span, np.random.default_rng(0))
