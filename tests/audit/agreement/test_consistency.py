"""Self-consistency of K samples: support, spread and entropy as counted by hand."""

import math

import numpy as np
import pytest

from xsheet.audit.agreement.consistency import sample_consistency
from xsheet.audit.agreement.phase_arrays import concatenate, phase_arrays
from xsheet.audit.checks.base import AnnotationView
from xsheet.audit.checks.samples import SAMPLE_CHECKS
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.run import Run


@pytest.fixture
def samples(annotation):
    """samples([phases of sample 0], [of sample 1], ..., clip=...) as columns."""

    def make(*each, clip="c0"):
        return phase_arrays(
            annotation(*phases, clip=clip, layer="raw", sample_index=k) for k, phases in enumerate(each)
        )

    return make


def test_support_is_the_share_of_samples_that_have_the_phase(samples):
    nod, look = ("head", "nod", 0, 1), ("gaze", "look_away", 2, 3)
    found = sample_consistency(samples([nod, look], [nod], [nod], [nod]))
    assert found.support.tolist() == [1.0, 0.25, 1.0, 1.0, 1.0]


def test_a_phase_at_tiou_half_is_the_same(samples):
    found = sample_consistency(samples([("head", "nod", 0, 1)], [("head", "nod", 0, 2)], [("head", "nod", 0.6, 1.6)]))
    assert found.support.tolist() == pytest.approx([2 / 3, 1.0, 2 / 3])


def test_two_halves_of_a_phase_are_one_partner(samples):
    found = sample_consistency(samples([("head", "nod", 0, 2)], [("head", "nod", 0, 1), ("head", "nod", 1, 2)]))
    assert found.support.tolist() == [1.0, 1.0, 1.0]


def test_another_class_supports_the_phase_and_costs_entropy(samples):
    found = sample_consistency(samples([("head", "nod", 0, 1)], [("head", "turn_head", 0, 1)]))
    assert found.support.tolist() == [1.0, 1.0]
    assert found.class_entropy == pytest.approx([math.log(2)] * 2)


def test_agreement_on_the_class_has_no_entropy(samples):
    assert sample_consistency(samples(*[[("head", "nod", 0, 1)]] * 3)).class_entropy.tolist() == [0.0] * 3


def test_spread_is_the_standard_deviation_of_the_matched_boundaries(samples):
    starts = (0.0, 0.1, 0.3)
    found = sample_consistency(samples(*([("head", "nod", start, 2.0)] for start in starts)))
    assert found.start_sd_us == pytest.approx([np.std(starts, ddof=1) * 1e6] * 3)
    assert found.end_sd_us.tolist() == [0.0] * 3


def test_a_phase_that_stands_alone_has_no_spread(samples):
    found = sample_consistency(samples([("head", "nod", 0, 1)], []))
    assert np.isnan(found.start_sd_us).all()


def test_clip_consistency_is_the_mean_f1_over_pairs(samples):
    nod, look = ("head", "nod", 0, 1), ("gaze", "look_away", 2, 3)
    found = sample_consistency(samples([nod, look], [nod], []))
    assert found.f1.tolist() == pytest.approx([(2 / 3 + 0 + 0) / 3])


def test_samples_that_all_saw_nothing_agree(samples):
    assert sample_consistency(samples([], [], [])).f1.tolist() == [1.0]


def test_one_sample_has_no_consistency(samples):
    found = sample_consistency(samples([("head", "nod", 0, 1)]))
    assert np.isnan(found.f1).all() and found.support.tolist() == [1.0]


def test_clips_do_not_mix_and_order_does_not_matter(samples):
    nod, look = ("head", "nod", 0, 1), ("gaze", "look_away", 2, 3)
    one, other = samples([nod], [nod, look], clip="c0"), samples([look], [], clip="c1")
    both = concatenate(one, other)
    shuffled = both.take(np.array([2, 1, 3, 0]))
    assert sample_consistency(both).support.tolist() == [1.0, 1.0, 0.5, 0.5]
    assert sample_consistency(shuffled).f1.tolist() == sample_consistency(both).f1.tolist()
    assert sorted(sample_consistency(shuffled).support) == sorted(sample_consistency(both).support)


def test_identical_samples_have_full_support(random_units):
    one = random_units(np.random.default_rng(0))
    found = sample_consistency(concatenate(concatenate(one, one), one))
    assert set(found.support) == {1.0} and set(found.f1) == {1.0} and set(found.sample_counts) == {3}


def test_the_mean_comes_with_its_interval(random_units):
    rng = np.random.default_rng(0)
    one = random_units(rng, clips=50)
    found = sample_consistency(concatenate(one, random_units(rng, like=one, jitter_s=0.6)))
    mean = found.mean_f1(rng, resamples=200)
    assert mean.value == pytest.approx(found.f1.mean())
    assert mean.low < mean.value < mean.high


def test_samples_that_do_not_share_a_phase_are_found(annotation):
    nod = annotation(("head", "nod", 1.0, 2.0), ("whole_body", "rest", 2.5, 4.5))
    run = Run(run_id="run_a", kind="truth", tool_version="0")
    view = AnnotationView(annotation=nod, run=run, support_by_phase={"p0": 1 / 3, "p1": 1.0}, sample_f1=0.2)
    assert {
        check.id for check in SAMPLE_CHECKS for o in check.evaluate(view, AuditSettings()) if o.passed is False
    } == {
        "D1",
        "D2",
    }
