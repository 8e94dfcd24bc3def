"""The corpus at a glance: counts by hand, drift that sees what was planted, leaks that are found."""

import math

import numpy as np
import pytest

from xsheet.audit.layer_profile import (
    class_diversity,
    distribution_shift,
    effective_number,
    entropy_nats,
    find_split_leaks,
    layer_profile,
    response_stats,
)
from xsheet.schemas import vocab
from xsheet.schemas.clip import Clip
from xsheet.schemas.layers import write_layer
from xsheet.schemas.run import Run, Usage
from xsheet.schemas.source import NearDuplicate, Split
from xsheet.schemas.tables import CLIPS, NEAR_DUPLICATES, SPLITS, write_table

RUN = Run(run_id="run_a", kind="annotate", tool_version="1")


def test_a_profile_counts_phases_of_all_blocks(units):
    found = layer_profile(
        [units(("head", "nod", 0, 1), clip="a"), units(("head", "nod", 0, 2), clip="b"), units(clip="c")]
    )
    assert (found.clips, found.phase_count) == (3, 2)
    assert found.action_counts[vocab.ACTIONS.index("nod")] == found.track_counts[vocab.TRACKS.index("head")] == 2
    assert sorted(found.durations_us) == [1_000_000, 2_000_000]


def test_effective_number_counts_equal_classes():
    assert effective_number(np.array([5, 5, 5, 5, 0])) == pytest.approx(4)
    assert effective_number(np.array([7])) == 1
    assert effective_number(np.array([0, 0])) == 0
    assert entropy_nats(np.array([1, 1])) == pytest.approx(math.log(2))


def test_one_source_that_acts_most_of_a_class_is_seen(annotation):
    from xsheet.audit.agreement.phase_arrays import phase_arrays

    says = [annotation(("head", "nod", 0, 1), clip=f"c{k}") for k in range(4)]
    rows = class_diversity([phase_arrays(says)], {"c0": "talk", "c1": "talk", "c2": "talk"})
    assert (rows[0].action, rows[0].phases, rows[0].groups, rows[0].largest_group_share) == ("nod", 4, 2, 0.75)
    assert rows[0].effective_groups == pytest.approx(math.exp(entropy_nats(np.array([3, 1]))))


def test_spread_is_the_same_in_blocks_and_at_once(random_units):
    a = random_units(np.random.default_rng(0))
    group_of = {clip: f"source_{k % 3}" for k, clip in enumerate(a.clip_ids.tolist())}
    blocks = [a.take(np.arange(k, k + 5)) for k in range(0, 20, 5)]
    assert class_diversity(blocks, group_of) == class_diversity([a], group_of)


def test_a_layer_does_not_drift_from_itself(random_units):
    one = layer_profile([random_units(np.random.default_rng(0))])
    found = distribution_shift(one, one)
    assert (found.action_js_bits, found.track_js_bits, found.duration_ks, found.share_changes) == (0, 0, 0, ())


def test_layers_with_no_word_in_common_are_one_bit_apart(units):
    a, b = layer_profile([units(("head", "nod", 0, 1))]), layer_profile([units(("gaze", "look_away", 0, 1))])
    found = distribution_shift(a, b)
    assert (found.action_js_bits, found.track_js_bits) == (pytest.approx(1), pytest.approx(1))


def test_drift_is_symmetric_and_names_what_moved(random_units):
    a = random_units(np.random.default_rng(0))
    b = random_units(np.random.default_rng(1))
    b.action[b.action == 2] = 3
    one, other = (
        distribution_shift(layer_profile([a]), layer_profile([b])),
        distribution_shift(layer_profile([b]), layer_profile([a])),
    )
    assert one.action_js_bits == pytest.approx(other.action_js_bits)
    assert {word for word, _, _ in one.share_changes[:2]} == {vocab.ACTIONS[2], vocab.ACTIONS[3]}


def test_longer_phases_are_a_drift_of_durations(random_units):
    a = random_units(np.random.default_rng(0))
    longer = random_units(np.random.default_rng(1))
    longer.end_us[:] += 400_000
    found = distribution_shift(layer_profile([a]), layer_profile([longer]))
    assert found.duration_ks > 0.2 and found.duration_p_value < 1e-6


def test_nothing_drifts_from_an_empty_layer(units):
    assert distribution_shift(layer_profile([]), layer_profile([units(("head", "nod", 0, 1))])) is None


def test_statuses_and_costs_of_a_layer_are_summed(annotation, tmp_path):
    cost = Usage(prompt_tokens=100, output_tokens=10, latency_s=0.5)
    says = [annotation(clip=f"c{k}", usage=cost) for k in range(98)]
    says += [annotation(clip=f"c{k}", status="truncated", base=None) for k in (98, 99)]
    found = response_stats(write_layer(tmp_path, RUN, "gold", says))
    assert found.status_counts == {"ok": 98, "truncated": 2}
    assert found.cost_totals == {"prompt_tokens": 9800, "output_tokens": 980, "latency_s": 49.0}
    assert found.exceeds_truncation_limit
    assert found.wilson_bounds("truncated") == pytest.approx((0.0055, 0.0700), abs=1e-4)


def test_one_truncated_reply_in_a_hundred_is_still_fine(annotation, tmp_path):
    says = [annotation(clip=f"c{k}") for k in range(99)] + [annotation(clip="c99", status="truncated", base=None)]
    assert not response_stats(write_layer(tmp_path, RUN, "gold", says)).exceeds_truncation_limit


def clip(name, source, digest):
    return Clip(
        clip_id=name, source_id=source, start_us=0, end_us=4_000_000, media_path=f"media/{name}.mp4",
        media_sha256=digest * 64, frames=100, samples=0, width=64, height=64,
    )  # fmt: skip


def split(name, source, cluster, word):
    return Split(clip_id=name, source_id=source, cluster=cluster, split=word, identity_by="faces@1")


def test_leaks_between_splits_are_found_by_kind(tmp_path):
    write_table(tmp_path, SPLITS, [
        split("c0", "s0", "s0", "train"), split("c1", "s1", "s0", "test"),  # one person
        split("c2", "s2", "s2", "train"), split("c3", "s2", "s3", "val"),  # one source
        split("c4", "s4", "s4", "train"), split("c5", "s5", "s5", "test"),  # one file
        split("c6", "s6", "s6", "train"), split("c7", "s7", "s7", "test"),  # near duplicates
        split("c8", "s8", "s8", "train"), split("c9", "s8", "s8", "train"),  # no leak
    ])  # fmt: skip
    digests = "0123556789"
    write_table(tmp_path, CLIPS, [clip(f"c{k}", f"s{k}", digests[k] if k != 4 else "5") for k in range(10)])
    write_table(tmp_path, NEAR_DUPLICATES, [
        NearDuplicate(
            group="s6", source_id="s6", other_id="s7", by="picture", lag_frames=0, matched_frames=90, bit_error=0.1
        )
    ])  # fmt: skip
    found = {(leak.kind, leak.key[:2]): (leak.splits, leak.clips) for leak in find_split_leaks(tmp_path)}
    assert found == {
        ("cluster", "s0"): (("test", "train"), 2),
        ("source", "s2"): (("train", "val"), 2),
        ("file", "55"): (("test", "train"), 2),
        ("near_duplicate", "s6"): (("test", "train"), 2),
    }


def test_a_set_without_splits_leaks_nothing(tmp_path):
    assert find_split_leaks(tmp_path) == ()
