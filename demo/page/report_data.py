"""Everything that the demo page shows, collected from the files of a demo run."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from xsheet.audit.report.criteria import GateSection, build_gate_section
from xsheet.curate.report.charts import FunnelStep, candidate_funnel_steps, video_funnel_steps
from xsheet.demo.new_people import NewPeople
from xsheet.demo.page.expected_vs_actual import Disposition, FilmOutcome, film_outcomes
from xsheet.demo.page.films import film_still
from xsheet.demo.page.losses import LossHistory, read_loss_history
from xsheet.demo.page.timelines import TimelineCard, clip_card, sample_cards, score_planted_actions
from xsheet.train.evaluate.scores import PhaseScore
from xsheet.train.evaluate.summary import Evaluation
from xsheet.workflow import WorkflowResult

MAX_STILLS = 28
"""Films with a still per disposition; each costs a decode and 8 kB of page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmReport:
    """One film of the corpus."""

    outcome: FilmOutcome
    still: str | None  # data URI; None beyond MAX_STILLS


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSummary:
    """Gate, acceptance, and planted actions against the accepted annotations."""

    gate: GateSection
    accepted: int
    rejected: Mapping[str, int]
    planted_actions: tuple[PhaseScore, ...]  # of the accepted clips, those in the picture
    hidden_actions: int = 0  # planted actions of arms below the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """Losses, samples and evaluation."""

    loss_histories: tuple[LossHistory, ...]
    clips: Mapping[str, int]  # by split
    samples: tuple[TimelineCard, ...]
    evaluation: Evaluation | None  # of all new people


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """All sections of the page; a section is None where the run ended before it."""

    films: tuple[FilmReport, ...]
    funnel: tuple[tuple[FunnelStep, ...], tuple[FunnelStep, ...]]  # files to candidates, candidates to clips
    timeline: TimelineCard | None = None
    audit: AuditSummary | None = None
    training: TrainingSummary | None = None
    seconds: Mapping[str, float]  # by step, of all runs
    next_commands: tuple[tuple[str, str], ...] = ()  # (command, what it does)


def collect_report(
    corpus: Path,
    workflow: WorkflowResult,
    new_people: NewPeople | None,
    *,
    samples: Path,
    seconds: Mapping[str, float],
) -> DemoReport:
    """Read, decode and count; `samples` is the folder of the samples, `seconds` the time of each step."""
    folder, accepted = workflow.set_folder, workflow.acceptance
    layer = None if accepted is None else accepted.layer
    planted, hidden = ([], 0) if layer is None else score_planted_actions(folder, layer, corpus)
    with tempfile.TemporaryDirectory(prefix="xsheet-page-") as scratch:
        return DemoReport(
            films=tuple(_film_reports(film_outcomes(folder, corpus))),
            funnel=(tuple(video_funnel_steps(workflow.funnel)), tuple(candidate_funnel_steps(workflow.funnel))),
            timeline=None if layer is None else clip_card(folder, layer, corpus, Path(scratch)),
            audit=None
            if accepted is None
            else AuditSummary(
                gate=build_gate_section(accepted.audit),
                accepted=accepted.accepted_count,
                rejected=accepted.rejection_counts,
                planted_actions=tuple(planted),
                hidden_actions=hidden,
            ),
            training=None
            if workflow.training is None
            else TrainingSummary(
                loss_histories=tuple(
                    c
                    for stage in workflow.training.stages
                    if (c := read_loss_history(workflow.training.run_folder / stage.stage)) is not None
                ),
                clips={name: part.clips for name, part in workflow.training.split.totals.items()},
                samples=() if new_people is None else tuple(sample_cards(new_people, samples, Path(scratch))),
                evaluation=None if new_people is None else new_people.evaluation,
            ),
            seconds=dict(seconds),
            next_commands=_next_commands(corpus.parent, workflow),
        )


def _film_reports(outcomes: Sequence[FilmOutcome]) -> Iterator[FilmReport]:
    counts = Counter[Disposition]()
    for outcome in outcomes:
        counts[outcome.disposition] += 1
        yield FilmReport(
            outcome=outcome,
            still=film_still(outcome.media, outcome.shot_centres_us)
            if counts[outcome.disposition] <= MAX_STILLS
            else None,
        )


def _next_commands(out: Path, workflow: WorkflowResult) -> tuple[tuple[str, str], ...]:
    folder = quote(str(workflow.set_folder))
    return (
        ("xsheet run VIDEOS --out my-set", "the same steps over your own videos"),
        (
            f"xsheet curate decide {folder} --preset train",
            "apply other limits to the same measurements, in seconds and without decoding",
        ),
        (
            f"xsheet audit review {folder}",
            "review the annotations; your corrections become a layer of their own",
        ),
        (
            f"xsheet train run {folder} --out longer --set loader.batch_size=8 --set compute.micro_batch_size=8",
            "train both stages with all steps of the preset",
        ),
        (f"xsheet demo --out {quote(str(out))}-60 --films 60", "more films: a better model, and a longer run"),
    )
