"""The curation report: one HTML page without scripts, fonts or files beside it.

File names, messages and tags on it are untrusted: every value is escaped, and the page forbids all scripts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xsheet.curate.report.applied_limits import (
    AppliedLimit,
    applied_limits,
    limits_of_verdicts,
    read_manifests,
    reason_order,
)
from xsheet.curate.report.candidates import CandidateTable, read_candidates
from xsheet.curate.report.charts import candidate_funnel_steps, measurement_histogram, video_funnel_steps
from xsheet.curate.report.contact_sheets import ContactSheets
from xsheet.curate.report.duplicates import duplicate_groups, split_rows
from xsheet.curate.report.funnel import Funnel, compute_funnel
from xsheet.curate.report.timing import time_breakdown
from xsheet.curate.report.wording import measurement_title, reason_text
from xsheet.pages.environment import page_environment
from xsheet.schemas import tables
from xsheet.schemas.files import write_text
from xsheet.schemas.sets import open_set
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.time import US_PER_S

MAX_FILE_ROWS = 500
"""Rows of a list of files; the table `sources` has all of them."""
MAX_DUPLICATE_GROUPS = 50
"""Groups of near duplicates on the page."""


def write_report(set_folder: Path, out: Path) -> Funnel:
    """Write the page, atomically; the same set gives the same bytes.

    Args:
        set_folder: the set; the section of a missing table is empty.
        out: the file, e.g. SET/report.html; pictures link to the clips if it lies inside the set.

    Returns:
        The funnel that the page shows.

    Raises:
        ContractError: no set, or a table that this code does not read.
    """
    info = open_set(set_folder)
    candidates, limits = read_candidates(set_folder), limits_of_verdicts(set_folder)
    applied = applied_limits(limits)
    funnel = compute_funnel(set_folder, candidates, applied, reason_order=reason_order(limits))
    filters = {"reason_text": reason_text, "measurement_title": measurement_title}
    template = page_environment("xsheet.curate.report", filters=filters).get_template("page.html")
    text = template.render(
        name=info.name,
        funnel=funnel,
        max_only_reason_us=max([1, *(cost.as_only_reason.duration_us for cost in funnel.reason_costs)]),
        video_funnel_steps=video_funnel_steps(funnel),
        candidate_funnel_steps=candidate_funnel_steps(funnel),
        histograms=[
            histogram
            for path in candidates.values
            if (histogram := measurement_histogram(candidates, path, applied)) is not None
        ],
        applied_limits=applied,
        limits_sha256="" if limits is None else settings_sha256(limits),
        **_contact_sheets(set_folder, candidates, applied, page=out),
        failed_files=_file_list(set_folder, predicate=lambda rows: pc.equal(rows["status"], "failed")),
        rejected_files=_file_list(set_folder, predicate=lambda rows: pc.equal(rows["status"], "rejected")),
        duplicate_files=_file_list(set_folder, predicate=lambda rows: pc.is_valid(rows["duplicate_of"])),
        duplicate_groups=duplicate_groups(set_folder),
        max_groups=MAX_DUPLICATE_GROUPS,
        splits=split_rows(set_folder),
        time_breakdown=time_breakdown(read_manifests(set_folder), video_s=funnel.usable.duration_us / US_PER_S),
    )
    write_text(out, text)
    return funnel


def _contact_sheets(
    set_folder: Path, candidates: CandidateTable, limits: Sequence[AppliedLimit], *, page: Path
) -> dict[str, Any]:
    sheets = ContactSheets(set_folder, candidates, page=page)
    kept = sheets.kept()
    borderline = [sheets.borderline(limit) for limit in limits]
    rejected = [
        sheets.rejected(reason, [limit for limit in limits if limit.rule.reason == reason])
        for reason in candidates.reasons.names
    ]
    return {
        "kept": kept,
        "borderline": sorted(
            (pair for pair in borderline if pair[0].entries or pair[1].entries), key=lambda pair: -pair[1].total
        ),
        "rejected": sorted(rejected, key=lambda sheet: -sheet.total),
    }


@dataclass(frozen=True, slots=True)
class FileList:
    """Rows of the table `sources`, and the number of rows left out."""

    rows: list[dict[str, Any]]
    omitted: int


def _file_list(set_folder: Path, *, predicate: Callable[[pa.Table], pa.ChunkedArray]) -> FileList:
    columns = ["path", "status", "stage", "reason", "message", "duplicate_of"]
    rows = tables.read_table(set_folder, tables.SOURCES, columns)
    chosen = rows.filter(predicate(rows))
    return FileList(chosen.slice(0, MAX_FILE_ROWS).to_pylist(), max(0, len(chosen) - MAX_FILE_ROWS))
