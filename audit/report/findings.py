"""Findings of a layer, counted by check and looked up by annotation."""

# pyarrow.compute creates its functions at import time, invisible to type checkers.
# pyright: reportAttributeAccessIssue=false

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xsheet.audit.report.axis import SEVERITIES
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Finding
from xsheet.schemas.tables import FINDINGS, from_arrow, part_files, read_file


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSummary:
    """Findings of one check."""

    check: str
    severity: vocab.Severity
    findings: int
    phases: int  # distinct
    clips: int
    example: str


class LayerFindings:
    """The findings about one layer; the same finding of several audits counts once."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows

    @classmethod
    def read(cls, set_folder: Path, annotation_ids: Collection[str], *, run_id: str | None) -> "LayerFindings":
        """Findings of one audit run, or with `run_id` None of every audit of these annotations.

        Raises:
            ContractError: a file that this code does not read.
        """
        wanted = pa.array(sorted(annotation_ids), pa.string())
        parts = [read_file(path, FINDINGS) for path in part_files(set_folder, FINDINGS)]
        rows = pa.concat_tables(parts) if parts else None
        if rows is None:
            return cls(pa.table({}))
        about = pc.is_in(rows["annotation_id"], value_set=wanted)
        if run_id is None:
            return cls(_drop_duplicates(rows.filter(about)))
        corpus = pc.is_null(rows["annotation_id"])
        return cls(rows.filter(pc.and_(pc.equal(rows["run_id"], run_id), pc.or_(about, corpus))))

    def __len__(self) -> int:
        return len(self._rows)

    def by_check(self) -> list[CheckSummary]:
        """One row per check and severity, the highest severity and the most findings first."""
        rows: dict[tuple[str, vocab.Severity], list[dict[str, Any]]] = defaultdict(list)
        for row in self._rows_as_dicts("check", "severity", "annotation_id", "phase_id", "clip_id", "message"):
            rows[row["check"], row["severity"]].append(row)
        found = [
            CheckSummary(
                check=check,
                severity=severity,
                findings=len(some),
                phases=len({(row["annotation_id"], row["phase_id"]) for row in some if row["phase_id"] is not None}),
                clips=len({row["clip_id"] for row in some if row["clip_id"] is not None}),
                example=some[0]["message"],
            )
            for (check, severity), some in rows.items()
        ]
        return sorted(found, key=lambda row: (SEVERITIES.index(row.severity), -row.findings, row.check))

    def checks_by_annotation(self) -> dict[str, tuple[str, ...]]:
        """Checks with findings, by annotation id."""
        found: dict[str, set[str]] = defaultdict(set)
        for row in self._rows_as_dicts("annotation_id", "check"):
            if row["annotation_id"] is not None:
                found[row["annotation_id"]].add(row["check"])
        return {annotation_id: tuple(sorted(checks)) for annotation_id, checks in found.items()}

    def error_phase_counts(self) -> dict[str, int]:
        """Number of phases with an error, by annotation id."""
        faulty: dict[str, set[str]] = defaultdict(set)
        for row in self._rows_as_dicts("annotation_id", "phase_id", "severity"):
            if row["severity"] == "error" and row["annotation_id"] is not None and row["phase_id"] is not None:
                faulty[row["annotation_id"]].add(row["phase_id"])
        return {annotation_id: len(phases) for annotation_id, phases in faulty.items()}

    def by_annotation(self, annotation_ids: Collection[str]) -> dict[str, list[Finding]]:
        """Findings of some annotations, the highest severity first."""
        if not len(self):
            return {}
        some = self._rows.filter(pc.is_in(self._rows["annotation_id"], value_set=pa.array(annotation_ids, pa.string())))
        found: dict[str, list[Finding]] = defaultdict(list)
        for finding in from_arrow(some, FINDINGS):
            found[str(finding.annotation_id)].append(finding)
        for of_annotation in found.values():
            of_annotation.sort(key=lambda f: (SEVERITIES.index(f.severity), f.check, f.start_us or 0, f.finding_id))
        return found

    def layer_findings(self) -> Sequence[Finding]:
        """Findings about the layer as a whole."""
        return from_arrow(self._rows.filter(pc.is_null(self._rows["annotation_id"])), FINDINGS) if len(self) else []

    def _rows_as_dicts(self, *columns: str) -> Iterator[dict[str, Any]]:
        if len(self):
            for batch in self._rows.select(list(columns)).to_batches():
                yield from batch.to_pylist()


def _drop_duplicates(rows: pa.Table) -> pa.Table:
    first: dict[str, int] = {}
    for place, finding_id in enumerate(rows["finding_id"].to_pylist()):
        first.setdefault(finding_id, place)
    return rows.take(pa.array(first.values(), pa.int64()))
