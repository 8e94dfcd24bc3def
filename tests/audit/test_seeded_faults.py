"""Seeded faults: a small version of benchmarks/faults.py, and what is planted."""

from functools import cache

import numpy as np
import pytest

from xsheet.annotate.motion.series import frames_of_span
from xsheet.audit.checks.base import AnnotationView, ClipMetadata, with_clip_evidence
from xsheet.audit.checks.evidence import ClipEvidence
from xsheet.audit.pipeline import run_checks
from xsheet.audit.seeded_faults import FAULT_KINDS, detecting_checks, false_positives, seed_fault
from xsheet.audit.settings import AuditSettings
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows, truth_run
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Signals

SETTINGS = AuditSettings()
RECALLED = (
    "shift_0.4",
    "shift_0.5",
    "swapped_side",
    "spurious_phase",
    "missing_phase",
    "uniform_segments",
    "out_of_range",
)


@cache
def film(seed):
    rows = list(truth_rows(plan_film(0, seed=seed, kind="talk"), "src_films"))
    truth = next(row for row in rows if isinstance(row, Annotation))
    return truth, ClipEvidence(next(row for row in rows if isinstance(row, Signals)))


@pytest.fixture(scope="module")
def films():
    return [film(seed) for seed in range(300, 324)]


def answers(annotation, truth, measured):
    clip = ClipMetadata(duration_us=truth.duration_us, media_sha256="0" * 64)
    return run_checks(
        with_clip_evidence(AnnotationView(annotation=annotation, run=truth_run(0), clip=clip), measured), SETTINGS
    )


def planted(films, fault, seed=0):
    rng, texts = np.random.default_rng(seed), [p.text for truth, _ in films for p in truth.phases]
    for truth, measured in films:

        def seen(track, span, measured=measured):
            return (measured.visible_share(track, frames_of_span(span)) or 0) >= SETTINGS.motion.min_visible_share

        one = seed_fault(truth, fault, rng=rng, donor_texts=texts, is_visible=seen)
        if one is not None:
            yield truth, measured, one


@pytest.fixture(scope="module")
def clean(films):
    return {truth.clip_id: answers(truth, truth, measured) for truth, measured in films}


@pytest.mark.slow
@pytest.mark.parametrize("fault", RECALLED)
def test_nine_of_ten_faults_are_found(films, clean, fault):
    hits = [
        bool(detecting_checks(one, baseline=clean[truth.clip_id], evaluations=answers(one.annotation, truth, measured)))
        for truth, measured, one in planted(films, fault)
    ]
    assert len(hits) >= 5
    assert np.mean(hits) >= 0.9


@pytest.mark.slow
def test_at_most_one_right_phase_in_twenty_has_a_finding(films, clean):
    phases = sum(len(truth.phases) for truth, _ in films)
    wrong = [false_positives(found) for found in clean.values()]
    assert sum(len(ids) + other for ids, other in wrong) <= 0.05 * phases


@pytest.mark.parametrize("fault", FAULT_KINDS)
def test_a_fault_changes_the_annotation_and_is_the_same_for_the_same_seed(fault):
    few = [film(seed) for seed in range(300, 306)]
    once, again = ([one for *_, one in planted(few, fault, seed=3)] for _ in range(2))
    assert once == again
    assert all(one.annotation != truth for truth, _, one in planted(few, fault))
