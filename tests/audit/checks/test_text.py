"""Wording: what is found, and what is let through."""

from dataclasses import replace

import pytest

from xsheet.annotate.text.wording import describe_action
from xsheet.audit.checks.base import AnnotationView
from xsheet.audit.checks.layer import amplitude_correlation, compression_ratio, distinct_2, top_text_share
from xsheet.audit.checks.lexicon import find_actions
from xsheet.audit.checks.text import TEXT_CHECKS
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.annotation import FacialEmotion
from xsheet.schemas.run import Run

RUN = Run(run_id="run_a", kind="truth", tool_version="0")


def failed(annotation):
    view = AnnotationView(annotation=annotation, run=RUN)
    return {check.id for check in TEXT_CHECKS for o in check.evaluate(view, AuditSettings()) if o.passed is False}


@pytest.fixture
def saying(annotation):
    """One phase with these words."""

    def make(text, *, action="nod", base=None, **fields):
        one = annotation(("head", action, 0.4, 1.2))
        new_base = one.base if base is None else replace(one.base, text=base)
        return replace(one, base=new_base, phases=tuple(replace(p, text=text, **fields) for p in one.phases))

    return make


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("the video shows a nod", "F1"),
        ("appears to nod", "F2"),
        ("nods and says hello", "F3"),
        ("nods “yes”", "F3"),
        ("an elderly man nods", "F4"),
        ("a young woman nods", "F4"),
        ("nods happily", "F5"),
        ("raises both brows", "F9"),
    ],
)
def test_words_that_do_not_belong_are_found(saying, text, check):
    assert check in failed(saying(text))


@pytest.mark.parametrize("text", ["nods twice, slightly, quickly", "nods with a fixed gaze", "does something"])
def test_plain_words_are_let_through(saying, text):
    assert not failed(saying(text))


def test_moves_the_head_is_true_of_every_head_action_and_no_head_action_of_it(saying):
    assert "F9" not in failed(saying("moves the head", action="nod"))
    assert "F9" in failed(saying("nods", action="move_head"))


def test_a_base_that_names_an_action_is_found(saying):
    assert "F8" in failed(saying("nods", base="A person in a blue shirt nods in front of a wall."))
    assert "F8" not in failed(saying("nods", base="A person smiling in front of a plain wall."))


def test_a_lasting_state_leaks_where_a_phase_times_it(saying):
    assert "F8" in failed(saying("smiles", action="smile", base="A person smiling in front of a plain wall."))


def test_an_emotion_with_its_facial_action_is_let_through(saying):
    seen = FacialEmotion(label="happy", intensity=2, evidence="corners of the mouth go up")
    assert "F5" not in failed(saying("smiles happily", action="smile", emotion=seen))


def test_a_phase_cut_in_two_is_found_and_two_with_a_gap_are_not(annotation):
    halves, apart = (annotation(("head", "nod", 0.4, 1.2), ("head", "nod", start, 2.0)) for start in (1.2, 1.6))
    assert "F7" in failed(halves)
    assert "F7" not in failed(apart)


@pytest.mark.parametrize("fields", [{"repetitions": 3}, {"amplitude": 3}, {"speed": 1}])
def test_words_that_tell_of_another_manner_are_found(saying, fields):
    assert "F10" in failed(saying("nods twice, slightly, quickly", **fields))


@pytest.mark.parametrize(
    "action", ["nod", "shake_head", "turn_head", "look_away", "blink_long", "smile", "wave", "lean_in", "shrug", "rest"]
)
def test_the_words_of_the_motion_annotator_name_their_class(action):
    assert action in find_actions(describe_action(action, "left"))


def test_repetition_shows_in_the_numbers_of_a_layer():
    same, different = ["nods twice"] * 40, [f"nods {k} times towards thing {k * 7}" for k in range(40)]
    assert distinct_2(same) < distinct_2(different)
    assert top_text_share(same) == 1.0
    assert top_text_share(different) == 0.5
    assert compression_ratio(same) > compression_ratio(different)


def test_levels_that_follow_sizes_correlate_within_their_class():
    rising = [("nod", 1 + k // 10, float(k)) for k in range(30)]
    assert amplitude_correlation(rising) > 0.9
    assert amplitude_correlation([("nod", 4 - level, size) for _, level, size in rising]) < -0.9
    assert amplitude_correlation(rising[:5]) is None
