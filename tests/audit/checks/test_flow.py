"""Checks on optical flow: what the tracker claims against what the picture shows."""

import numpy as np
import pytest

from xsheet.audit.checks.base import AnnotationView, with_clip_evidence
from xsheet.audit.checks.evidence import ClipEvidence
from xsheet.audit.checks.flow import FLOW_CHECKS
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.clip import Signals
from xsheet.schemas.run import Run

RUN = Run(run_id="run_a", kind="truth", tool_version="0")
FRAMES = 125


def flow_of(start: int, stop: int, peak: float) -> tuple[float, ...]:
    values = np.full(FRAMES, 0.012)
    values[start:stop] = peak
    return tuple(values.tolist())


def signals(**series) -> Signals:
    still = dict.fromkeys(("yaw_deg", "pitch_deg", "roll_deg"), (0.0,) * FRAMES)
    return Signals(clip_id="c0", frames=FRAMES, extractor="truth", face_visible=(1.0,) * FRAMES, **{**still, **series})


def results(annotation, seen):
    view = with_clip_evidence(AnnotationView(annotation=annotation, run=RUN), ClipEvidence(seen))
    return {check.id: list(check.evaluate(view, AuditSettings())) for check in FLOW_CHECKS}


@pytest.fixture
def nod(annotation):
    return annotation(("head", "nod", 1.6, 2.24))


def test_a_named_movement_shows_in_the_flow_of_its_part(nod):
    (found,) = results(nod, signals(flow_head=flow_of(40, 56, 0.1)))["G11"]
    assert found.passed


def test_a_movement_of_the_tracker_alone_is_none(nod):
    pitch = tuple((-12 * np.sin(np.linspace(0, np.pi, FRAMES))).tolist())
    (found,) = results(nod, signals(pitch_deg=pitch, flow_head=flow_of(0, 0, 0.0)))["G11"]
    assert found.passed is False


def test_a_part_without_flow_is_undetermined(nod):
    (found,) = results(nod, signals())["G11"]
    assert found.passed is None


def test_a_hand_that_moves_while_no_phase_is_near_is_missed(nod):
    (missed,) = results(nod, signals(flow_arm_left=flow_of(80, 100, 0.5)))["G12"]
    assert (missed.track, missed.start_us, missed.end_us) == ("arm_left", 3_200_000, 4_000_000)


def test_a_hand_that_moves_with_a_named_movement_is_not_missed(nod):
    assert not results(nod, signals(flow_arm_left=flow_of(44, 60, 0.5)))["G12"]


def test_a_rest_hides_no_movement(annotation):
    rest = annotation(("whole_body", "rest", 3.0, 5.0))
    assert results(rest, signals(flow_arm_left=flow_of(80, 100, 0.5)))["G12"]
