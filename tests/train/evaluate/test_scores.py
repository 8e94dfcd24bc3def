"""Scores of phases and mouths, on phases made by hand."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, KinematicPhase, Phase, sorted_phases
from xsheet.train.evaluate.scores import (
    changed_phases,
    position_baseline,
    replaced_action,
    score_mouth,
    score_phases,
    swapped,
    unrequested_actions,
)

EVERY_TRACK = get_args(vocab.Track)


def phase(start_s, end_s, action="nod", *, side="none", track="head", name="p"):
    return Phase(
        phase_id=f"{name}{start_s}", track=track, start_us=round(start_s * 1e6), end_us=round(end_s * 1e6),
        action=action, text=f"does {action}", laterality=side, kind="action", origin="truth",
    )  # fmt: skip


def sheet(*phases):
    base = Base(
        text="A person speaks to the camera.", subject="a person", framing="face", scene="a room", camera="static",
        speaking="speaking",
    )  # fmt: skip
    return Annotation(
        annotation_id="a", vocab_version="1", clip_id="c", layer="gold", run_id="r", status="ok",
        duration_us=4_000_000, base=base, phases=sorted_phases(phases),
    )  # fmt: skip


def test_the_action_in_its_time_is_right():
    (score,) = score_phases([phase(1, 2)], [phase(1.1, 2)])
    assert score.is_class_correct and score.hit
    assert score.tiou == pytest.approx(0.9)
    assert score.start_error_s == pytest.approx(0.1)
    assert score.end_error_s == 0
    assert score.is_on_time


def test_an_action_that_starts_late_is_right_but_not_on_time():
    (score,) = score_phases([phase(1, 3)], [phase(1.28, 3)])
    assert score.is_class_correct and not score.is_on_time


def test_an_action_outside_the_requests_of_its_track_is_unrequested():
    smile, early, late = phase(1, 2, "smile", track="face"), phase(0, 0.9), phase(1.9, 3)
    rest = phase(3, 4, "rest", track="whole_body")
    assert unrequested_actions([phase(1, 2)], [smile, early, late, rest]) == [smile, early]


def test_another_action_in_that_time_is_named():
    (score,) = score_phases([phase(1, 2)], [phase(1, 2, "shake_head")])
    assert score.detected_action == "shake_head" and not score.is_class_correct and not score.hit
    assert score.start_error_s is None


def test_the_other_side_is_wrong():
    (score,) = score_phases([phase(1, 2, "tilt_head", side="left")], [phase(1, 2, "tilt_head", side="right")])
    assert not score.is_class_correct


def test_the_action_at_another_time_or_on_another_part_does_not_count():
    scores = score_phases([phase(0, 1)], [phase(2, 3), phase(0, 1, "smile", track="face")])
    assert [s.detected_action for s in scores] == [None]


def test_an_action_that_appears_beside_a_better_fitting_one_is_a_hit_but_not_right():
    found = [phase(1, 1.5), phase(1.4, 3, "shake_head")]
    (score,) = score_phases([phase(1, 3)], found)
    assert score.hit and not score.is_class_correct


def test_habit_is_the_same_action_in_the_next_video_that_was_asked_for_it():
    asked = [[phase(0, 2)], [phase(0, 2, "smile", track="face")], [phase(1, 3)], [phase(0.5, 2.5)]]
    found = [[phase(0, 2)], [], [phase(1, 3)], []]
    first, alone, third, last = position_baseline(asked, found)
    assert [(s.hit, s.start_error_s) for s in first] == [(True, 1)]  # in the third's video, where it is wont to be then
    assert alone == ()  # nobody else was asked to smile
    assert [s.hit for s in third] == [False]  # the fourth did nothing
    assert [s.start_error_s for s in last] == [0.5]  # cyclically, in the first's


def test_rests_are_not_asked_for():
    assert not score_phases([phase(0, 1, "rest", track="whole_body")], [])


def test_swapped_actions_take_each_others_times():
    original = sheet(phase(0, 1), phase(1, 2), phase(2, 3, "tilt_head", side="left"))
    after = swapped(original, EVERY_TRACK)
    assert [p.action for p in after.phases] == ["tilt_head", "nod", "nod"]
    assert [p.start_us for p in after.phases] == [p.start_us for p in original.phases]
    assert [p.action for p in changed_phases(original, after)] == ["tilt_head", "nod"]


def test_a_sheet_of_one_action_cannot_be_exchanged():
    assert swapped(sheet(phase(0, 1), phase(1, 2)), EVERY_TRACK) is None


def test_swapped_actions_keep_their_lengths_and_cover_the_same_time():
    nod, turn = phase(0.2, 0.6), phase(1.0, 2.5, "turn_head", side="left")
    parts = (KinematicPhase(phase="stroke", start_us=200_000, end_us=600_000),)
    first, second = swapped(sheet(replace(nod, kinematics=parts), turn), EVERY_TRACK).phases
    assert (first.action, first.start_us, first.end_us) == ("turn_head", 200_000, 1_700_000)
    assert (second.action, second.start_us, second.end_us) == ("nod", 2_100_000, 2_500_000)
    assert [(part.start_us, part.end_us) for part in second.kinematics] == [(2_100_000, 2_500_000)]


def test_actions_that_would_stay_where_they_were_are_not_swapped():
    nod, smile = phase(1, 2), phase(1.2, 2.4, "smile", track="face")
    assert swapped(sheet(nod, smile), EVERY_TRACK) is None


def test_a_pair_that_would_collide_on_a_track_is_passed_over():
    nod, look = phase(0.2, 0.6), phase(1.6, 2.6, "look_away", side="left", track="gaze")
    tilt = phase(2.0, 2.6, "tilt_head", side="left")  # where the nod would come to be in the look's place
    after = swapped(sheet(nod, look, tilt), EVERY_TRACK)
    assert [(p.action, p.start_us) for p in after.phases] == [
        ("tilt_head", 200_000),
        ("look_away", 1_600_000),
        ("nod", 2_200_000),
    ]


def voice(frames=100):
    rng = np.random.default_rng(0)
    return np.convolve(rng.random(frames + 4), np.ones(5) / 5, "valid")


def test_a_mouth_that_follows_its_sound_correlates_and_is_in_time():
    mouth = voice()
    score = score_mouth(mouth, mouth, mouth, np.ones(100))
    assert score.pearson_r == pytest.approx(1)
    assert score.offset_frames == 0 and score.in_sync


def test_a_late_voice_is_out_of_time():
    mouth = voice(110)
    score = score_mouth(mouth[10:], mouth[10:], mouth[:-10], np.ones(100))
    assert score.offset_frames == 10 and score.in_sync is False


def test_a_still_mouth_has_no_correlation():
    score = score_mouth(np.zeros(100), voice(), voice(), np.ones(100))
    assert score.pearson_r is None and score.in_sync is None


def test_an_unmeasured_mouth_has_no_correlation():
    assert score_mouth(voice(), np.full(100, np.nan), voice(), np.ones(100)).pearson_r is None


def test_phases_keep_their_ids_when_exchanged():
    original = sheet(phase(0, 1), phase(2, 3, "shake_head"))
    assert {p.phase_id for p in swapped(original, EVERY_TRACK).phases} == {p.phase_id for p in original.phases}
    assert swapped(replace(original, phases=()), EVERY_TRACK) is None


def test_a_replaced_action_starts_at_its_time_and_lasts_as_long_as_the_other():
    original, other = sheet(phase(0, 1), phase(2, 3)), sheet(phase(0, 2), phase(2, 3.4, "shake_head"))
    (changed,) = changed_phases(original, replaced_action(original, other, EVERY_TRACK))
    assert (changed.action, changed.start_us, changed.end_us) == ("shake_head", 0, 1_400_000)


def test_an_action_longer_than_the_clip_replaces_none():
    short = replace(sheet(phase(0, 1)), duration_us=1_000_000)
    assert replaced_action(short, sheet(phase(0, 2, "shake_head")), EVERY_TRACK) is None


def test_nothing_is_recast_by_a_sheet_of_the_same_actions():
    assert replaced_action(sheet(phase(0, 1)), sheet(phase(2, 3)), EVERY_TRACK) is None
    assert replaced_action(sheet(), sheet(phase(2, 3)), EVERY_TRACK) is None
