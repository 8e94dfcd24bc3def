import pytest

from xsheet.annotate.text.wording import describe_action, describe_clip, describe_ongoing, describe_repeated
from xsheet.schemas import vocab


def test_manner_stands_after_what_and_how_often():
    assert describe_action("nod", "none", repetitions=2, amplitude=1, speed=3) == "nods twice, slightly and quickly"


def test_the_middle_levels_need_no_word():
    assert describe_action("wave", "right", repetitions=1, amplitude=2, speed=2) == "waves with the right hand"


def test_both_hands_are_named_together():
    assert describe_action("raise_hand", "both") == "raises both hands"


@pytest.mark.parametrize(
    ("action", "side", "clause"),
    [
        ("raise_hand", "left", "raises the open left hand"),
        ("lower_hand", "both", "lowers both open hands"),
        ("spread_hands", "both", "moves both open hands apart"),
    ],
)
def test_an_open_hand_is_named_with_its_movement(action, side, clause):
    assert describe_action(action, side, open_hand=True) == clause


def test_a_class_without_a_rule_has_no_words():
    with pytest.raises(KeyError):
        describe_action("touch_hair", "none")


def test_a_clip_is_described_by_what_signals_tell():
    text = describe_clip("head_shoulders", "speaking")
    assert text == "A person speaks in front of the camera, seen from the chest up."


@pytest.mark.parametrize(
    ("action", "part", "clause"),
    [
        ("nod", "stroke", "keeps nodding"),
        ("raise_hand", "stroke", "keeps raising the left hand"),
        ("raise_hand", "post_stroke_hold", "keeps the left hand raised"),
        ("raise_hand", None, "keeps the left hand raised"),
        ("tilt_head", "retraction", "moves the head back"),
        ("smile", "stroke", "keeps smiling"),
    ],
)
def test_what_goes_on_is_worded_by_the_part_that_is_under_way(action, part, clause):
    assert describe_ongoing(action, "left", part) == clause


@pytest.mark.parametrize("part", ["stroke", "post_stroke_hold", "retraction", None])
def test_every_class_with_words_has_words_for_going_on(part):
    def has_words(action: vocab.Action) -> bool:
        try:
            return bool(describe_action(action, "left"))
        except KeyError:
            return False

    clauses = {describe_ongoing(action, "left", part).split()[0] for action in vocab.ACTIONS if has_words(action)}
    assert clauses <= {"keeps", "moves"}


def test_repetitions_are_counted_but_steps_from_one_place_to_another_are_not():
    assert describe_repeated("blink_long", "both", 2) == "closes both eyes twice"
    assert describe_repeated("raise_hand", "both", 2) == "raises both hands"
