import pytest

from xsheet.annotate.text.wording import describe_action, describe_clip


def test_manner_stands_after_what_and_how_often():
    assert describe_action("nod", "none", repetitions=2, amplitude=1, speed=3) == "nods twice, slightly and quickly"


def test_the_middle_levels_need_no_word():
    assert describe_action("wave", "right", repetitions=1, amplitude=2, speed=2) == "waves with the right hand"


def test_both_hands_are_named_together():
    assert describe_action("raise_hand", "both") == "raises both hands"


def test_a_class_without_a_rule_has_no_words():
    with pytest.raises(KeyError):
        describe_action("touch_hair", "none")


def test_a_clip_is_described_by_what_signals_tell():
    text = describe_clip("head_shoulders", "speaking")
    assert text == "A person speaks before the camera, seen from the chest up."
