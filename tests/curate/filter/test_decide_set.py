"""Deciding a whole set, again and part by part."""

from dataclasses import replace

import pyarrow as pa
import pytest
from candidate_rows import (
    good,
    motion,
    preset,
)

from xsheet.curate.filter.columns import measure_values
from xsheet.curate.filter.decide import decide, decide_set
from xsheet.schemas.errors import ContractError
from xsheet.schemas.tables import (
    MEASURES,
    VERDICTS,
    iter_records,
    read_table,
    to_arrow,
    write_arrow,
    write_table,
)


def test_deciding_a_set_again_reports_changes(tmp_path):
    rows = [good(k, face__height_px=float(60 * k)) for k in range(8)]  # 0, 60, ... 420 px, 5 s each
    write_table(tmp_path, MEASURES, rows)
    first = decide_set(tmp_path, preset("keep"))
    assert (first.all.clips, first.kept.clips, first.without_previous_verdict.clips, first.newly_kept.clips) == (
        8,
        6,
        8,
        0,
    )
    assert first.reasons == {"face_small": 2}
    second = decide_set(tmp_path, preset("keep", "face.min_height_px=250"))
    assert (
        second.kept.clips,
        second.without_previous_verdict.clips,
        second.newly_kept.clips,
        second.newly_rejected.clips,
    ) == (3, 0, 0, 3)
    assert second.newly_rejected.duration_us == 15_000_000
    third = decide_set(tmp_path, preset("keep"))
    assert (third.newly_kept.clips, third.newly_rejected.clips) == (3, 0)
    assert [v.kept for v in iter_records(tmp_path, VERDICTS)] == [False, False] + [True] * 6


def test_a_candidate_that_comes_before_the_known_ones_is_the_only_new_one(tmp_path):
    rows = [good(k, face__height_px=float(60 * k)) for k in range(8)]
    write_table(tmp_path, MEASURES, rows[1:])
    decide_set(tmp_path, preset("keep"))
    write_table(tmp_path, MEASURES, rows)
    again = decide_set(tmp_path, preset("keep", "face.min_height_px=250"))
    assert (again.without_previous_verdict.clips, again.newly_rejected.clips, again.kept.clips) == (1, 3, 3)


def test_a_set_of_many_parts_is_decided_like_one_table(tmp_path):
    rows = [good(k, face__height_px=float(40 * k)) for k in range(25)]
    small = replace(MEASURES, rows_per_part=7)
    write_table(tmp_path, small, rows)
    decide_set(tmp_path, preset("keep"))
    assert len(list((tmp_path / "verdicts").iterdir())) == 4
    assert read_table(tmp_path, VERDICTS).equals(decide(to_arrow(rows, MEASURES), preset("keep")))


def test_an_empty_set_can_be_decided(tmp_path):
    write_table(tmp_path, MEASURES, [])
    assert decide_set(tmp_path, preset("keep")).all.clips == 0
    assert read_table(tmp_path, VERDICTS).num_rows == 0


def test_measures_are_the_same_from_a_slice():
    rows = to_arrow([good(k, motion=(motion("head", float(k)),)) for k in range(5)], MEASURES)
    sliced = pa.concat_tables([rows[1:3], rows[3:]])
    assert measure_values(sliced, "motion.head.speed_p90").tolist() == [1.0, 2.0, 3.0, 4.0]


def test_rows_of_another_schema_are_not_written(tmp_path):
    with pytest.raises(ContractError, match="verdicts"):
        write_arrow(tmp_path, VERDICTS, [pa.table({"clip_id": ["clip_1"]})])
    assert read_table(tmp_path, VERDICTS).num_rows == 0
