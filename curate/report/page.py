"""The report of a set as one HTML page that needs nothing but itself: no script, no font, no file beside it.

The page belongs to whoever opens it, while file names, messages and tags in it were chosen by strangers: the template
escapes every value, controls and text that turns the line around are spelled out, and the page forbids its own scripts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from xsheet.curate.report.applied_limits import (
    AppliedLimit,
    applied_limits,
    limits_of_verdicts,
    read_manifests,
    reason_order,
)
from xsheet.curate.report.candidates import CandidateTable, read_candidates
from xsheet.curate.report.charts import build_histogram, candidate_funnel_steps, video_funnel_steps
from xsheet.curate.report.contact_sheets import ContactSheets
from xsheet.curate.report.duplicates import duplicate_groups, split_rows
from xsheet.curate.report.funnel import Funnel, compute_funnel
from xsheet.curate.report.timing import time_breakdown
from xsheet.curate.report.wording import format_duration, measurement_title, printable, reason_text
from xsheet.schemas import tables
from xsheet.schemas.sets import open_set
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.tables import write_text
from xsheet.schemas.time import US_PER_S

MAX_FILE_ROWS = 500
"""Of a table of files; the tables of the set have the rest."""
MAX_DUPLICATE_GROUPS = 50
"""Groups of near duplicates on the page."""


def write_report(set_folder: Path, out: Path) -> Funnel:
    """Write the page, atomically; the same set gives the same bytes.

    Args:
        set_folder: the set; tables that it does not have yet leave their part of the page empty.
        out: the file, e.g. SET/report.html. Inside the set its pictures lead to the clips.

    Returns:
        What it counted.

    Raises:
        ContractError: no set, or a table that this code does not read.
    """
    info = open_set(set_folder)
    found, limits = read_candidates(set_folder), limits_of_verdicts(set_folder)
    set_gauges = applied_limits(limits)
    counted = compute_funnel(set_folder, found, set_gauges)
    order = reason_order(limits)
    text = _template().render(
        name=info.name,
        funnel=counted,
        max_only_reason_us=max(1, *(cost.as_only_reason.duration_us for cost in counted.reason_costs))
        if counted.reason_costs
        else 1,
        video_funnel_steps=video_funnel_steps(counted),
        candidate_funnel_steps=candidate_funnel_steps(counted, order),
        histograms=[h for path in found.values if (h := build_histogram(found, path, set_gauges)) is not None],
        applied_limits=set_gauges,
        limits_sha256="" if limits is None else settings_sha256(limits),
        **_contact_sheets(set_folder, found, set_gauges, page=out),
        failed_files=_file_list(set_folder, predicate=lambda rows: pc.equal(rows["status"], "failed")),
        rejected_files=_file_list(set_folder, predicate=lambda rows: pc.equal(rows["status"], "rejected")),
        duplicate_files=_file_list(set_folder, predicate=lambda rows: pc.is_valid(rows["duplicate_of"])),
        duplicate_groups=duplicate_groups(set_folder),
        max_groups=MAX_DUPLICATE_GROUPS,
        splits=split_rows(set_folder),
        time_breakdown=time_breakdown(read_manifests(set_folder), video_s=counted.usable.duration_us / US_PER_S),
    )
    write_text(out, text)
    return counted


def _contact_sheets(
    set_folder: Path, found: CandidateTable, set_gauges: Sequence[AppliedLimit], *, page: Path
) -> dict[str, Any]:
    sheets = ContactSheets(set_folder, found, page=page)
    kept = sheets.kept()
    borderline = [sheets.borderline(gauge) for gauge in set_gauges]
    rejected = [
        sheets.rejected(reason, [gauge for gauge in set_gauges if gauge.rule.reason == reason])
        for reason in found.reasons.names
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
    """Some rows of the sources, and how many more there are."""

    rows: list[dict[str, Any]]
    omitted: int


def _file_list(set_folder: Path, *, predicate: Callable[[pa.Table], pa.ChunkedArray]) -> FileList:
    columns = ["path", "status", "stage", "reason", "message", "duplicate_of"]
    rows = tables.read_table(set_folder, tables.SOURCES, columns)
    chosen = rows.filter(predicate(rows))
    return FileList(chosen.slice(0, MAX_FILE_ROWS).to_pylist(), max(0, len(chosen) - MAX_FILE_ROWS))


# ---- words and numbers of the template


def _template() -> Template:
    here = files("xsheet.curate.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_escape_controls, trim_blocks=True)
    environment.filters |= {
        "hours": _format_hours,
        "duration": format_duration,
        "percent": _format_percent,
        "share": _format_css_share,
        "count": _format_count,
        "reason_text": reason_text,
        "measurement_title": measurement_title,
    }
    environment.globals["css"] = Markup((here / "page.css").read_text(encoding="utf-8"))
    return environment.from_string((here / "page.html").read_text(encoding="utf-8"))


def _escape_controls(value: object) -> object:
    """Of every value, before it is escaped: escaping alone lets controls through."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _format_hours(hours: float, of: float = 0.0) -> str:
    """A length; beside a whole that is told in hours, in hours too."""
    return f"{hours:.3g} h" if 1 <= of < 100 else format_duration(hours * 3600)


def _format_percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.3g} %" if share < 0.9995 else "100 %"


def _format_css_share(share: float) -> str:
    return f"{100 * share:.2f}%"


def _format_count(count: int) -> str:
    return f"{count:,}"
