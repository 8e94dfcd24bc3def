"""The demo report: one HTML page with all pictures and videos inside; it runs no script and loads nothing.

Names and texts on it come from files and tables: every value is escaped, and the page forbids scripts and requests.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from xsheet.audit.agreement.bootstrap import IntervalEstimate
from xsheet.audit.report.charts import interval_whisker
from xsheet.demo.page.expected_vs_actual import Disposition
from xsheet.demo.page.losses import loss_plot
from xsheet.demo.page.report_data import DemoReport
from xsheet.pages.environment import page_environment
from xsheet.pages.scales import Whisker
from xsheet.pages.wording import readable
from xsheet.schemas.files import write_text
from xsheet.train.evaluate.scores import PhaseScore
from xsheet.train.evaluate.summary import Evaluation

_DISPOSITION_TITLES: Mapping[Disposition, str] = {
    "kept": "Kept unchanged", "mended": "Kept after the fault was removed", "dropped": "Rejected",
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
"""Metrics between 0 and 1, which have a whisker."""
_METRIC_LABELS = {
    "class accuracy": "correct action detected",
    "hit (H@S)": "requested action appears",
    "tIoU of hits": "temporal IoU of hits",
    "start error of hits, s": "start error of hits (s)",
    "end error of hits, s": "end error of hits (s)",
    "start within .2 s": "requested action starts within .2 s",
    "unrequested actions per second": "actions per second that were not requested",
    "mouth correlation": "correlation with the real mouth (r)",
    "lip-sync confidence, standard deviations": "lip-audio agreement (standard deviations above chance)",
    "lip-sync offset within 3 frames": "lip-audio offset within 3 frames",
    "colour drift, levels": "colour drift of the face (levels of 255)",
    "swapped: class accuracy": "two actions swapped: swapped action detected",
    "not swapped: class accuracy": "two actions swapped: detected without the swap",
    "replaced: class accuracy": "action replaced: new action detected",
    "not replaced: class accuracy": "action replaced: detected without the change",
    "position baseline: tIoU of hits": "baseline, action of another clip: temporal IoU of hits",
    "position baseline: start error of hits, s": "baseline, action of another clip: start error of hits (s)",
    "position baseline: start within .2 s": "baseline, action of another clip: starts within .2 s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredValue:
    """One metric of the evaluation; the whisker shows the ceiling as its limit."""

    name: str
    generated: str
    bounds: str
    ceiling: str
    count: int
    whisker: Whisker | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionClassRow:
    """Planted actions of one class."""

    name: str
    found: int
    planted: int


def write_page(report: DemoReport, file: Path) -> None:
    """Write the page, atomically; the same report gives the same bytes."""
    training, audit = report.training, report.audit
    evaluation = None if training is None else training.evaluation
    template = page_environment("xsheet.demo.page").get_template("page.html")
    text = template.render(
        report=report,
        headline=headline(report),
        films=[
            (title, [film for film in report.films if film.outcome.disposition == disposition])
            for disposition, title in _DISPOSITION_TITLES.items()
        ],
        as_expected=sum(film.outcome.as_expected for film in report.films),
        clips=sum(film.outcome.clips for film in report.films),
        planted=() if audit is None else action_class_rows(audit.planted_actions),
        plot=None if training is None else loss_plot(training.loss_histories),
        metrics=() if evaluation is None else tuple(measured_values(evaluation)),
        total_s=sum(report.seconds.values()),
    )
    write_text(file, text)


def headline(report: DemoReport) -> str:
    """State the measured result: requested actions that new people perform, and when; or why there is none."""
    if report.training is None:
        if report.audit is None:
            return "No model trained: no clip was kept"
        return f"No model trained: {report.audit.accepted} annotations accepted"
    evaluation = report.training.evaluation
    requested = [] if evaluation is None else [phase for clip in evaluation.samples for phase in clip.phases]
    if not requested:
        return "A small model trained; no requested action measured"
    errors = [phase.start_error_s for phase in requested if phase.start_error_s is not None]
    when = f", and starts {median(errors):.2f} s off (median)" if errors else ""
    hits = sum(phase.hit for phase in requested)
    share = f"{hits} of {len(requested)}"
    return f"On people outside its training set, a small model performs {share} requested actions{when}"


def action_class_rows(planted: Sequence[PhaseScore]) -> list[ActionClassRow]:
    """Planted actions by class, the most frequent first; both sides count as one class."""
    planted_counts = Counter(one.requested_action.partition(" ")[0] for one in planted)
    found = Counter(one.requested_action.partition(" ")[0] for one in planted if one.hit)
    return [
        ActionClassRow(name=readable(name), found=found[name], planted=count)
        for name, count in planted_counts.most_common()
    ]


def measured_values(evaluation: Evaluation) -> Iterator[MeasuredValue]:
    """The metrics of an evaluation that have a value."""
    for name, (generated, ceiling) in evaluation.summary().items():
        if generated is None:
            continue
        interval = (
            IntervalEstimate(generated.mean, generated.low, generated.high)
            if name in _UNIT_METRICS
            else IntervalEstimate(None, None, None)
        )
        yield MeasuredValue(
            name=_METRIC_LABELS.get(name, name),
            generated=f"{generated.mean:.2f}",
            bounds=f"{generated.low:.2f} to {generated.high:.2f}",
            ceiling="" if ceiling is None else f"{ceiling.mean:.2f}",
            count=generated.count,
            whisker=interval_whisker(interval, limit=None if ceiling is None else ceiling.mean),
        )
