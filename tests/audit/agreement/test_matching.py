"""Matching: the same choice as the Hungarian method, within tracks, whatever stands beside."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import linear_sum_assignment

from xsheet.audit.agreement.matching import match_phases, overlapping_pairs
from xsheet.audit.agreement.phase_arrays import (
    align_by_clip,
    concatenate,
    keep_first_samples,
    layer_phase_arrays,
    phase_arrays,
)


def hungarian(a, b, *, classes):
    """The largest sum of tIoU over one-to-one pairs, clip by clip and track by track."""
    total = 0.0
    for key in set(zip(a.annotation_index, a.track, strict=True)):
        left, right = (np.flatnonzero((one.annotation_index == key[0]) & (one.track == key[1])) for one in (a, b))
        shared = np.minimum.outer(a.end_us[left], b.end_us[right]) - np.maximum.outer(
            a.start_us[left], b.start_us[right]
        )
        union = np.maximum.outer(a.end_us[left], b.end_us[right]) - np.minimum.outer(
            a.start_us[left], b.start_us[right]
        )
        tiou = np.maximum(shared, 0) / union
        if classes:
            tiou = tiou * np.equal.outer(a.action[left], b.action[right])
        rows, columns = linear_sum_assignment(tiou, maximize=True)
        total += tiou[rows, columns].sum()
    return total


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_matches_are_the_hungarian_optimum(random_units, seed, classes):
    rng = np.random.default_rng(seed)
    a, b = random_units(rng), random_units(rng)
    assert match_phases(a, b, same_class=classes).tiou.sum() == pytest.approx(
        hungarian(a, b, classes=classes), abs=1e-6
    )


@pytest.mark.parametrize("seed", range(3))
def test_each_phase_has_one_partner_at_most(random_units, seed):
    rng = np.random.default_rng(seed)
    a, b = random_units(rng), random_units(rng)
    found = match_phases(a, b)
    assert len(set(found.a)) == len(found.a) == len(set(found.b))


@pytest.mark.parametrize("seed", range(3))
def test_matching_is_symmetric(random_units, seed):
    rng = np.random.default_rng(seed)
    a, b = random_units(rng), random_units(rng)
    one, other = match_phases(a, b), match_phases(b, a)
    assert set(zip(one.a, one.b, strict=True)) == set(zip(other.b, other.a, strict=True))


def test_overlaps_are_all_of_them(random_units):
    rng = np.random.default_rng(1)
    a, b = random_units(rng), random_units(rng)
    same = np.equal.outer(a.annotation_index, b.annotation_index) & np.equal.outer(a.track, b.track)
    over = np.less.outer(a.start_us, b.end_us) & np.greater.outer(a.end_us, b.start_us)
    found = overlapping_pairs(a, b)
    assert set(zip(found.a, found.b, strict=True)) == set(zip(*np.nonzero(same & over), strict=True))


def test_spans_that_only_touch_do_not_overlap(units):
    assert not len(overlapping_pairs(units(("head", "nod", 0, 1)), units(("head", "nod", 1, 2))).a)


def test_other_tracks_are_not_matched(units):
    assert not len(match_phases(units(("head", "nod", 0, 1)), units(("gaze", "nod", 0, 1))).a)


def test_other_classes_are_matched_by_track_alone(units):
    a, b = units(("head", "nod", 0, 1)), units(("head", "turn_head", 0, 1))
    assert (len(match_phases(a, b).a), len(match_phases(a, b, same_class=True).a)) == (1, 0)


def test_two_weaker_pairs_win_over_one_stronger(units):
    a = units(("head", "nod", 0, 1.0), ("head", "nod", 1.0, 2.0))
    b = units(("head", "nod", 0.5, 1.6), ("head", "nod", 1.6, 2.0))
    assert set(zip(match_phases(a, b).a, match_phases(a, b).b, strict=True)) == {(0, 0), (1, 1)}


def test_what_stands_beside_a_clip_changes_nothing(random_units):
    rng = np.random.default_rng(3)
    a, b = random_units(rng), random_units(rng)
    alone = match_phases(a.take(np.array([7])), b.take(np.array([7]))).tiou
    assert match_phases(a, b).tiou[a.annotation_index[match_phases(a, b).a] == 7].tolist() == alone.tolist()


def test_replies_that_are_not_ok_are_left_out(annotation):
    failed = annotation(clip="c1", status="truncated", base=None)
    assert phase_arrays([annotation(clip="c0"), failed]).clip_ids.tolist() == ["c0"]


def test_clips_are_paired_in_any_order_and_any_blocks(random_units):
    rng = np.random.default_rng(0)
    a = random_units(rng, clips=30)
    order = rng.permutation(30)[:25]
    blocks_a = [a.take(np.arange(k, k + 10)) for k in (0, 10, 20)]
    blocks_b = [a.take(order[k : k + 5]) for k in range(0, 25, 5)]
    seen = []
    for x, y in align_by_clip(blocks_a, blocks_b):
        assert x.clip_ids.tolist() == y.clip_ids.tolist()
        assert match_phases(x, y).tiou.tolist() == [1.0] * len(x)
        seen += x.clip_ids.tolist()
    assert sorted(seen) == sorted(a.clip_ids[order])


def test_the_first_of_k_samples_speaks_for_a_layer(annotation):
    samples = [annotation(("head", "nod", 0, k + 1), layer="raw", sample_index=k) for k in range(3)]
    assert keep_first_samples(phase_arrays(samples)).end_us.tolist() == [1_000_000]


def test_joining_keeps_phases_with_their_clips(random_units):
    a = random_units(np.random.default_rng(0), clips=6)
    both = concatenate(a.take(np.arange(4)), a.take(np.arange(4, 6)))
    assert (both.annotation_index == a.annotation_index).all() and (both.clip_ids == a.clip_ids).all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("start_us", 3_000_000, "start < end"), ("end_us", 2_500_000, "do not overlap"), ("confidence", 7.0, "0 to 1")],
)
def test_phases_that_no_record_would_hold_are_refused(annotation, tmp_path, column, value, message):
    import pyarrow.parquet as pq

    from xsheet.schemas.errors import ContractError
    from xsheet.schemas.layers import write_layer
    from xsheet.schemas.run import Run
    from xsheet.schemas.tables import ANNOTATIONS, arrow_schema

    given_phases = (("head", "nod", 0, 1), ("head", "nod", 2, 3))
    stored = write_layer(
        tmp_path, Run(run_id="run_a", kind="truth", tool_version="1"), "gold",
        [annotation(*given_phases, confidences=(0.5, 0.5))],
    )  # fmt: skip
    rows = pq.read_table(stored.files[0]).to_pylist()
    rows[0]["phases"][0][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema(ANNOTATIONS)), stored.files[0])
    with pytest.raises(ContractError, match=message):
        list(layer_phase_arrays(stored))


def test_an_empty_layer_has_no_annotations(tmp_path):
    from xsheet.schemas.layers import write_layer
    from xsheet.schemas.run import Run

    stored = write_layer(tmp_path, Run(run_id="run_a", kind="truth", tool_version="1"), "gold", [])
    assert [block.annotation_count for block in layer_phase_arrays(stored)] == [0]


def test_a_stored_layer_gives_the_columns_of_its_records(annotation, tmp_path):
    from xsheet.schemas.layers import write_layer
    from xsheet.schemas.run import Run

    message = [
        annotation(("head", "nod", 0.4, 1.2), ("arm_left", "wave", 0, 2), clip="c0", confidences=(0.5, None)),
        annotation(clip="c1"),
        annotation(clip="c2", status="invalid", base=None),
        annotation(("gaze", "look_away", 1, 2), clip="c3"),
    ]
    stored = write_layer(tmp_path, Run(run_id="run_a", kind="truth", tool_version="1"), "gold", message)
    (found,), expected = layer_phase_arrays(stored), phase_arrays(message)
    for name in (
        "clip_ids",
        "sample_index",
        "duration_us",
        "annotation_index",
        "track",
        "action",
        "start_us",
        "end_us",
        "confidence",
    ):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
