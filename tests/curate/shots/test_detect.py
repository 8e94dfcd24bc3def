"""Shots: on the puppet, whose cuts are planted, on real films with labels by hand, and on made-up scores."""

import json
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenedetect import AdaptiveDetector, ContentDetector
from scenedetect.stats_manager import StatsManager

from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import open_media
from xsheet.curate.shots.detect import ShotSettings, adaptive_ratio, find_shots
from xsheet.curate.shots.scores import CutScoreAnalyser, shrink
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import render_film
from xsheet.demo.puppet.draw import Puppet, add_camera_noise
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Pose
from xsheet.schemas.source import Timeline
from xsheet.schemas.time import CLIP_RATE, frame_start_us, frames_in

pytestmark = pytest.mark.slow  # processes, films or models: seconds

SETTINGS = ShotSettings()


def frame(index, rgb):
    start_us = frame_start_us(index, CLIP_RATE)
    return Frame(index, start_us, rgb, index, start_us)


def timeline(frames, **series):
    return Timeline(source_id="src_0", frames=frames, extractor="test", **series)


def timeline_of(rgbs):
    scores = CutScoreAnalyser()
    for index, rgb in enumerate(rgbs):
        scores.add(frame(index, rgb))
    series = scores.series()
    return timeline(len(series["cut_content"]), **series)


def decoded(path):
    with open_media(path, root=path.parent) as media:
        return timeline_of(f.rgb for f in media.frames(size=fit_size(*media.size, long_side=720)))


def spans(shots):
    return [frames_in(shot.span, CLIP_RATE) for shot in shots]


def cuts(shots):
    return [frames_in(shot.span, CLIP_RATE).start for shot in shots if shot.opens_with == "cut"]


# ---- the puppet


@pytest.fixture(scope="module")
def hard_cut():
    plan = plan_film(3, seed=11, kind="hard_cut")
    return plan, list(render_film(plan, height_px=128))


def test_a_hard_cut_is_found_to_the_frame(hard_cut):
    plan, rgbs = hard_cut
    assert spans(find_shots(timeline_of(rgbs))) == [take.frames for take in plan.shots]


def test_a_cut_stores_the_scores_of_all_detectors(hard_cut):
    _, rgbs = hard_cut
    first, second = find_shots(timeline_of(rgbs))
    assert first.cut_scores == ()
    assert [score.detector for score in second.cut_scores] == ["adaptive@3.5", "content@31", "jump@2.3"]
    assert second.cut_scores[0].score > SETTINGS.adaptive_threshold


def test_scores_and_cuts_are_pyscenedetects(hard_cut):
    _, rgbs = hard_cut
    stats = StatsManager()
    adaptive = AdaptiveDetector(
        adaptive_threshold=SETTINGS.adaptive_threshold,
        min_scene_len=1,
        window_width=SETTINGS.adaptive_window_frames,
        min_content_val=SETTINGS.adaptive_min_content,
    )
    content = ContentDetector(threshold=SETTINGS.content_threshold, min_scene_len=0)
    adaptive.stats_manager = stats
    theirs = {"adaptive": [], "content": []}
    for index, rgb in enumerate(rgbs):
        bgr = cv2.cvtColor(shrink(rgb, round((rgb.shape[0] * rgb.shape[1] / 57_600) ** 0.5)), cv2.COLOR_RGB2BGR)
        theirs["adaptive"] += adaptive.process_frame(index, bgr)
        theirs["content"] += content.process_frame(index, bgr)
    ours = np.array(timeline_of(rgbs).cut_content)
    ratio = adaptive_ratio(ours, radius=SETTINGS.adaptive_window_frames, min_content=SETTINGS.adaptive_min_content)
    inner = range(SETTINGS.adaptive_window_frames, len(rgbs) - SETTINGS.adaptive_window_frames)
    key = f"adaptive_ratio (w={SETTINGS.adaptive_window_frames})"
    assert ours[1:] == pytest.approx([stats.get_metrics(k, ["content_val"])[0] for k in range(1, len(rgbs))], rel=1e-5)
    assert ratio[inner] == pytest.approx([stats.get_metrics(k, [key])[0] for k in inner], rel=1e-5)
    assert np.flatnonzero(ours >= SETTINGS.content_threshold).tolist() == theirs["content"]
    above = (ratio >= SETTINGS.adaptive_threshold) & (ours >= SETTINGS.adaptive_min_content)
    assert [k for k in np.flatnonzero(above).tolist() if k in inner] == theirs["adaptive"]


def test_a_flash_is_no_shot_and_separates_two():
    plan = plan_film(2, seed=11, kind="flash")
    timeline = timeline_of(render_film(plan, height_px=128))
    takes = [take.frames for take in plan.shots]
    assert spans(find_shots(timeline)) == [take for take in takes if len(take) > 1]
    assert spans(find_shots(timeline, ShotSettings(min_shot_frames=1))) == takes


def test_no_frame_of_a_dissolve_lies_in_a_shot():
    plan = plan_film(1, seed=11, kind="dissolve")
    before, after = find_shots(timeline_of(render_film(plan, height_px=128)))
    assert after.opens_with == "gradual"
    end, start = frames_in(before.span, CLIP_RATE).stop, frames_in(after.span, CLIP_RATE).start
    assert plan.shots[0].frames.stop - 3 <= end <= plan.shots[0].frames.stop
    assert plan.shots[1].frames.start <= start <= plan.shots[1].frames.start + 3


def test_talk_and_gestures_hold_no_cut():
    plan = plan_film(0, seed=11, kind="talk")
    assert spans(find_shots(timeline_of(render_film(plan, height_px=128)))) == [range(plan.frames)]


@pytest.mark.parametrize("person", [1, 2, 3])
def test_a_sudden_head_displacement_is_a_jump_cut(person):
    rng, puppet = np.random.default_rng(person), Puppet(random_identity(person), height_px=128)
    talks = [Pose(mouth_open=0.4 + 0.4 * np.sin(k), yaw_deg=5 * np.sin(k / 9)) for k in range(50)]
    jumps = talks[:25] + [replace(pose, yaw_deg=-12.0, shift_x=0.04) for pose in talks[25:]]
    found = [
        cuts(find_shots(timeline_of(add_camera_noise(puppet.draw(p), rng) for p in poses))) for poses in (talks, jumps)
    ]
    assert found == [[], [25]]


@pytest.mark.nightly  # one film of each kind above, and in the whole path
@pytest.mark.parametrize("kind", ["hard_cut", "dissolve", "flash", "talk", "two_heads"])
def test_every_shot_is_found(kind):
    for plan in (plan_film(index, seed=5, kind=kind) for index in range(5)):
        found = find_shots(timeline_of(render_film(plan, height_px=96)))
        takes = [take for take in plan.shots if not take.flash]
        assert [s.opens_with for s in found] == [take.opens_with for take in takes]
        for frames, take in zip(spans(found), takes, strict=True):
            assert set(frames) <= set(take.frames)
            assert len(frames) >= len(take.frames) - 3


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 400), (400, 5)])
@pytest.mark.parametrize("frames", [1, 7, 20])
def test_pictures_of_any_size_and_number_have_scores(size, frames):
    rng = np.random.default_rng(0)
    found = timeline_of(rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(frames))
    assert {len(getattr(found, name)) for name in STILL} == {frames}


# ---- scores alone


def still(frames, **peaks):
    """Scores of a picture in which little moves, with `field={frame: score}` put in."""
    series = {name: np.full(frames, level) for name, level in STILL.items()}
    for name, at in peaks.items():
        for where, score in at.items():
            series[name][where] = score
    return timeline(frames, **{name: tuple(values.tolist()) for name, values in series.items()})


STILL = {"cut_content": 2.0, "cut_jump": 0.8, "cut_histogram": 0.005, "cut_blend": 0.1}


def test_a_jump_score_is_relative_to_its_neighbours():
    alone = still(60, cut_jump={30: 2.4})
    assert cuts(find_shots(alone)) == [30]
    assert cuts(find_shots(still(60, cut_jump={30: 2.4, 34: 1.2}))) == []
    assert cuts(find_shots(alone, replace_settings(jump_threshold=3.5))) == []


def test_strong_change_among_strong_changes_is_no_cut():
    walking_past = dict(zip(range(27, 34), (22.0, 27.0, 31.0, 38.0, 9.0, 7.0, 40.0), strict=True))
    assert 30 not in cuts(find_shots(still(60, cut_content=walking_past)))


def test_colours_that_change_over_a_cut_are_no_transition():
    far = dict.fromkeys(range(24, 36), 0.5)
    assert [s.opens_with for s in find_shots(still(60, cut_histogram=far, cut_content={30: 60.0}))] == ["start", "cut"]


def test_colours_that_change_without_a_cut_are_a_transition():
    shots = find_shots(still(60, cut_histogram=dict.fromkeys(range(22, 42), 0.5)))
    assert spans(shots) == [range(22), range(42, 60)]
    assert shots[1].opens_with == "gradual"


def test_even_change_of_most_of_the_picture_is_a_transition_up_to_its_faint_ends():
    blend = {24: 0.3, 25: 0.5, **dict.fromkeys(range(26, 38), 0.9), 38: 0.5, 39: 0.3}
    shots = find_shots(still(60, cut_blend=blend, cut_histogram=dict.fromkeys(range(20, 44), 0.3)))
    assert spans(shots) == [range(25), range(39, 60)]
    assert [score.detector for score in shots[1].cut_scores] == ["blend@0.66", "histogram@0.12"]
    assert shots[1].cut_scores[0].score == pytest.approx(0.9)


def test_without_scores_a_source_is_one_shot():
    assert spans(find_shots(timeline(40))) == [range(40)]
    assert find_shots(timeline(0)) == []


def replace_settings(**changed):
    return ShotSettings(**{**SETTINGS.model_dump(), **changed})


scores = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 50), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=80
)


@given(scores)
def test_shots_are_in_order_apart_and_inside_the_source(rows):
    series = dict(zip(STILL, (tuple(column) for column in zip(*rows, strict=True)), strict=True))
    found = spans(find_shots(timeline(len(rows), **series)))
    assert all(frames and frames.start >= 0 and frames.stop <= len(rows) for frames in found)
    assert all(before.stop <= after.start for before, after in pairwise(found))


@given(scores)
def test_frames_in_no_shot_belong_to_a_transition(rows):
    series = dict(zip(STILL, (tuple(column) for column in zip(*rows, strict=True)), strict=True))
    quiet = replace(timeline(len(rows), **series), cut_histogram=(), cut_blend=())
    any_length = replace_settings(min_shot_frames=1)
    assert sum(len(frames) for frames in spans(find_shots(quiet, any_length))) == len(rows)


# ---- real films


def labelled(shared, name):
    label = json.loads((shared / "data" / "labels" / f"shots-{name}.json").read_text())

    def shown(index):
        """The first frame at 25 fps that shows this one."""
        return int(np.ceil(index / label["fps"] * 25 - 1e-6))

    return label, shown, find_shots(decoded(shared / "data" / label["video"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlework-short", pytest.param("nasa-13013", marks=pytest.mark.nightly)])
def test_hand_checked_cuts_are_found_and_transitions_left_out(shared, name):
    label, shown, shots = labelled(shared, name)
    found, true = cuts(shots), [shown(index) for index in label["cuts"]]
    hits = sum(any(abs(f - t) <= 1 for f in found) for t in true)
    assert 2 * hits / (len(found) + len(true)) >= 0.95
    for gradual in label["gradual"]:
        inside = range(shown(gradual["from"]) + 3, shown(gradual["to"]) - 3)
        assert all(s.stop <= inside.start or s.start >= inside.stop for s in spans(shots))
    for trap in label.get("not_cuts", ()):
        start, stop = (shown(index) for index in trap["frames"])
        assert any(s.start <= start and stop <= s.stop for s in spans(shots)), trap["why"]


@pytest.mark.nightly
def test_real_edits_are_found_as_shots(shared):
    def found(name):
        return find_shots(decoded(shared / "data" / name))

    assert cuts(found("derived/hard-cut-two-speakers.mp4")) == [100]
    before, after = found("derived/crossfade-two-speakers.mp4")
    assert after.opens_with == "gradual"
    assert abs(frames_in(before.span, CLIP_RATE).stop - 75) <= 3
    assert abs(frames_in(after.span, CLIP_RATE).start - 100) <= 3
    assert cuts(found("derived/jump-cut-same-person.mp4")) == [pytest.approx(50, abs=1)]
    assert cuts(found("videos/latentsync-demo3-man-gestures.mp4")) == [226]  # nobody labelled it; it is there


@pytest.mark.nightly
def test_jump_cuts_and_overlays_split_a_film_and_its_subtitles_do_not(shared):
    found = set(cuts(find_shots(decoded(shared / "data" / "videos" / "two-women-office-subtitles.mp4"))))
    jumps, overlays, subtitles = {108, 275, 550, 788, 1000}, {704, 728, 1105, 1137, 1170}, {457, 580, 650, 657}
    assert jumps | overlays <= found
    assert not subtitles & found


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "grid-lbax4n.mpg",
        "asl-yes.mkv",
        pytest.param("hdtf-katie-hill-512.mp4", marks=pytest.mark.nightly),
        pytest.param("hdtf-ocasio-cortez-512.mp4", marks=pytest.mark.nightly),
        pytest.param("retalk-woman-blue-700.mp4", marks=pytest.mark.nightly),
        pytest.param("dance-fullbody-music-s13.mp4", marks=pytest.mark.nightly),
        pytest.param("still-woman-music-s18.mp4", marks=pytest.mark.nightly),
        pytest.param("no-person-great-wall.mp4", marks=pytest.mark.nightly),
    ],
)
def test_a_real_single_shot_is_one_shot(shared, name):
    assert len(find_shots(decoded(shared / "data" / "videos" / name))) == 1
