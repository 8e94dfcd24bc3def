"""A span read by seeking holds the same frames as a whole pass."""

import numpy as np
import pytest

from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import ClipEncodingSettings, write_clip
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import render_film
from xsheet.schemas.time import CLIP_RATE, FrameRate, Span, frames_in

SPANS = [Span(0, 1_000_000), Span(40_000, 80_000), Span(1_234_567, 2_345_678), Span(3_000_000, 99_000_000)]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    plan = plan_film(0, seed=0, kind="talk")
    write_clip(
        path,
        frames=render_film(plan, height_px=64),
        sound=plan.sound,
        encoding=ClipEncodingSettings(keyframe_interval_frames=37),
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("span", SPANS, ids=str)
@pytest.mark.parametrize("rate", [CLIP_RATE, FrameRate(30_000, 1_001)], ids=str)
def test_a_span_holds_the_frames_of_a_whole_pass(film, span, rate):
    with open_media(film, root=film.parent) as media:
        whole = list(media.frames(rate=rate))
        part = list(media.frames(rate=rate, span=span))
        assert media.video_passes == (2 if span.start_us == 0 else 1)
    wanted = [frame for frame in whole if frame.index in frames_in(span, rate)]
    assert [f.index for f in part] == [f.index for f in wanted]
    assert [f.start_us for f in part] == [f.start_us for f in wanted]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(part, wanted, strict=True))


NAMES = (
    "grid-bbaf2n.mpg",
    "retalk-man-vfr-700.mp4",
    "asl-book.mkv",
    "googlework-short.mp4",
    "latentsync-demo1-woman-seated.mp4",
)


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_spans_of_real_clips_hold_the_frames_of_a_whole_pass(shared, name):
    span = Span(1_500_000, 1_900_000)
    root = shared / "data" / "videos"
    with open_media(root / name, root=root) as media:
        size = (64, 64)
        wanted = [f.rgb for f in media.frames(size=size) if f.index in frames_in(span, CLIP_RATE)]
        frames = [f.rgb for f in media.frames(size=size, span=span)]
    assert len(frames) == len(wanted) == 10
    assert all(np.array_equal(a, b) for a, b in zip(frames, wanted, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("span", SPANS[:3], ids=str)
def test_sound_of_a_span_is_that_stretch_of_the_whole(film, span):
    with open_media(film, root=film.parent) as media:
        whole, part = media.sound(), media.sound(span)
    frames = frames_in(span, CLIP_RATE)
    wanted = whole[frames.start * 640 : frames.stop * 640]
    assert part.shape == wanted.shape
    assert np.abs(part - wanted).max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[:2] + NAMES[3:])
def test_sound_of_a_span_of_a_real_clip_is_that_stretch_of_the_whole(shared, name):
    root = shared / "data" / "videos"
    span = Span(1_520_000, 2_520_000)
    with open_media(root / name, root=root) as media:
        whole, part = media.sound(), media.sound(span)
    wanted = whole[38 * 640 : 63 * 640]
    assert part.shape == wanted.shape
    # At 44.1 kHz a run-up that begins elsewhere falls between other samples of 16 kHz: up to half a sample, 31 µs.
    assert np.corrcoef(part, wanted)[0, 1] > 0.98
    lags = range(-3, 4)
    assert max(lags, key=lambda lag: np.corrcoef(np.roll(part, lag)[8:-8], wanted[8:-8])[0, 1]) == 0
