"""Calibration: rising, better than the raw support on clips it has not seen, honest where it cannot know."""

import math

import numpy as np
import pytest

from xsheet.audit.people.calibration import calibration_error, fit_isotonic, is_accepted
from xsheet.schemas.errors import ConfigError


def reviewed(seed, phases=4_000):
    """Support in fifths; a human accepts with the square of it, so that the raw support promises too much."""
    rng = np.random.default_rng(seed)
    support = rng.integers(1, 6, phases) / 5
    clips = np.array([f"clip_{k}" for k in rng.integers(0, phases // 8, phases)])
    return support, rng.random(phases) < support**2, clips


def test_the_fit_finds_the_chance_of_acceptance():
    found = fit_isotonic(*reviewed(0))
    assert found.acceptance_probability(np.array([0.2, 0.6, 1.0])) == pytest.approx([0.04, 0.36, 1.0], abs=0.04)


def test_the_fit_is_nearer_the_truth_than_the_raw_support_on_clips_held_out():
    found = fit_isotonic(*reviewed(1))
    assert found.raw_calibration_error > 0.1
    assert found.held_out_calibration_error < 0.03


@pytest.mark.parametrize("seed", range(5))
def test_more_support_never_lowers_the_chance(seed):
    rng = np.random.default_rng(seed)
    support, decided = rng.random(60), rng.random(60) < 0.5
    curve = fit_isotonic(support, decided, np.array([f"c{k}" for k in range(60)])).acceptance_probability(
        np.linspace(0, 1, 50)
    )
    assert (np.diff(curve) >= -1e-12).all()
    assert (curve >= 0).all() and (curve <= 1).all()


def test_outside_the_support_seen_the_nearest_counts():
    found = fit_isotonic(np.array([0.4, 0.8]), np.array([False, True]), np.array(["a", "b"]))
    assert found.acceptance_probability(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]


def test_one_clip_cannot_be_tested_on_another():
    found = fit_isotonic(np.array([0.4, 0.8]), np.array([False, True]), np.array(["a", "a"]))
    assert math.isnan(found.held_out_calibration_error)


def test_no_decision_is_an_error_that_says_what_to_do():
    with pytest.raises(ConfigError, match="review some clips"):
        fit_isotonic(np.empty(0), np.empty(0, bool), np.empty(0, str))


def test_calibration_error_of_the_textbook():
    stated, decided = np.array([0.75, 0.75, 0.75, 0.75, 0.15, 0.15]), np.array([1, 1, 1, 0, 0, 0], bool)
    assert calibration_error(stated, decided) == pytest.approx(2 * 0.15 / 6)


def test_a_phase_is_accepted_when_the_human_layer_has_it(units):
    found = units(("head", "nod", 0, 1), ("gaze", "look_away", 0, 1), ("torso", "sway", 0, 1))
    human = units(("head", "nod", 0.1, 1), ("gaze", "look_down", 0, 1), ("torso", "sway", 0.8, 2))
    assert is_accepted(found, human).tolist() == [True, False, False]
