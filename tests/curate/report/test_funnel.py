from dataclasses import replace

import numpy as np
import pytest

from xsheet.curate.report.applied_limits import AppliedLimit, applied_limits, limits_of_verdicts, reason_order
from xsheet.curate.report.candidates import read_candidates
from xsheet.curate.report.funnel import borderline_rows, compute_funnel, cost_rows, stage_rows
from xsheet.schemas import tables
from xsheet.schemas.clip import Verdict
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import NearDuplicate


def counted(folder):
    return compute_funnel(folder, read_candidates(folder), applied_limits(limits_of_verdicts(folder)))


def rows_of(folder):
    measures = list(tables.iter_records(folder, tables.MEASURES))
    return measures, list(tables.iter_records(folder, tables.VERDICTS))


def test_files_are_counted_by_how_they_ended(make_set):
    found = counted(make_set(sources=4, pieces=6, broken=3, twice=2))
    assert (found.files.count, found.failed.count, found.duplicates.count, found.usable.count) == (9, 3, 2, 4)
    assert found.usable.duration_us == 4 * 7 * 5_000_000
    assert found.failure_reasons == {"broken_header": 2, "not_media": 1}


def test_a_file_without_voice_is_rejected_and_its_hours_are_known(make_set):
    folder = make_set(sources=4, broken=0, twice=0)
    rows = list(tables.iter_records(folder, tables.SOURCES))
    mute = replace(rows[0], status="rejected", stage="sound", reason="no_voice")
    tables.write_table(folder, tables.SOURCES, [mute, *rows[1:]])
    found = counted(folder)
    assert (found.rejected.count, found.rejected.duration_us) == (1, rows[0].duration_us)
    assert (found.failed.count, found.usable.count, found.failure_reasons) == (0, 3, {"no_voice": 1})


def test_kept_and_lost_add_up_to_the_candidates(make_set):
    found = counted(make_set(sources=6, pieces=20))
    assert found.candidates == sum((cost.as_first_reason for cost in found.reason_costs), start=found.kept)


def test_each_reason_is_counted_in_all_first_and_alone(make_set):
    folder = make_set(sources=6, pieces=20)
    measures, verdicts = rows_of(folder)
    lasting = {m.clip_id: m.span.duration_us for m in measures}
    for cost in counted(folder).reason_costs:
        against = [v for v in verdicts if cost.reason in v.reasons]
        assert (cost.in_total.count, cost.in_total.duration_us) == (
            len(against),
            sum(lasting[v.clip_id] for v in against),
        )
        assert cost.as_first_reason.count == sum(v.reasons[0] == cost.reason for v in against)
        assert cost.as_only_reason.count == sum(v.reasons == (cost.reason,) for v in against)


@pytest.mark.slow
def test_the_dearest_reason_is_what_would_bring_back_most(make_set, limits):
    folder = make_set(sources=6, pieces=20)
    found = counted(folder)
    lifted = {"face_small": "face.min_height_px=null", "sync_confidence": "sync.lip_audio.min_confidence=null"}
    for reason, override in lifted.items():
        looser = counted(make_set(f"without-{reason}", sources=6, pieces=20, limits=limits(override)))
        (cost,) = (cost for cost in found.reason_costs if cost.reason == reason)
        assert looser.kept.duration_us - found.kept.duration_us == cost.as_only_reason.duration_us
    assert found.costliest_reason.as_only_reason.duration_us == max(
        cost.as_only_reason.duration_us for cost in found.reason_costs
    )


@pytest.mark.slow
def test_verdicts_in_another_order_count_the_same(make_set):
    folder = make_set(sources=3, pieces=20)
    before = counted(folder)
    _, verdicts = rows_of(folder)
    tables.write_table(folder, tables.VERDICTS, verdicts[::-1])
    assert counted(folder) == before


def test_a_candidate_without_a_verdict_is_counted_as_such(make_set):
    folder = make_set(sources=2, pieces=10)
    _, verdicts = rows_of(folder)
    tables.write_table(folder, tables.VERDICTS, verdicts[:-3])
    assert dict(counted(folder).covered_removals)[None].count == 3


@pytest.mark.slow
def test_parts_are_read_as_one(make_set):
    folder = make_set(sources=3, pieces=20)
    before = counted(folder)
    measures, _ = rows_of(folder)
    for part, first in enumerate(range(0, 60, 25)):
        tables.write_file(
            tables.part_path(folder, tables.MEASURES, part), tables.MEASURES, measures[first : first + 25]
        )
    assert counted(folder) == before


def test_two_faces_in_one_span_cover_it_once(make_set, plausible):
    folder = make_set(sources=1, pieces=1)
    (one,), _ = rows_of(folder)
    other = plausible(make_source(folder), type(one.span)(2_000_000, 8_000_000), np.random.default_rng(1))
    tables.write_table(folder, tables.MEASURES, [one, other])
    decided = [
        Verdict(clip_id=one.clip_id, source_id=one.source_id, kept=True, limits_sha256="f" * 64),
        Verdict(clip_id=other.clip_id, source_id=one.source_id, kept=False, reasons=("x",), limits_sha256="f" * 64),
    ]
    tables.write_table(folder, tables.VERDICTS, decided)
    found = compute_funnel(folder, read_candidates(folder))
    assert (found.covered_by_candidates.duration_us, found.candidates.duration_us) == (8_000_000, 11_000_000)
    assert [(name, amount.duration_us) for name, amount in found.covered_removals] == [("x", 3_000_000)]
    assert found.share_kept == 5_000_000 / found.usable.duration_us


def test_identical_files_and_near_duplicates_are_both_stated(make_set):
    folder = make_set(sources=5, twice=1)
    ids = sorted({row.source_id for row in tables.iter_records(folder, tables.SOURCES) if row.status == "ok"})
    pairs = [(ids[0], ids[1]), (ids[1], ids[2]), (ids[3], ids[4])]
    tables.write_table(
        folder, tables.NEAR_DUPLICATES,
        [
            NearDuplicate(
                group=ids[3] if one == ids[3] else ids[0], source_id=one, other_id=other, by="sound", lag_frames=0,
                matched_frames=50, bit_error=0.1,
            )
            for one, other in pairs
        ],
    )  # fmt: skip
    stated = {name: count for name, count, _ in stage_rows(counted(folder))}
    assert (stated["duplicate files"], stated["of these near duplicates"]) == (1, 3)


def make_source(folder):
    return next(tables.iter_records(folder, tables.SOURCES))


@pytest.mark.slow
def test_borderline_candidates_lie_next_to_the_limit_and_nearest_first(make_set):
    folder = make_set(sources=10, pieces=30)
    found, judges = read_candidates(folder), applied_limits(limits_of_verdicts(folder))
    (gauge,) = (g for g in judges if g.rule.measure_path == "face.height_px")
    passing, failing = borderline_rows(found, gauge)
    heights = found.values["face.height_px"]
    assert found.kept[passing].all()
    assert (heights[passing] >= 100).all()
    assert (np.diff(heights[passing]) >= 0).all()
    assert (heights[failing] < 100).all()
    assert (np.diff(found.reason_count[failing] > 1) >= 0).all()
    width = np.diff(np.nanpercentile(heights, (5, 95)))[0]
    assert (np.abs(heights[np.concatenate([passing, failing])] - 100) <= 0.05 * width).all()


def test_an_empty_set_gives_zeros(tmp_path):
    create_set(tmp_path / "set", "nothing")
    found = counted(tmp_path / "set")
    assert {count for _, count, _ in stage_rows(found)} == {0}
    assert (found.reason_costs, found.costliest_reason, found.share_kept) == ((), None, 0.0)


def test_limits_are_found_by_the_hash_that_verdicts_carry(make_set, limits):
    folder = make_set(limits=limits("face.min_height_px=123"))
    assert limits_of_verdicts(folder).face.min_height_px == 123


def test_limits_that_no_manifest_holds_are_not_guessed(make_set):
    folder = make_set()
    _, verdicts = rows_of(folder)
    other = [Verdict(clip_id=v.clip_id, source_id=v.source_id, kept=True, limits_sha256="f" * 64) for v in verdicts]
    tables.write_table(folder, tables.VERDICTS, other)
    assert limits_of_verdicts(folder) is None


def test_a_broken_manifest_is_passed_by(make_set):
    folder = make_set()
    (folder / "manifests" / "00000000-broken.json").write_text("{")
    assert limits_of_verdicts(folder) is not None


def test_reasons_are_ordered_as_verdicts_list_them(make_set):
    folder = make_set(sources=6, pieces=20)
    place = {reason: k for k, reason in enumerate(reason_order(limits_of_verdicts(folder)))}
    for verdict in rows_of(folder)[1]:
        assert [place[r] for r in verdict.reasons] == sorted(place[r] for r in verdict.reasons)


def test_a_gauge_tells_its_limit_with_the_unit(make_set):
    texts = {g.rule.limit_path: g.text for g in applied_limits(limits_of_verdicts(make_set()))}
    assert texts["face.min_height_px"] == "≥ 100 px"
    assert texts["face.max_yaw_abs_deg"] == "≤ 60°"
    assert texts["sound.min_loudness_db"] == "≥ -50 dB"
    assert texts["face.min_share_of_frames"] == "≥ 0.95"


@pytest.mark.parametrize(("sense", "room"), [("min", [-1, 0, 1]), ("max", [1, 0, -1])])
def test_headroom_is_negative_where_a_value_fails(make_set, sense, room):
    (judged,) = {
        g.rule for g in applied_limits(limits_of_verdicts(make_set())) if g.rule.measure_path == "face.height_px"
    }
    gauge = AppliedLimit(type(judged)(judged.reason, judged.measure_path, judged.limit_path, sense), 100.0)
    assert gauge.headroom(np.array([99.0, 100.0, 101.0])).tolist() == room


@pytest.mark.slow
def test_rows_for_a_terminal_have_a_cell_per_head(make_set):
    from xsheet.curate.report.funnel import COST_COLUMNS

    rows = cost_rows(counted(make_set(sources=6, pieces=20)))
    assert rows
    assert {len(row) for row in rows} == {len(COST_COLUMNS)}
