"""The candidates of a set as columns: ids, verdicts and measurements.

Parts are read one by one into plain arrays: a million candidates with thirty measurements take some 400 MB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xsheet.curate.filter.columns import measure_values
from xsheet.curate.filter.decide import FILTER_RULES, SCORERS
from xsheet.schemas import tables

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Values = NDArray[np.float64]
_UNLIMITED_SYNC_FIELDS = ("offset_frames", "windows")  # measured, but without a limit
MEASUREMENTS: tuple[str, ...] = tuple(
    dict.fromkeys(
        (
            *(rule.measure_path for rule in FILTER_RULES if not rule.measure_path.startswith("motion.")),
            *(f"sync.{scorer}.{name}" for scorer in SCORERS for name in _UNLIMITED_SYNC_FIELDS),
            *(rule.measure_path for rule in FILTER_RULES),
        )
    )
)
"""Paths of all measurements on the report, each once."""
_ID_COLUMNS = ("clip_id", "source_id", "start_us", "end_us")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CandidateReasons:
    """All reasons of all candidates: candidate `rows[i]` has the reason `names[codes[i]]`.

    The reasons of a candidate are adjacent, in the order of the limits.
    """

    names: tuple[str, ...]
    rows: Ints
    codes: Ints


@dataclass(frozen=True, eq=False, kw_only=True)
class CandidateTable:
    """N candidates in stored order."""

    clip_ids: pa.Array  # (N,) string
    source_ids: pa.Array  # (N,) dictionary of string
    start_us: Ints  # (N,)
    end_us: Ints  # (N,)
    has_verdict: Bools  # (N,)
    kept: Bools  # (N,)
    reasons: CandidateReasons
    values: dict[str, Values]  # (N,) by measurement path; NaN: not measured

    def __len__(self) -> int:
        return len(self.start_us)

    @cached_property
    def duration_us(self) -> Ints:
        """(N,) durations."""
        return self.end_us - self.start_us

    @cached_property
    def reason_count(self) -> Ints:
        """(N,) number of reasons of each."""
        return np.bincount(self.reasons.rows, minlength=len(self))

    def rows_failing(self, reason: str, *, only: bool = False) -> Ints:
        """Candidates with a reason; with `only`, those without any other reason."""
        if reason not in self.reasons.names:
            return np.empty(0, np.int64)
        rows: Ints = self.reasons.rows[self.reasons.codes == self.reasons.names.index(reason)]
        return rows[self.reason_count[rows] == 1] if only else rows


def read_candidates(set_folder: Path, *, measurements: Sequence[str] = MEASUREMENTS) -> CandidateTable:
    """Read all candidates of a set; an empty table if it has no measures yet.

    Args:
        set_folder: the set.
        measurements: paths of the measurements to read.

    Raises:
        ContractError: a table that this code does not read.
    """
    verdicts = tables.read_table(set_folder, tables.VERDICTS, ["clip_id", "kept", "reasons"]).combine_chunks()
    ids: list[pa.Table] = []
    verdict_rows: list[pa.Table] = []
    numbers: list[dict[str, Values]] = []
    row_count = 0
    for path in tables.part_files(set_folder, tables.MEASURES):
        part = tables.read_file(path, tables.MEASURES, None if measurements else _ID_COLUMNS)
        ids.append(part.select(_ID_COLUMNS))
        verdict_rows.append(_verdicts_for(part["clip_id"], verdicts, offset=row_count))
        row_count += len(part)
        numbers.append({path: measure_values(part, path) for path in measurements})
    if not ids:
        ids.append(tables.read_table(set_folder, tables.MEASURES, _ID_COLUMNS))
        verdict_rows.append(verdicts.slice(0, 0))
    return _build_candidates(pa.concat_tables(ids), pa.concat_tables(verdict_rows), _concatenate_values(numbers))


def _build_candidates(ids: pa.Table, verdicts: pa.Table, values: dict[str, Values]) -> CandidateTable:
    reasons = pc.fill_null(verdicts["reasons"].combine_chunks(), [])
    flat = pc.list_flatten(reasons).dictionary_encode()
    return CandidateTable(
        clip_ids=ids["clip_id"].combine_chunks(),
        source_ids=ids["source_id"].combine_chunks().dictionary_encode(),
        start_us=ids["start_us"].to_numpy(),
        end_us=ids["end_us"].to_numpy(),
        has_verdict=pc.is_valid(verdicts["kept"]).to_numpy(),
        kept=pc.fill_null(verdicts["kept"], False).to_numpy(),
        reasons=CandidateReasons(
            names=tuple(flat.dictionary.to_pylist()),
            rows=pc.list_parent_indices(reasons).to_numpy(),
            codes=flat.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        ),
        values=values,
    )


def _verdicts_for(clip_ids: pa.ChunkedArray, verdicts: pa.Table, *, offset: int) -> pa.Table:
    """Verdicts in the order of the measures; null without a verdict."""
    same = verdicts.slice(offset, len(clip_ids))
    if same["clip_id"].equals(clip_ids):
        return same
    return verdicts.take(pc.index_in(clip_ids, value_set=verdicts["clip_id"].combine_chunks()))


def _concatenate_values(parts: Sequence[dict[str, Values]]) -> dict[str, Values]:
    return {path: np.concatenate([part[path] for part in parts]) for path in (parts[0] if parts else ())}
