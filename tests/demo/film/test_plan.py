"""The ground truth of a film follows from its plan: spans, offsets, faults."""

from itertools import count

import numpy as np
import pytest

from xsheet.demo.film import truth
from xsheet.demo.film.plan import KIND_CYCLE, SAMPLES_PER_FRAME, film_kind, plan_film, with_arms_in_picture
from xsheet.demo.film.render import render_film
from xsheet.demo.puppet.draw import Puppet
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Measures, Signals

KINDS = sorted(set(KIND_CYCLE))
every_kind = pytest.mark.parametrize("kind", KINDS)


def rows(plan, record):
    return [row for row in truth.truth_rows(plan, "src_1") if isinstance(row, record)]


def offset_by_correlation(mouth, sound, within=20):
    """Frames by which the sound is late: the lag at which its energy follows the mouth best."""
    energy = np.sqrt((sound.reshape(-1, SAMPLES_PER_FRAME) ** 2).mean(axis=1))
    mouth, energy = mouth - mouth.mean(), energy - energy.mean()

    def agreement(lag):
        a, b = (mouth[: len(mouth) - lag], energy[lag:]) if lag >= 0 else (mouth[-lag:], energy[:lag])
        return float(np.corrcoef(a, b)[0, 1])

    return max(range(-within, within + 1), key=agreement)


def test_twenty_films_hold_every_kind():
    for seed in range(3):
        assert sorted(film_kind(i, seed=seed) for i in range(20)) == sorted(KIND_CYCLE)


def test_another_seed_and_another_twenty_have_another_order():
    orders = {tuple(film_kind(i + start, seed=seed) for i in range(20)) for seed in (0, 1) for start in (0, 20)}
    assert len(orders) == 4


@pytest.mark.slow
@every_kind
def test_equal_numbers_give_equal_plans(kind):
    first, second = plan_film(3, seed=5, kind=kind), plan_film(3, seed=5, kind=kind)
    assert np.array_equal(first.sound, second.sound)
    assert [*truth.truth_rows(first, "s")] == [*truth.truth_rows(second, "s")]


@every_kind
def test_pictures_and_sound_are_equally_long(kind):
    plan = plan_film(1, seed=0, kind=kind)
    assert len(plan.sound) == plan.frames * SAMPLES_PER_FRAME
    for shot in plan.shots:
        assert all(len(head.motion) == len(shot.frames) for head in shot.cast_members)


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("index", range(4))
def test_truth_is_valid_and_names_one_candidate_per_puppet_and_shot(kind, index):
    plan = plan_film(index, seed=2, kind=kind)
    heads = sum(len(shot.cast_members) for shot in plan.shots)
    found = [rows(plan, record) for record in (Measures, Signals, Annotation)]
    assert [len({row.clip_id for row in group}) for group in found] == [heads] * 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["talk", "offset", "far_offset", "two_heads"])
@pytest.mark.parametrize("index", range(12))
def test_planted_offset_is_found_by_correlating_mouth_and_energy(kind, index):
    plan = plan_film(index, seed=11, kind=kind)
    (shot,) = plan.shots
    head = shot.cast_members[shot.speaker]
    found = offset_by_correlation(head.motion.mouth_open, plan.sound)
    assert abs(found - plan.offset_frames) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "low", "high"), [("talk", 0, 0), ("offset", 1, 6), ("far_offset", 8, 15)])
def test_offsets_lie_where_their_kind_says(kind, low, high):
    planted = [plan_film(i, seed=0, kind=kind).offset_frames for i in range(10)]
    assert all(low <= abs(offset) <= high for offset in planted)
    if high:
        assert min(planted) < 0 < max(planted)


@pytest.mark.parametrize("kind", ["swapped", "silence", "music", "still", "voice_over"])
def test_where_lips_and_sound_have_nothing_in_common_no_offset_is_true(kind):
    assert all(row.sync is None for row in rows(plan_film(0, seed=0, kind=kind), Measures))


def test_silence_is_digital_and_music_is_as_loud_as_speech():
    assert not plan_film(0, seed=0, kind="silence").sound.any()
    level = {kind: float(np.sqrt((plan_film(0, seed=0, kind=kind).sound ** 2).mean())) for kind in ("music", "talk")}
    assert 0.5 < level["music"] / level["talk"] < 2


def test_a_still_has_one_pose_and_no_phases():
    (shot,) = plan_film(0, seed=0, kind="still").shots
    assert np.ptp(shot.cast_members[0].motion.mouth_open) == 0
    assert not shot.cast_members[0].actions


def test_a_hard_cut_joins_two_people_and_a_jump_cut_one():
    for kind, people in (("hard_cut", 2), ("jump_cut", 1), ("flash", 1), ("dissolve", 2)):
        plan = plan_film(4, seed=0, kind=kind)
        assert len({head.identity for shot in plan.shots for head in shot.cast_members}) == people, kind


def test_frames_of_a_dissolve_belong_to_no_shot():
    plan = plan_film(4, seed=0, kind="dissolve")
    first, second = truth.truth_shots(plan, "src_1")
    assert second.opens_with == "gradual"
    assert 12 * 40_000 <= second.start_us - first.end_us <= 25 * 40_000


def test_a_flash_is_one_frame_between_two_cuts():
    plan = plan_film(4, seed=0, kind="flash")
    _, flash, _ = truth.truth_shots(plan, "src_1")
    assert flash.end_us - flash.start_us == 40_000


def test_only_one_of_two_puppets_is_in_the_sound():
    measured = rows(plan_film(2, seed=0, kind="two_heads"), Measures)
    assert sorted(row.sync is not None for row in measured) == [False, True]


def test_voice_in_the_truth_moves_with_the_offset():
    plan = plan_film(0, seed=11, kind="offset")
    (signals,) = rows(plan, Signals)
    planned = np.flatnonzero(plan.shots[0].cast_members[0].speech.voiced)
    shifted = np.flatnonzero(np.array(signals.voice) > 0)
    assert set(shifted - plan.offset_frames) <= set(planned)


@pytest.mark.slow
def test_a_phase_says_what_happens_in_words():
    texts = {
        p.text for i in range(30) for row in rows(plan_film(i, seed=0, kind="talk"), Annotation) for p in row.phases
    }
    assert len(texts) > 30
    assert not [text for text in texts if "{" in text or "None" in text]


def test_a_person_who_moves_an_arm_is_seen_with_the_hands_that_are_raised():
    films = (plan_film(index, seed=0, kind="talk") for index in count())
    plan = next(film for film in map(with_arms_in_picture, films) if film.shots[0].framing == "upper_body")
    (shot,) = plan.shots
    (member,) = shot.cast_members
    puppet = Puppet(shot.identity(member), height_px=200)
    raised = next(one for one in member.actions if one.action == "raise_hand")
    wrist = puppet.joints(member.motion.at(raised.frames.stop - 1), raised.laterality)[2]
    assert (wrist > 0).all()
    assert (wrist < 200).all()


@pytest.mark.slow
def test_without_a_moving_arm_or_with_a_planted_fault_a_film_stays_as_it_is():
    films = [plan_film(index, seed=0) for index in range(20)]
    changed = [film for film in films if with_arms_in_picture(film) is not film]
    assert {film.kind for film in changed} == {"talk"}
    assert all(any("arm" in one.track for one in film.shots[0].cast_members[0].actions) for film in changed)


def test_a_person_from_further_away_has_a_face_of_as_many_pixels():
    near = plan_film(4, seed=0, kind="talk")
    far = with_arms_in_picture(near)
    (near_height, near_px), (far_height, far_px) = (
        (rows(film, Signals)[0].head_height[0], next(render_film(film, height_px=96)).shape[0]) for film in (near, far)
    )
    assert far_height * far_px == pytest.approx(near_height * near_px, rel=0.02)
    assert rows(far, Annotation)[0].base.framing == "upper_body"
