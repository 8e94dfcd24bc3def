"""The demo as one HTML page that needs nothing but itself: pictures and videos are inside, and no script runs.

Names and texts in it come from files and tables. The template escapes every value, controls and text that turns the
line around are spelled out, and the page forbids scripts and every request.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from xsheet.audit.agreement.bootstrap import IntervalEstimate
from xsheet.audit.report.axis import format_seconds, readable
from xsheet.audit.report.charts import Whisker, build_whisker
from xsheet.audit.report.summary import format_percent
from xsheet.curate.report.wording import format_duration, printable
from xsheet.demo.page.expected_vs_actual import Disposition
from xsheet.demo.page.losses import loss_plot
from xsheet.demo.page.report_data import DemoReport
from xsheet.schemas.tables import write_text
from xsheet.train.evaluate.evaluate import Evaluation
from xsheet.train.evaluate.scores import PhaseScore

_DISPOSITION_TITLES: Mapping[Disposition, str] = {
    "kept": "Kept as they are", "mended": "Kept, after the fault was taken out", "dropped": "Dropped",
}  # fmt: skip
_UNIT_METRICS = (
    "class accuracy",
    "hit (H@S)",
    "mouth correlation",
    "lip-sync offset within 3 frames",
    "swapped: class accuracy",
    "not swapped: class accuracy",
    "replaced: class accuracy",
    "not replaced: class accuracy",
)
"""Measures between 0 and 1, which can be drawn on one line."""
_METRIC_LABELS = {
    "class accuracy": "the right action there",
    "hit (H@S)": "the action appears",
    "tIoU of hits": "overlap in time, of hits",
    "start error of hits, s": "start off by, of hits, s",
    "mouth correlation": "mouth follows the real one, r",
    "lip-sync confidence, standard deviations": "lips and sound agree, deviations of chance",
    "lip-sync offset within 3 frames": "lips and sound within 3 frames",
    "colour drift, levels": "face drifts in colour, levels of 255",
    "swapped: class accuracy": "two actions exchanged: the new one there",
    "not swapped: class accuracy": "asked of the film not exchanged",
    "replaced: class accuracy": "another action asked for: it is there",
    "not replaced: class accuracy": "asked of the film as it was",
    "position baseline: tIoU of hits": "overlap in time with the act of another film",
    "position baseline: start error of hits, s": "start off by, in another film, s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredValue:
    """A number of the evaluation, its place between 0 and 1 where it has one, and the ceiling as its limit."""

    name: str
    generated: str
    bounds: str
    ceiling: str
    count: int
    whisker: Whisker | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionClassRow:
    """One sort of planted action."""

    name: str
    found: int
    planted: int


def write_page(report: DemoReport, file: Path) -> None:
    """Write the page, atomically; the same tale gives the same bytes."""
    learned, trust = report.training, report.audit
    evaluation = None if learned is None else learned.evaluation
    text = (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            films=[
                (title, [film for film in report.films if film.outcome.disposition == end])
                for end, title in _DISPOSITION_TITLES.items()
            ],
            as_expected=sum(film.outcome.as_expected for film in report.films),
            clips=sum(film.outcome.clips for film in report.films),
            planted=() if trust is None else action_class_rows(trust.planted_actions),
            plot=None if learned is None else loss_plot(learned.loss_histories),
            measured=() if evaluation is None else tuple(measured_values(evaluation)),
            total_s=sum(report.seconds.values()),
        )
    )
    write_text(file, text)


def action_class_rows(planted: Sequence[PhaseScore]) -> list[ActionClassRow]:
    """Planted actions by class, the most frequent first; sides together."""
    asked = Counter(one.requested_action.partition(" ")[0] for one in planted)
    found = Counter(one.requested_action.partition(" ")[0] for one in planted if one.hit)
    return [
        ActionClassRow(name=readable(name), found=found[name], planted=count) for name, count in asked.most_common()
    ]


def measured_values(evaluation: Evaluation) -> Iterator[MeasuredValue]:
    """The numbers of an evaluation."""
    for name, (drawn, best) in evaluation.summary().items():
        if drawn is None:
            continue
        place = (
            IntervalEstimate(drawn.mean, drawn.low, drawn.high)
            if name in _UNIT_METRICS
            else IntervalEstimate(None, None, None)
        )
        yield MeasuredValue(
            name=_METRIC_LABELS.get(name, name),
            generated=f"{drawn.mean:.2f}",
            bounds=f"{drawn.low:.2f} to {drawn.high:.2f}",
            ceiling="" if best is None else f"{best.mean:.2f}",
            count=drawn.count,
            whisker=build_whisker(place, limit=None if best is None else best.mean),
        )


def _environment() -> Environment:
    """Templates of the package: every value is escaped, and one that is not there is an error."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_escape_controls,
        trim_blocks=True,
        loader=FunctionLoader(_template),
    )
    environment.filters |= {
        "seconds": format_seconds,
        "readable": readable,
        "percent": format_percent,
        "count": "{:,}".format,
        "duration": format_duration,
    }
    environment.globals["css"] = Markup("".join(_resource(part, "page.css") for part in _STYLE_PACKAGES))
    return environment


_STYLE_PACKAGES = ("xsheet.curate.report", "xsheet.audit.report", "xsheet.demo.page")
"""Whose styles the page wears: those of the other two pages, and what it adds."""


def _template(name: str) -> str:
    """Our own page; the time axis is drawn by the audit's."""
    return _resource("xsheet.demo.page" if name == "page.html" else "xsheet.audit.report", name)


def _resource(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")


def _escape_controls(value: object) -> object:
    """Of every value, before it is escaped: escaping alone lets controls through."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
