"""All that the page tells, gathered from what the demo left behind."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from xsheet.audit.report.criteria import GateView, gate_view
from xsheet.curate.report.applied_limits import judging_limits, reason_order
from xsheet.curate.report.charts import Step, candidate_steps, picture_steps
from xsheet.demo.held_out_samples import Unseen
from xsheet.demo.page.expected_vs_actual import End, Fate, fates
from xsheet.demo.page.films import still
from xsheet.demo.page.losses import Course, read_course
from xsheet.demo.page.timelines import Card, clip_card, found_of_planted, sample_cards
from xsheet.train.evaluate.evaluate import Evaluation
from xsheet.train.evaluate.scores import PhaseScore
from xsheet.workflow import STAGES, Walked

SHOWN = 28
"""Films that ended alike, at the most; each costs a decode and 8 kB of page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A film that came in."""

    fate: Fate
    still: str | None  # source of a picture; None behind the first SHOWN that ended alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the audit said."""

    gate: GateView
    accepted: int
    refused: Mapping[str, int]
    planted: tuple[PhaseScore, ...]  # every planted action of an accepted clip, and what was found of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What training came to."""

    courses: tuple[Course, ...]
    clips: Mapping[str, int]  # by split
    samples: tuple[Card, ...]
    evaluation: Evaluation | None  # None: nothing was held out


@dataclass(frozen=True, slots=True, kw_only=True)
class Tale:
    """The whole of it; None where the path ended before."""

    films: tuple[Film, ...]
    funnel: tuple[tuple[Step, ...], tuple[Step, ...]]  # files to candidates, candidates to clips
    sheet: Card | None = None
    trust: Trust | None = None
    learned: Learned | None = None
    seconds: Mapping[str, float]  # by step, of all runs
    again: tuple[tuple[str, str], ...] = ()  # what to do next: a command, and what it does


def gather(corpus: Path, walked: Walked, unseen: Unseen | None, *, samples: Path, seconds: Mapping[str, float]) -> Tale:
    """Read, decode and count; `samples` is the folder of the unseen films, `seconds` what each step took."""
    folder, accepted = walked.set_folder, walked.accepted
    layer = None if accepted is None else accepted.layer
    order = reason_order(judging_limits(folder))
    with tempfile.TemporaryDirectory(prefix="xsheet-page-") as scratch:
        return Tale(
            films=tuple(_films(fates(folder, corpus))),
            funnel=(tuple(picture_steps(walked.funnel)), tuple(candidate_steps(walked.funnel, order))),
            sheet=None if layer is None else clip_card(folder, layer, corpus, Path(scratch)),
            trust=None if accepted is None else Trust(
                gate=gate_view(accepted.audited),
                accepted=accepted.accepted,
                refused=accepted.refused,
                planted=() if layer is None else tuple(found_of_planted(folder, layer, corpus)),
            ),
            learned=None if walked.trained is None else Learned(
                courses=tuple(c for name in STAGES if (c := read_course(walked.trained.folder / name)) is not None),
                clips={name: part.clips for name, part in walked.trained.split.parts.items()},
                samples=() if unseen is None else tuple(sample_cards(unseen, samples, Path(scratch))),
                evaluation=None if unseen is None else unseen.evaluation,
            ),
            seconds=dict(seconds),
            again=_again(corpus.parent, walked),
        )  # fmt: skip


def _films(all_fates: Sequence[Fate]) -> Iterator[Film]:
    seen = Counter[End]()
    for fate in all_fates:
        seen[fate.end] += 1
        yield Film(fate=fate, still=still(fate.media, fate.middles_us) if seen[fate.end] <= SHOWN else None)


def _again(out: Path, walked: Walked) -> tuple[tuple[str, str], ...]:
    folder = quote(str(walked.set_folder))
    return (
        ("xsheet run VIDEOS --out my-set", "the same path over films of your own"),
        (
            f"xsheet curate decide {folder} --preset train",
            "other limits over the same measurements: seconds, no decode",
        ),
        (f"xsheet audit review {folder}", "look at the sheets and mend them; what you change is a layer of its own"),
        (
            f"xsheet train run {folder} --out longer --set data.batch=8 --set compute.micro_batch=8",
            "both stages with all steps of the preset",
        ),
        (f"xsheet demo --out {quote(str(out))}-60 --clips 60", "more films, a better model, more minutes"),
    )
