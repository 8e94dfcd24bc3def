"""Structure, timeline: one fault each, and a plain annotation that has none."""

from dataclasses import replace

import pytest

from xsheet.audit.checks.base import AnnotationView, ClipMetadata
from xsheet.audit.checks.structure import STRUCTURE_CHECKS
from xsheet.audit.checks.timeline import TIMELINE_CHECKS
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.run import Model, ModelInput, Run

SHA256 = "a" * 64
RUN = Run(run_id="run_a", kind="truth", tool_version="0")


def failed(annotation, *, run=RUN, clip=None, **fields):
    """Ids of the checks that an annotation fails."""
    facts = clip or ClipMetadata(duration_us=5_000_000, media_sha256=SHA256)
    view = AnnotationView(annotation=annotation, run=run, clip=facts, **fields)
    checks = (*STRUCTURE_CHECKS, *TIMELINE_CHECKS)
    return {check.id for check in checks for o in check.evaluate(view, AuditSettings()) if o.passed is False}


@pytest.fixture
def plain(annotation):
    """annotation(...) with a rest, so that it covers its clip."""
    return lambda *phases, **fields: annotation(*phases, ("whole_body", "rest", 3.0, 5.0), **fields)


def with_text(annotation, text, **fields):
    return replace(annotation, phases=tuple(replace(p, text=text, **fields) for p in annotation.phases))


def test_a_plain_annotation_fails_nothing(plain):
    assert not failed(plain(("head", "nod", 0.42, 1.24), ("brows", "raise_brows", 2.0, 2.92)))


def test_a_phase_after_the_end_of_its_clip_is_found(plain):
    short = ClipMetadata(duration_us=4_000_000, media_sha256=SHA256)
    assert {"A1", "A6b"} <= failed(plain(("head", "nod", 0.4, 1.2)), clip=short)


def test_a_blink_of_three_seconds_is_found(plain):
    assert "A3" in failed(plain(("gaze", "blink_long", 0.4, 3.4)))


@pytest.mark.parametrize(
    ("text", "side", "found"),
    [
        ("turns the head to the left", "right", True),
        ("turns the head to the left", "left", False),
        ("turns the head right away", "left", False),
        ("looks from left to right", "left", False),
    ],
)
def test_words_of_another_side_are_found(annotation, text, side, found):
    one = with_text(annotation(("head", "turn_head", 0.4, 1.2)), text, laterality=side)
    assert ("A5" in failed(one)) == found


def test_parts_of_another_side_are_found(annotation):
    one = with_text(annotation(("arm_left", "wave", 0.4, 1.2)), "waves", body_parts=("hand_right",))
    assert "A5b" in failed(one)


def test_another_file_is_found(plain):
    assert "A6" in failed(plain(("head", "nod", 0.4, 1.2), media_sha256="b" * 64))
    assert "A6" not in failed(plain(("head", "nod", 0.4, 1.2), media_sha256=SHA256))


def test_a_parent_that_is_not_there_is_found(plain):
    assert "A7" in failed(plain(("head", "nod", 0.4, 1.2)), missing_parents=("ann_gone",))


def test_a_run_that_cannot_be_repeated_is_found(plain):
    bare = Run(run_id="run_b", kind="annotate", tool_version="0")
    known = replace(bare, model=Model(id="m", revision="r"), settings_sha256=SHA256)
    assert "A7b" in failed(plain(("head", "nod", 0.4, 1.2)), run=bare)
    assert "A7b" not in failed(plain(("head", "nod", 0.4, 1.2)), run=known)


def test_a_model_that_was_asked_needs_its_prompts(plain):
    run = Run(
        run_id="run_b", kind="annotate", tool_version="0", model=Model(id="m", revision="r"), settings_sha256=SHA256
    )
    assert "A7b" in failed(plain(("head", "nod", 0.4, 1.2), layer="raw", raw_text="{}"), run=run)


def test_slabs_are_found_on_one_track_and_on_several(annotation):
    tiles = [(0.0, 1.25), (1.25, 2.5), (2.5, 3.75), (3.75, 5.0)]
    actions = ["nod", "turn_head", "shake_head", "tilt_head"]
    one_track = [("head", action, *tile) for action, tile in zip(actions, tiles, strict=True)]
    tracks = [(track, "other", *tile) for track, tile in zip(("head", "gaze", "face", "torso"), tiles, strict=True)]
    assert {"B3", "B3b"} <= failed(annotation(*one_track))
    assert {"B3", "B3b"} <= failed(annotation(*tracks))


def test_actions_of_one_length_apart_from_one_another_are_no_slabs(annotation):
    nods = [("head", "nod", start, start + 0.48) for start in (0.32, 1.4, 2.72, 3.88)]
    assert not {"B3", "B3b"} & failed(annotation(*nods))


def test_boundaries_on_half_seconds_are_found(annotation):
    guessed = [("head", "nod", 0.5, 1.5), ("gaze", "look_away", 1.0, 2.5), ("face", "smile", 2.0, 4.5)]
    measured = [("head", "nod", 0.52, 1.44), ("gaze", "look_away", 1.12, 2.56), ("face", "smile", 2.08, 4.36)]
    assert "B4" in failed(annotation(*guessed))
    assert "B4" not in failed(annotation(*measured))


def test_one_action_over_the_whole_clip_is_found_but_not_one_rest(annotation):
    assert "B5" in failed(annotation(("head", "nod", 0.0, 5.0)))
    assert "B5" not in failed(annotation(("whole_body", "rest", 0.0, 5.0)))


def test_a_clip_that_hardly_has_a_phase_is_found(annotation):
    assert "B1" in failed(annotation(("head", "nod", 0.4, 1.0)))


def test_an_action_over_a_cut_is_found(plain):
    cut = ClipMetadata(duration_us=5_000_000, media_sha256=SHA256, cuts_us=(800_000,))
    assert "B7" in failed(plain(("head", "nod", 0.4, 1.2)), clip=cut)
    assert "B7" not in failed(plain(("head", "nod", 0.8, 1.2)), clip=cut)


def test_boundaries_on_the_stamps_are_remarked(annotation):
    stamps = tuple(range(0, 5_000_000, 500_000))
    seen = ModelInput(frame_indices=(0,), stamps_us=stamps, width=2, height=2, patches=1)
    assert "B6" in failed(annotation(("head", "nod", 0.5, 1.5), model_input=seen))
    assert "B6" not in failed(annotation(("head", "nod", 0.5, 1.44), model_input=seen))
