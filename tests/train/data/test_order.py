"""Which clips meet in a batch: full batches of one bucket, every clip equally often, resumable anywhere."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.schemas.errors import ConfigError
from xsheet.train.data.framing import Bucket
from xsheet.train.data.order import BucketBatchSampler
from xsheet.train.loop.state import DataPosition

WIDE, TALL = Bucket(61, 64, 128), Bucket(125, 128, 64)


def order(wide: int = 7, tall: int = 4, *, batch: int = 3, seed: int = 0) -> BucketBatchSampler:
    buckets = {f"wide_{k}": WIDE for k in range(wide)} | {f"tall_{k}": TALL for k in range(tall)}
    return BucketBatchSampler(buckets, batch_size=batch, seed=seed)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 99))
def test_batches_are_full_and_of_one_bucket(wide, tall, batch, seed):
    if batch > wide + tall:
        return
    for showings, _ in islice(order(wide, tall, batch=batch, seed=seed).batches(DataPosition()), 12):
        assert len(showings) == batch
        assert len({one.clip_id[:4] for one in showings}) == 1


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
def test_every_clip_is_shown_once_an_epoch(wide, tall, batch):
    if batch > wide + tall:
        return
    asked = order(wide, tall, batch=batch)
    shown = Counter(one for epoch in range(2 * batch) for batch_ in asked.epoch_batches(epoch) for one in batch_)
    assert set(shown.values()) == {1}
    # After `batch` epochs every bucket has given whole batches only, so nothing is left waiting.
    assert sum(shown.values()) == 2 * batch * (wide + tall)


@given(st.integers(0, 30))
def test_a_run_goes_on_from_any_place_as_if_it_had_never_stopped(stop):
    whole = list(islice(order().batches(DataPosition()), 40))
    start = whole[stop - 1][1] if stop else DataPosition()
    assert list(islice(order().batches(start), 40 - stop)) == whole[stop:]


def weighted(weights, *, batch=1, seed=0):
    clips = {f"clip_{k}": WIDE for k in range(len(weights))}
    weight_of = {clip: weight for clip, weight in zip(clips, weights, strict=True) if weight != 1}
    return BucketBatchSampler(clips, batch_size=batch, seed=seed, weight_of=weight_of)


def shown(sampler, epochs):
    return Counter(one for epoch in range(epochs) for batch in sampler.epoch_batches(epoch) for one in batch)


def test_clips_are_shown_by_their_weight_and_equally_often_among_their_like():
    counts = Counter(one.clip_id for one in shown(weighted([1, 1, 2, 0.5, 0.5, 0.5, 0.5]), 10).elements())
    assert counts == {"clip_0": 10, "clip_1": 10, "clip_2": 20} | {f"clip_{k}": 5 for k in range(3, 7)}


@given(st.lists(st.sampled_from([0.25, 0.5, 1.0, 1.5, 3.0]), min_size=3, max_size=9), st.integers(0, 9))
def test_no_sample_of_a_weighted_clip_is_drawn_twice(weights, seed):
    assert set(shown(weighted(weights, seed=seed), 6).values()) == {1}


@given(st.integers(0, 30))
def test_a_weighted_run_goes_on_from_any_place(stop):
    def sampler():
        return weighted([1, 1, 1, 2.5, 2.5, 0.5, 0.5, 0.5], batch=3)

    whole = list(islice(sampler().batches(DataPosition()), 40))
    start = whole[stop - 1][1] if stop else DataPosition()
    assert list(islice(sampler().batches(start), 40 - stop)) == whole[stop:]


def test_a_weight_of_one_changes_nothing():
    clips = {f"clip_{k}": WIDE for k in range(9)}
    plain, same = (
        BucketBatchSampler(clips, batch_size=3, seed=1, weight_of=w) for w in (None, dict.fromkeys(clips, 1))
    )
    assert [plain.epoch_batches(epoch) for epoch in range(4)] == [same.epoch_batches(epoch) for epoch in range(4)]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), 1001.0])
def test_a_weight_that_shows_nothing_or_everything_is_refused(weight):
    with pytest.raises(ConfigError, match="weight of a set: expected above 0, at most 1000"):
        weighted([1, weight])


def test_epochs_and_seeds_have_orders_of_their_own():
    first, second = (order(20, 0, batch=20).epoch_batches(e)[0] for e in (0, 1))
    assert [one.clip_id for one in first] != [one.clip_id for one in second]
    assert first != order(20, 0, batch=20, seed=1).epoch_batches(0)[0]


def test_buckets_take_turns():
    shown = [showings[0].clip_id[:4] for showings, _ in islice(order(40, 40, batch=4).batches(DataPosition()), 20)]
    assert 5 <= shown.count("wide") <= 15
    assert shown[:10] != sorted(shown[:10])


def test_fewer_clips_than_a_batch_are_refused():
    with pytest.raises(ConfigError, match=r"at least one batch of 40, got 11; lower loader.batch_size"):
        order(batch=40)
