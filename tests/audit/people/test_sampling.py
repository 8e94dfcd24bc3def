"""Samples for humans: bounds and sizes as published, draws that hang on names and seed alone."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from xsheet.audit.people.sampling import required_sample_size, stratified_sample, wilson_interval


@pytest.mark.parametrize(
    ("hits", "looked_at", "low", "high"), [(2, 100, 0.6, 7.0), (5, 200, 1.1, 5.7), (20, 400, 3.3, 7.6)]
)
def test_wilson_bounds_are_the_published_ones(hits, looked_at, low, high):
    found = wilson_interval(hits, looked_at)
    assert (round(100 * found[0], 1), round(100 * found[1], 1)) == (low, high)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_are_those_of_scipy(case):
    hits, looked_at = case
    expected = binomtest(hits, looked_at).proportion_ci(method="wilson")
    assert wilson_interval(hits, looked_at) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_nothing_looked_at_bounds_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_no_defect_in_59_shows_a_rate_of_at_most_5_percent():
    assert required_sample_size(0.05) == 59


@pytest.mark.parametrize(("rate", "defects"), [(0.05, 0), (0.05, 1), (0.01, 0), (0.1, 5), (0.001, 2)])
def test_a_size_is_the_smallest_that_will_do(rate, defects):
    size = required_sample_size(rate, allowed_defects=defects)
    chance = [binomtest(defects, n, rate, alternative="less").pvalue for n in (size, size - 1)]
    assert chance[0] <= 0.05 < chance[1]


SCORES = {f"clip_{k}": k / 1000 for k in range(1000)}


def test_a_sample_is_the_same_in_any_order_of_clips():
    shuffled = dict(random.Random(0).sample(sorted(SCORES.items()), len(SCORES)))
    assert stratified_sample(shuffled, size=100, seed=1) == stratified_sample(SCORES, size=100, seed=1)


def test_another_seed_is_another_sample():
    assert stratified_sample(SCORES, size=100, seed=1) != stratified_sample(SCORES, size=100, seed=2)


def test_a_tenth_is_random_and_the_rest_even_over_deciles():
    picked = stratified_sample(SCORES, size=100, seed=1)
    assert Counter(one.selection for one in picked) == {"random": 10, "stratum": 90}
    assert Counter(one.decile for one in picked if one.selection == "stratum") == dict.fromkeys(range(10), 9)


@pytest.mark.slow
def test_the_random_part_estimates_the_layer_and_not_the_queue():
    picked = [
        one
        for seed in range(100)
        for one in stratified_sample(SCORES, size=100, seed=seed)
        if one.selection == "random"
    ]
    assert sum(SCORES[one.clip_id] for one in picked) / len(picked) == pytest.approx(0.5, abs=0.03)


def test_equal_scores_are_fine():
    assert len(stratified_sample(dict.fromkeys(SCORES, 0.5), size=50, seed=0)) == 50


@pytest.mark.parametrize("clips", [0, 1, 3, 9, 11])
def test_a_sample_as_large_as_the_layer_is_the_layer(clips):
    some = dict(list(SCORES.items())[:clips])
    assert {one.clip_id for one in stratified_sample(some, size=20, seed=0)} == set(some)
