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

from xsheet.curate.report.applied_limits import Gauge, gauges, judging_limits, read_manifests, reason_order
from xsheet.curate.report.candidates import Candidates, read_candidates
from xsheet.curate.report.charts import candidate_steps, histogram, picture_steps
from xsheet.curate.report.contact_sheets import Sheets
from xsheet.curate.report.duplicates import near_groups, split_rows
from xsheet.curate.report.funnel import Funnel, funnel
from xsheet.curate.report.timing import spent
from xsheet.curate.report.wording import lasting, printable, title_of, words
from xsheet.schemas import tables
from xsheet.schemas.sets import open_set
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.tables import write_text
from xsheet.schemas.time import US_PER_S

MAX_ROWS = 500
"""Of a table of files; the tables of the set have the rest."""
MAX_GROUPS = 50
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
    found, limits = read_candidates(set_folder), judging_limits(set_folder)
    set_gauges = gauges(limits)
    counted = funnel(set_folder, found, set_gauges)
    order = reason_order(limits)
    text = _template().render(
        name=info.name,
        funnel=counted,
        dearest_us=max(1, *(cost.alone.us for cost in counted.costs)) if counted.costs else 1,
        picture_steps=picture_steps(counted),
        candidate_steps=candidate_steps(counted, order),
        histograms=[h for path in found.values if (h := histogram(found, path, set_gauges)) is not None],
        gauges=set_gauges,
        limits_sha256="" if limits is None else settings_sha256(limits),
        **_sheets(set_folder, found, set_gauges, page=out),
        failed=_files(set_folder, where=lambda rows: pc.equal(rows["status"], "failed")),
        declined=_files(set_folder, where=lambda rows: pc.equal(rows["status"], "rejected")),
        duplicates=_files(set_folder, where=lambda rows: pc.is_valid(rows["duplicate_of"])),
        groups=near_groups(set_folder),
        max_groups=MAX_GROUPS,
        splits=split_rows(set_folder),
        time=spent(read_manifests(set_folder), video_s=counted.usable.us / US_PER_S),
    )
    write_text(out, text)
    return counted


def _sheets(set_folder: Path, found: Candidates, set_gauges: Sequence[Gauge], *, page: Path) -> dict[str, Any]:
    sheets = Sheets(set_folder, found, page=page)
    kept = sheets.kept()
    borderline = [sheets.borderline(gauge) for gauge in set_gauges]
    rejected = [
        sheets.rejected(reason, [gauge for gauge in set_gauges if gauge.judged.reason == reason])
        for reason in found.reasons.names
    ]
    return {
        "kept": kept,
        "borderline": sorted(
            (pair for pair in borderline if pair[0].shown or pair[1].shown), key=lambda pair: -pair[1].total
        ),
        "rejected": sorted(rejected, key=lambda sheet: -sheet.total),
    }


@dataclass(frozen=True, slots=True)
class Files:
    """Some rows of the sources, and how many more there are."""

    rows: list[dict[str, Any]]
    more: int


def _files(set_folder: Path, *, where: Callable[[pa.Table], pa.ChunkedArray]) -> Files:
    columns = ["path", "status", "stage", "reason", "message", "duplicate_of"]
    rows = tables.read_table(set_folder, tables.SOURCES, columns)
    chosen = rows.filter(where(rows))
    return Files(chosen.slice(0, MAX_ROWS).to_pylist(), max(0, len(chosen) - MAX_ROWS))


# ---- words and numbers of the template


def _template() -> Template:
    here = files("xsheet.curate.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_plain, trim_blocks=True)
    environment.filters |= {
        "hours": _hours, "lasting": lasting, "percent": _percent, "share": _share, "count": _count,
        "words": words, "title_of": title_of,
    }  # fmt: skip
    environment.globals["css"] = Markup((here / "page.css").read_text(encoding="utf-8"))
    return environment.from_string((here / "page.html").read_text(encoding="utf-8"))


def _plain(value: object) -> object:
    """Of every value, before it is escaped: escaping alone lets controls through."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hours(hours: float, of: float = 0.0) -> str:
    """A length; beside a whole that is told in hours, in hours too."""
    return f"{hours:.3g} h" if 1 <= of < 100 else lasting(hours * 3600)


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.3g} %" if share < 0.9995 else "100 %"


def _share(share: float) -> str:
    return f"{100 * share:.2f}%"


def _count(count: int) -> str:
    return f"{count:,}"
