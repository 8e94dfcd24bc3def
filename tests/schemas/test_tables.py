import json
import runpy
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xsheet.schemas import tables
from xsheet.schemas.clip import Signals
from xsheet.schemas.columns import columns, iter_fields
from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.source import Shot
from xsheet.schemas.tables import SHOTS, SIGNALS, TABLES, Table

GOLDEN = Path(__file__).parents[1] / "golden" / "schemas"
every_table = pytest.mark.parametrize("table", TABLES, ids=[t.name for t in TABLES])


def shots(count, start=0):
    return [
        Shot(shot_id=f"s{i}", source_id="x", start_us=i * 10, end_us=i * 10 + 10, opens_with="cut")
        for i in range(start, start + count)
    ]


def version_of(major, minor, **changes):
    return Table("shots", Shot, (major, minor), **changes)


@every_table
def test_a_round_trip_through_parquet_is_the_identity(table, examples, tmp_path):
    tables.write_table(tmp_path, table, examples[table.name])
    assert list(tables.iter_records(tmp_path, table)) == examples[table.name]


@every_table
def test_schema_is_the_golden_one(table):
    golden = json.loads((GOLDEN / f"{table.name}.json").read_text())
    assert tables.schema_dict(table) == golden, "bump the version, write CHANGELOG.md, then `make contract`"


def test_the_contract_page_is_current(root):
    page = runpy.run_path(str(root / "docs" / "make_contract.py"))["contract_markdown"]()
    assert (root / "docs" / "data-contract.md").read_text() == page, "run `make contract`"


@every_table
def test_every_field_says_what_it_means(table):
    assert not [path for path, column in iter_fields(table.record) if not column.description]


@every_table
def test_no_column_is_a_map_which_datasets_cannot_read(table):
    assert "map<" not in str(tables.arrow_schema(table))


@pytest.mark.slow
@every_table
def test_pandas_polars_duckdb_and_datasets_read_it(table, examples, tmp_path):
    import datasets
    import duckdb
    import pandas as pd
    import polars as pl

    rows = examples[table.name]
    tables.write_table(tmp_path, table, rows)
    files = str(tmp_path / table.name / "*.parquet")
    names = [column.name for column in columns(table.record)]
    hugging_face = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    read = {
        "pandas": pd.read_parquet(tmp_path / table.name),
        "polars": pl.read_parquet(files).to_pandas(),
        "duckdb": duckdb.sql(f"select * from '{files}'").df(),
        "datasets": hugging_face.to_pandas(),
    }
    for reader, frame in read.items():
        assert list(frame.columns) == names, reader
        assert list(frame[names[0]]) == [getattr(row, names[0]) for row in rows], reader


def test_nested_phases_arrive_in_the_readers_with_their_numbers(examples, tmp_path):
    import duckdb

    tables.write_table(tmp_path, tables.ANNOTATIONS, examples["annotations"])
    files = tmp_path / "annotations" / "*.parquet"
    query = f"select unnest(phases, recursive := true) from '{files}'"
    found = duckdb.sql(f"select start_us, track, evidence from ({query}) order by start_us").fetchall()
    assert [(start, track) for start, track, _ in found] == [(400_000, "head"), (1_200_000, "head")]


def test_the_same_records_give_the_same_bytes(examples, tmp_path):
    for name in ("a", "b"):
        tables.write_table(tmp_path / name, tables.ANNOTATIONS, examples["annotations"])
    first, second = (tables.part_path(tmp_path / n, tables.ANNOTATIONS, 0).read_bytes() for n in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 25])
def test_a_long_table_is_written_in_parts_and_read_back_in_order(rows, tmp_path):
    table = version_of(1, 0, rows_per_part=10)
    assert tables.write_table(tmp_path, table, iter(shots(rows))) == rows
    assert list(tables.iter_records(tmp_path, table)) == shots(rows)
    assert len(tables.part_files(tmp_path, table)) == max(1, -(-rows // 10))


def test_a_shorter_table_leaves_no_part_of_the_longer_one(tmp_path):
    table = version_of(1, 0, rows_per_part=10)
    tables.write_table(tmp_path, table, shots(25))
    tables.write_table(tmp_path, table, shots(5))
    assert list(tables.iter_records(tmp_path, table)) == shots(5)


def test_a_table_that_is_not_there_yet_is_empty(tmp_path):
    assert tables.read_table(tmp_path, SHOTS).schema.names == tables.arrow_schema(SHOTS).names
    assert tables.read_table(tmp_path, SHOTS, ["start_us"]).num_rows == 0


def test_a_failed_write_leaves_the_old_table_and_no_litter(tmp_path):
    tables.write_table(tmp_path, SHOTS, shots(3))

    def broken():
        yield from shots(2)
        raise RuntimeError("source of rows broke")

    with pytest.raises(RuntimeError, match="broke"):
        tables.write_table(tmp_path, SHOTS, broken())
    assert list(tables.iter_records(tmp_path, SHOTS)) == shots(3)
    assert [p.name for p in (tmp_path / "shots").iterdir()] == ["part-00000.parquet"]


class TestVersions:
    def test_another_major_is_refused_naming_both_and_the_remedy(self, tmp_path):
        tables.write_table(tmp_path, SHOTS, shots(1))
        with pytest.raises(
            ContractError, match=r"expected table 'shots' v2\.0, got v1\.0; run `xsheet schemas upgrade"
        ):
            tables.read_table(tmp_path, version_of(2, 0))

    def test_a_newer_file_asks_for_a_newer_xsheet(self, tmp_path):
        tables.write_table(tmp_path, version_of(1, 3), shots(1))
        with pytest.raises(ContractError, match="install the version of xsheet that wrote it"):
            tables.read_table(tmp_path, SHOTS)

    def test_an_older_minor_is_read_with_nulls(self, examples, tmp_path):
        # duplicate_of is nullable: a file without it stands for a minor version that did not have it yet.
        rows = tables.to_arrow(examples["sources"], tables.SOURCES).drop_columns(["duplicate_of"])
        path = tables.part_path(tmp_path, tables.SOURCES, 0)
        path.parent.mkdir()
        pq.write_table(rows, path)
        newer = Table("sources", tables.SOURCES.record, (1, 1))
        assert list(tables.iter_records(tmp_path, newer)) == examples["sources"]

    def test_signals_without_shapes_of_hands_are_read_and_upgraded(self, tmp_path):
        signals = Signals(clip_id="c", frames=2, extractor="e", wrist_left_x=(0.5, None))
        shapes = [name for name in tables.arrow_schema(SIGNALS).names if name.startswith(("palm_", "hands_"))]
        before = Table("signals", Signals, (1, 0))
        path = tables.part_path(tmp_path, SIGNALS, 0)
        path.parent.mkdir()
        pq.write_table(tables.to_arrow([signals], before).drop_columns(shapes), path)
        assert list(tables.iter_records(tmp_path, SIGNALS)) == [signals]
        assert tables.upgrade_file(path, SIGNALS)
        assert pq.read_schema(path).names == tables.arrow_schema(SIGNALS).names

    def test_upgrade_runs_the_steps_between_the_majors(self, tmp_path):
        tables.write_table(tmp_path, SHOTS, shots(2))

        def late_start(rows: pa.Table) -> pa.Table:
            starts = pa.compute.add(rows["start_us"], 1)
            return rows.set_column(rows.schema.get_field_index("start_us"), rows.schema.field("start_us"), starts)

        third = version_of(3, 0, upgrades=(late_start, late_start))
        path = tables.part_path(tmp_path, SHOTS, 0)
        assert tables.upgrade_file(path, third)
        assert [shot.start_us for shot in tables.iter_records(tmp_path, third)] == [2, 12]
        assert not tables.upgrade_file(path, third)

    def test_an_upgraded_file_has_the_row_groups_of_the_table(self, tmp_path):
        path = tmp_path / "part.parquet"
        tables.write_file(path, SHOTS, shots(25))
        assert tables.upgrade_file(path, version_of(2, 0, upgrades=(lambda rows: rows,), rows_per_group=10))
        assert tables.read_footer(path).num_row_groups == 3

    def test_upgrade_without_a_way_says_so_and_changes_nothing(self, tmp_path):
        tables.write_table(tmp_path, SHOTS, shots(1))
        path = tables.part_path(tmp_path, SHOTS, 0)
        before = path.read_bytes()
        with pytest.raises(ContractError, match=r"v2\.0, got v1\.0"):
            tables.upgrade_file(path, version_of(2, 0))
        assert path.read_bytes() == before


class TestBadFiles:
    def test_a_file_of_another_table_is_refused(self, examples, tmp_path):
        tables.write_file(tables.part_path(tmp_path, SHOTS, 0), tables.CLIPS, examples["clips"])
        with pytest.raises(ContractError, match="got table 'clips'"):
            tables.read_table(tmp_path, SHOTS)

    def test_a_file_that_is_no_parquet_is_refused(self, tmp_path):
        path = tables.part_path(tmp_path, SHOTS, 0)
        path.parent.mkdir()
        path.write_text("hello")
        with pytest.raises(ContractError, match="expected a Parquet file"):
            tables.read_table(tmp_path, SHOTS)

    def test_a_row_that_breaks_the_contract_is_refused_on_reading(self, tmp_path):
        rows = tables.to_arrow(shots(1), SHOTS)
        path = tables.part_path(tmp_path, SHOTS, 0)
        path.parent.mkdir()
        backwards = rows.set_column(3, rows.schema.field("end_us"), pa.array([0]))
        pq.write_table(backwards, path)
        with pytest.raises(ContractError, match="valid Shot"):
            list(tables.iter_records(tmp_path, SHOTS))

    def test_an_unknown_table_names_the_nearest(self):
        with pytest.raises(ConfigError, match="did you mean 'annotations'"):
            tables.find_table("anotation")


@pytest.mark.parametrize("rows", [range(0), range(3), range(249, 252), range(900, 1000), range(1000)])
def test_a_slice_of_a_file_is_those_rows_of_it(tmp_path, rows):
    table = version_of(*SHOTS.version, rows_per_group=250)
    tables.write_file(tmp_path / "part.parquet", table, shots(1000))
    footer = tables.read_footer(tmp_path / "part.parquet")
    assert footer.num_row_groups == 4  # what is decoded for one row is a quarter of the file
    for known in (None, footer):
        found = tables.from_arrow(tables.read_slice(tmp_path / "part.parquet", table, rows, footer=known), table)
        assert found == shots(len(rows), start=rows.start)


def test_columns_written_at_once_have_the_row_groups_of_the_table(tmp_path):
    table = version_of(*SHOTS.version, rows_per_group=10)
    tables.write_arrow(tmp_path, table, [tables.to_arrow(shots(25), table)])
    assert tables.read_footer(tables.part_path(tmp_path, table, 0)).num_row_groups == 3


def test_a_slice_beyond_the_end_of_a_file_is_refused(tmp_path):
    tables.write_file(tmp_path / "part.parquet", SHOTS, [])
    with pytest.raises(ContractError, match="expected 2 rows, got 0"):
        tables.read_slice(tmp_path / "part.parquet", SHOTS, range(2))


def rewritten(path, change, metadata=None):
    """The file with other columns, or another version, in the same schema metadata."""
    rows = pq.read_table(path, partitioning=None)
    kept = {**rows.schema.metadata, **(metadata or {})}
    pq.write_table(change(rows).replace_schema_metadata(kept), path)


def with_nulls(rows):
    at = rows.column_names.index("start_us")
    return rows.set_column(at, pa.field("start_us", pa.int64()), pa.nulls(rows.num_rows, pa.int64()))


@pytest.mark.parametrize(
    ("change", "metadata", "says"),
    [
        (lambda rows: rows.drop_columns(["start_us"]), {}, "start_us: expected a column int64, got none"),
        (lambda rows: rows.set_column(0, "shot_id", pa.array([[1]] * 3)), {}, "shot_id: expected a column string"),
        (lambda rows: rows.set_column(2, "start_us", pa.array(["x"] * 3)), {}, "start_us: expected a column int64"),
        (with_nulls, {}, "start_us: expected a column int64, got 3 nulls"),
        (lambda rows: rows, {b"xsheet.version": b"one.\xff"}, "its version in the metadata"),
    ],
    ids=["missing", "nested", "type", "nulls", "version"],
)
def test_a_table_that_is_not_as_declared_ends_in_a_sentence(tmp_path, change, metadata, says):
    tables.write_table(tmp_path, SHOTS, shots(3))
    path = tmp_path / "shots/part-00000.parquet"
    rewritten(path, change, metadata)
    for read in (tables.read_table, lambda *arguments: list(tables.iter_records(*arguments))):
        with pytest.raises(ContractError, match=says):
            read(tmp_path, SHOTS)


@pytest.mark.slow
def test_no_flipped_byte_of_a_table_ends_in_a_traceback(tmp_path):
    tables.write_table(tmp_path, SHOTS, shots(300))
    path = tmp_path / "shots/part-00000.parquet"
    data = path.read_bytes()
    refused = 0
    for at in range(4, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            list(tables.iter_records(tmp_path, SHOTS))
        except ContractError:
            refused += 1
    assert refused > 10
