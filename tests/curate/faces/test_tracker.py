"""The face watcher against planted truth, and on real clips."""

import importlib.util
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.reader import open_media
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import render_film
from xsheet.demo.puppet.draw import Puppet, side_by_side
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion
from xsheet.schemas.errors import ConfigError


@pytest.fixture(scope="session")
def rod(root):
    """benchmarks/puppet.py: curves that sweep every quantity, and their pictures."""
    spec = importlib.util.spec_from_file_location("puppet_rod", root / "benchmarks" / "puppet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def watch(rgbs, *, models=None):
    with FaceTracker(FaceSettings(), models=models) as tracker:
        for index, rgb in enumerate(rgbs):
            tracker.add(Frame(index, 40_000 * index, rgb, index, 40_000 * index))
        return tracker.tracks("src_test")


def watch_file(path, *, models=None, frames=10_000):
    with open_media(path, root=path.parent) as media:
        scale = 720 / max(media.size)
        size = tuple(max(2, round(side * scale)) for side in media.size)
        return watch(
            (frame.rgb for frame, _ in zip(media.frames(size=size), range(frames), strict=False)), models=models
        )


def r(truth, measured):
    got = np.array([np.nan if v is None else v for v in measured])
    seen = np.isfinite(got)
    return np.corrcoef(truth[seen], got[seen])[0, 1]


def visible_frames(track):
    return sum(v is not None for v in track.x0)


def both_speak(plan):
    return all(head.speech is not None for head in plan.shots[0].cast_members)


def still(frames=12, **pose):
    """A puppet that holds one pose."""
    curves = {name: np.full(frames, value, np.float32) for name, value in pose.items()}
    motion, puppet = replace(Motion.rest(frames), **curves), Puppet(random_identity(77), height_px=360)
    return [puppet.draw(motion.at(k)) for k in range(frames)]


@pytest.mark.slow
def test_head_and_mouth_follow_the_planted_curves(rod):
    motion = rod.random_motion(9001, 75)
    (track,) = watch(rod.pictures(9001, motion, size=360))
    assert visible_frames(track) >= 0.99 * 75
    for name in ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open"):
        assert r(getattr(motion, name), getattr(track, name)) > 0.95, name


@pytest.mark.slow
def test_a_winking_left_eye_is_the_left_one():
    (track,) = watch(still(eye_left_open=0.0))
    assert np.median(track.eye_left_open) < 0.6 * np.median(track.eye_right_open)


@pytest.mark.slow
def test_a_repeated_picture_has_the_same_measures():
    drawn = still(2, yaw_deg=0.0)
    drawn[1] = drawn[1][:, 4:].copy()
    drawn[0] = drawn[0][:, :-4].copy()
    (track,) = watch([picture for picture in drawn for _ in range(5)])
    assert visible_frames(track) == 10
    assert [len(set(part)) for part in (track.x0[:5], track.x0[5:], track.yaw_deg[5:])] == [1, 1, 1]
    assert track.x0[0] != track.x0[5]


@pytest.mark.slow
def test_two_heads_are_two_tracks_that_never_change_places():
    plan = next(t for t in (plan_film(k, seed=7000, kind="two_heads") for k in range(20)) if both_speak(t))
    left, right = sorted(watch(islice(render_film(plan, height_px=256), 75)), key=lambda track: track.x0[0])
    assert visible_frames(left) == visible_frames(right) == 75
    for track, head in zip((left, right), plan.shots[0].cast_members, strict=True):
        assert r(head.motion.mouth_open[:75], track.mouth_open) > 0.9


@pytest.mark.slow
def test_a_hard_cut_to_another_person_ends_the_track():
    plan = plan_film(0, seed=99, kind="hard_cut")
    cut = plan.shots[1].frames.start
    around_cut = [rgb for k, rgb in enumerate(render_film(plan, height_px=256)) if abs(k - cut) <= 15]
    assert [(t.start_frame, t.frames) for t in watch(around_cut)] == [(0, 15), (15, 16)]


@pytest.mark.slow
def test_a_flash_ends_the_track():
    faces = still(20)
    tracks = watch([*faces[:10], np.full_like(faces[0], 250), *faces[:10]])
    assert [(t.start_frame, t.frames) for t in tracks] == [(0, 10), (11, 10)]


@pytest.mark.slow
def test_an_empty_wall_has_no_face():
    wall = Puppet(random_identity(5), height_px=256).background()
    assert watch([wall] * 10) == []


@pytest.mark.slow
def test_a_face_cut_by_the_edge_is_less_visible():
    whole = still()
    (inside,), (cut,) = watch(whole), watch([rgb[:, 170:] for rgb in whole])
    assert np.median(inside.visible) == 1
    assert np.median(cut.visible) < 0.9


@pytest.mark.slow
def test_blur_lowers_the_sharpness():
    import cv2

    sharp = still()
    (a,), (b,) = watch(sharp), watch([cv2.GaussianBlur(rgb, (0, 0), 4) for rgb in sharp])
    assert np.median(b.sharpness) < 0.3 * np.median(a.sharpness)


@pytest.mark.slow
def test_the_same_frames_give_the_same_track(rod):
    frames = list(rod.pictures(9002, rod.random_motion(9002, 20), size=256))
    assert watch(frames) == watch(frames)


def test_the_bundle_of_the_tasks_api_is_refused_when_it_is_another_file(tmp_path):
    (tmp_path / "face-landmarker.task").write_bytes(b"something else")
    with pytest.raises(ConfigError, match="64184e22"):
        FaceTracker(FaceSettings(), models=tmp_path).open()


@pytest.mark.slow
def test_the_tasks_back_end_agrees_with_the_bundled_one_and_adds_blendshapes(rod, shared):
    motion = rod.random_motion(9003, 40)
    frames = list(rod.pictures(9003, motion, size=256))
    (bundled,), (tasks,) = watch(frames), watch(frames, models=shared / "models")
    assert len(tasks.blendshapes) == 52
    assert {len(series) for series in tasks.blendshapes} == {40}
    assert r(np.array(bundled.yaw_deg), tasks.yaw_deg) > 0.98
    assert r(motion.mouth_open, tasks.mouth_open) > 0.9


@pytest.mark.nightly
@pytest.mark.parametrize(
    "name", ["asl-book.mkv", "asl-help.mkv", "latentsync-demo1-woman-seated.mp4", "latentsync-demo3-man-gestures.mp4"]
)
def test_small_faces_are_found_in_every_frame(shared, name):
    (track,) = watch_file(shared / "data/videos" / name, frames=100)
    assert visible_frames(track) >= 0.99 * track.frames
    assert track.start_frame == 0
    height = np.median(track.y1) - np.median(track.y0)
    assert height < 0.19


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["side-by-side-left-speaks.mp4", "side-by-side-turns.mp4"])
def test_real_people_side_by_side_are_two_tracks(shared, name):
    tracks = watch_file(shared / "data/derived" / name)
    assert [(t.start_frame, t.frames) for t in tracks] == [(0, 100), (0, 100)]
    assert sorted(t.x0[50] > 0.9 for t in tracks) == [False, True]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["no-person-great-wall.mp4", "nasa-13013.mp4", "googlework-tiny.mp4"])
def test_films_without_a_visible_face_have_no_track(shared, name):
    assert watch_file(shared / "data/videos" / name) == []


@pytest.mark.nightly
def test_a_real_cut_between_two_speakers_separates_their_tracks(shared):
    tracks = watch_file(shared / "data/derived/hard-cut-two-speakers.mp4")
    assert [(t.start_frame, t.frames) for t in tracks] == [(0, 100), (100, 100)]


@pytest.mark.slow
def test_heads_side_by_side_keep_their_own_left():
    looks_left, looks_right = still(yaw_deg=20), still(yaw_deg=-20)
    first, second = sorted(
        watch([side_by_side(a, b) for a, b in zip(looks_left, looks_right, strict=True)]), key=lambda t: t.x0[0]
    )
    assert np.median(first.yaw_deg) > 10
    assert np.median(second.yaw_deg) < -10


@pytest.mark.slow
def test_a_turned_picture_is_upside_down_and_an_upright_one_is_not():
    head = still(1)[0]
    for rgb, expected in ((head, 0.0), (np.ascontiguousarray(head[::-1, ::-1]), 1.0), (np.zeros_like(head), 0.0)):
        with FaceTracker(FaceSettings()) as tracker:
            for index in range(2):
                tracker.add(Frame(index, 40_000 * index, rgb, index, 40_000 * index))
            assert tracker.series() == {"upside_down": (expected, expected)}


@pytest.mark.parametrize(("least", "is_found"), [(0.3, True), (0.999, False)])
def test_a_face_less_certain_than_the_setting_is_not_found(least, is_found):
    (rgb,) = still(1)
    with FaceTracker(FaceSettings(min_detection_confidence=least)) as tracker:
        tracker.add(Frame(0, 0, rgb, 0, 0))
        assert bool(tracker.faces) == is_found
