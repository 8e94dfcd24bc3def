import cv2
import numpy as np
import pytest

from xsheet.audit.report.filmstrips import evenly_spaced_frames, render_filmstrips
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables


@pytest.fixture
def clips(small_set):
    return list(tables.iter_records(small_set, tables.CLIPS))


@pytest.mark.slow
def test_a_strip_shows_its_frames_in_order_and_a_broken_film_has_none(small_set, clips):
    (small_set / clips[1].media_path).write_bytes(b"no film")
    (small_set / clips[2].media_path).unlink()
    found = render_filmstrips(small_set, clips, execution=Execution())
    assert set(found) == {clips[0].clip_id}
    strip = found[clips[0].clip_id]
    picture = cv2.imdecode(np.frombuffer(strip.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    frames = evenly_spaced_frames(clips[0])
    levels = [tile.mean() for tile in np.array_split(picture, len(frames), axis=1)]
    assert levels == pytest.approx([16 + frame for frame in frames], abs=4)
    assert strip.frame_times_s == tuple(frame / 25 for frame in frames)


def test_nothing_is_started_for_no_clip(small_set):
    assert render_filmstrips(small_set, [], execution=Execution()) == {}


def test_frames_lie_evenly_and_inside_the_clip(clips):
    frames = evenly_spaced_frames(clips[0])
    steps = np.diff(frames)
    assert frames[0] > 0
    assert frames[-1] < clips[0].frames
    assert steps.max() - steps.min() <= 1
