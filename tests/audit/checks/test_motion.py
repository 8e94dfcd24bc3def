"""Grounding: planted series beside claims about them."""

from dataclasses import replace

import numpy as np
import pytest

from xsheet.annotate.text.mirror import mirror_phase
from xsheet.audit.checks.base import AnnotationView, with_clip_evidence
from xsheet.audit.checks.evidence import ClipEvidence
from xsheet.audit.checks.motion import MOTION_CHECKS, missed_spans
from xsheet.audit.checks.speech import SPEECH_CHECKS
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.annotation import SpeechRelation, UnknownSpan
from xsheet.schemas.clip import Signals
from xsheet.schemas.run import Run

RUN = Run(run_id="run_a", kind="truth", tool_version="0")
FRAMES = 125


def bump(start, stop, size):
    """(frames,) a smooth way out and back between two frames."""
    values = np.zeros(FRAMES)
    values[start:stop] = size * np.sin(np.linspace(0, np.pi, stop - start)) ** 2
    return values


def signals(*, visible=1.0, **series):
    """Series of a face that is still but for what is given; a little noise, as measured."""
    noise = np.random.default_rng(0)
    given = {name: np.zeros(FRAMES) for name in ("yaw_deg", "pitch_deg", "roll_deg", "smile", "mouth_open")}
    given |= {name: 0.3 * np.ones(FRAMES) for name in ("eye_left_open", "eye_right_open")}
    given |= {"gaze_x": np.zeros(FRAMES), "gaze_y": np.zeros(FRAMES), "brow_raise": np.zeros(FRAMES)}
    given |= series
    jittered = {name: values * (1 + 1e-3 * noise.standard_normal(FRAMES)) for name, values in given.items()}
    jittered |= {"face_visible": np.full(FRAMES, visible), "voice": given.get("voice", np.zeros(FRAMES))}
    return Signals(
        clip_id="c0", frames=FRAMES, extractor="truth",
        **{name: tuple(map(float, values)) for name, values in jittered.items()},
    )  # fmt: skip


def answers(annotation, seen, checks=MOTION_CHECKS):
    view = with_clip_evidence(AnnotationView(annotation=annotation, run=RUN), ClipEvidence(seen))
    return [(check.id, outcome) for check in checks for outcome in check.evaluate(view, AuditSettings())]


def failed(annotation, seen, checks=MOTION_CHECKS):
    return {name for name, outcome in answers(annotation, seen, checks) if outcome.passed is False}


@pytest.fixture(scope="module")
def nodding():
    return signals(pitch_deg=bump(40, 56, -12.0))


@pytest.fixture(scope="module")
def turning():
    return signals(yaw_deg=bump(40, 70, 20.0))


def turn(annotation, side, start=1.6, end=2.8):
    one = annotation(("head", "turn_head", start, end))
    return replace(one, phases=tuple(replace(p, laterality=side) for p in one.phases))


def test_a_claim_that_was_measured_passes(annotation, nodding, turning):
    assert not failed(annotation(("head", "nod", 1.6, 2.24)), nodding)
    assert not failed(turn(annotation, "left"), turning)


def test_a_claim_where_nothing_moves_is_refuted(annotation, nodding):
    found = failed(annotation(("head", "nod", 1.6, 2.24), ("brows", "raise_brows", 3.0, 4.0)), nodding)
    assert {"G1", "G6"} <= found


@pytest.mark.parametrize("shift_s", [-0.5, -0.4, 0.4, 0.5])
def test_a_claim_at_another_time_is_displaced(annotation, nodding, shift_s):
    assert "G3" in failed(annotation(("head", "nod", 1.6 + shift_s, 2.24 + shift_s)), nodding)


@pytest.mark.parametrize("shift_s", [-0.12, 0.0, 0.12])
def test_a_claim_three_frames_off_is_not(annotation, nodding, shift_s):
    assert "G3" not in failed(annotation(("head", "nod", 1.6 + shift_s, 2.24 + shift_s)), nodding)


def test_a_stated_sigma_excuses_a_little_and_no_more(annotation, nodding):
    def off_by(seconds):
        one = annotation(("head", "nod", 1.6 + seconds, 2.24 + seconds))
        return replace(one, phases=tuple(replace(p, start_sigma_us=10**6) for p in one.phases))

    assert "G3" not in failed(off_by(0.28), nodding)
    assert "G3" in failed(off_by(0.4), nodding)


def test_a_turn_to_the_other_side_is_found(annotation, turning):
    assert "G4" in failed(turn(annotation, "right"), turning)


def test_a_mirrored_claim_fails_and_a_mirrored_clip_with_it_passes(annotation, turning):
    right = turn(annotation, "left")
    wrong = replace(right, phases=tuple(mirror_phase(p) for p in right.phases))
    mirrored = replace(turning, yaw_deg=tuple(-v for v in turning.yaw_deg))
    assert "G4" in failed(wrong, turning)
    assert not failed(wrong, mirrored)


def test_another_class_is_found(annotation, turning):
    assert "G6" in failed(annotation(("head", "nod", 1.6, 2.8)), turning)


def test_what_is_not_seen_is_open_and_no_fault(annotation):
    hidden = signals(visible=0.2)
    found = answers(annotation(("head", "nod", 1.6, 2.24)), hidden)
    assert {name for name, outcome in found if outcome.passed is None} >= {"G1", "G2", "G3", "G6", "G7"}
    assert not {name for name, outcome in found if outcome.passed is False}


def test_a_track_without_any_series_is_open(annotation, nodding):
    assert not failed(annotation(("head", "nod", 1.6, 2.24), ("legs", "other", 3.0, 4.0)), nodding)


def test_a_clear_movement_without_a_phase_is_missed(annotation, nodding):
    found = answers(annotation(("whole_body", "rest", 3.0, 5.0)), nodding)
    (missed,) = [outcome for name, outcome in found if name == "G9"]
    assert abs(missed.start_us - 1_600_000) <= 120_000
    assert abs(missed.end_us - 2_240_000) <= 120_000


@pytest.mark.parametrize(("size", "is_missed"), [(0.035, False), (0.1, True)])
def test_a_shrug_too_small_to_be_named_is_not_missed(size, is_missed):
    evidence = ClipEvidence(signals())
    evidence.curves = replace(evidence.curves, shoulder_rise=bump(40, 60, size))
    assert bool(evidence.large_movements(1.0, 0.2)) == is_missed


def test_a_movement_that_a_phase_of_its_track_covers_is_not_missed(annotation, nodding):
    assert "G9" not in failed(annotation(("head", "turn_head", 1.6, 2.24)), nodding)


@pytest.mark.parametrize("track", ["head", "whole_body"])
def test_a_movement_in_an_unknown_span_is_not_missed(annotation, nodding, track):
    unknown = (UnknownSpan(track=track, start_us=1_600_000, end_us=2_240_000),)
    assert "G9" not in failed(annotation(("whole_body", "rest", 3.0, 5.0), unknown=unknown), nodding)


@pytest.mark.parametrize(("start", "stop", "is_shrug"), [(105, 115, True), (0, FRAMES, False)])
def test_shoulders_that_rise_for_longer_than_a_shrug_lasts_are_no_large_movement(start, stop, is_shrug):
    evidence = ClipEvidence(signals())
    rise = np.interp(np.arange(FRAMES), (start, stop), (0.0, 0.1))
    evidence.curves = replace(evidence.curves, shoulder_rise=rise)
    tracks = [quantity.track for quantity, _, _ in evidence.large_movements(1.0, 0.2)]
    assert tracks == (["torso"] if is_shrug else [])


def test_what_both_hands_do_no_single_hand_has_missed(annotation):
    lift = bump(40, 90, 0.2)
    hands = {f"shoulder_{side}_{axis}": np.full(FRAMES, v) for side, x in (("left", 0.7), ("right", 0.3))
             for axis, v in (("x", x), ("y", 0.6))}  # fmt: skip
    hands |= {f"wrist_{side}_{axis}": v for side, x in (("left", 0.7), ("right", 0.3))
              for axis, v in (("x", np.full(FRAMES, x)), ("y", 0.95 - lift))}  # fmt: skip
    hands |= {f"hand_{side}_visible": np.ones(FRAMES) for side in ("left", "right")}
    seen = signals(**hands)
    alone, together = annotation(("arm_left", "raise_hand", 1.6, 3.6)), annotation(("hands", "raise_hand", 1.6, 3.6))
    assert "G9" in failed(alone, seen)
    assert "G9" not in failed(together, seen)


def test_a_rest_phase_over_movement_is_found(annotation):
    shaking = signals(yaw_deg=20 * np.sin(np.arange(FRAMES) / 2))
    assert "G1b" in failed(annotation(("whole_body", "rest", 1.0, 4.0)), shaking)


def test_a_phase_much_longer_than_its_movement_is_found(annotation, nodding):
    assert "G5" in failed(annotation(("head", "nod", 0.2, 4.8)), nodding)


def test_missed_time_of_two_quantities_at_once_counts_once(annotation):
    both = signals(pitch_deg=bump(40, 56, -12.0), roll_deg=bump(40, 56, 15.0))
    found = [o for name, o in answers(annotation(("whole_body", "rest", 3.0, 5.0)), both) if name == "G9"]
    assert len(found) == 2
    assert sum(end - start for start, end in missed_spans(found)) <= 900_000


# ---- speech


def voiced(start, stop):
    return signals(voice=np.where((np.arange(FRAMES) >= start) & (np.arange(FRAMES) < stop), 1.0, 0.0))


def related(annotation, relation):
    one = annotation(("head", "nod", 1.6, 2.24))
    with_speech = SpeechRelation(relation=relation, method="test")
    return replace(one, phases=tuple(replace(p, speech=with_speech) for p in one.phases))


@pytest.mark.parametrize(("relation", "check"), [("co_speech", "H1"), ("in_pause", "H1b")])
def test_a_stated_relation_is_held_against_the_voice(annotation, relation, check):
    with_voice, without = voiced(0, 125), voiced(80, 125)
    wrong, right = (without, with_voice) if relation == "co_speech" else (with_voice, without)
    assert check in failed(related(annotation, relation), wrong, SPEECH_CHECKS)
    assert check not in failed(related(annotation, relation), right, SPEECH_CHECKS)


def test_a_speaker_without_a_voice_is_found(annotation):
    assert "H3" in failed(annotation(("head", "nod", 1.6, 2.24)), voiced(0, 0), SPEECH_CHECKS)


def test_a_stroke_far_from_its_word_is_found(annotation):
    one = related(annotation, "co_speech")
    late = SpeechRelation(relation="co_speech", lag_us=900_000, method="test")
    one = replace(one, phases=tuple(replace(p, speech=late) for p in one.phases))
    assert "H2" in failed(one, voiced(0, 125), SPEECH_CHECKS)


def test_talk_without_voice_and_a_pause_with_it_are_found(annotation):
    assert "H5" in failed(annotation(("mouth", "talk", 0.4, 1.2)), voiced(80, 125), SPEECH_CHECKS)
    assert "H5b" in failed(annotation(("mouth", "pause", 3.6, 4.4)), voiced(80, 125), SPEECH_CHECKS)
