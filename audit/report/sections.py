"""Sections of the page that are tables and charts: distributions, comparison with other layers, cost, origin."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xsheet.audit.agreement.bootstrap import Estimate
from xsheet.audit.agreement.boundaries import TOLERANCES_US
from xsheet.audit.agreement.compare import Agreement, TrackAgreement, compare
from xsheet.audit.agreement.phase_arrays import layer_units
from xsheet.audit.layer_profile import replies
from xsheet.audit.report.charts import (
    Classes,
    Histogram,
    Whisker,
    classes,
    counted,
    histogram,
    statuses,
    whisker,
)
from xsheet.audit.review.queue import Entry
from xsheet.curate.report.wording import lasting
from xsheet.schemas import vocab
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.run import Run
from xsheet.schemas.time import US_PER_S

_MEANT = {
    "prompt_tokens": "tokens asked", "vision_tokens": "of these from pictures", "output_tokens": "tokens answered",
    "latency_s": "waiting",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """What a layer says, and how often."""

    classes: tuple[Classes, ...]
    histograms: tuple[Histogram, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A number of a comparison."""

    name: str
    value: str
    bounds: str
    note: str = ""
    whisker: Whisker | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRow:
    """Agreement on one track."""

    track: vocab.Track
    phases_a: int
    phases_b: int
    kappa: str
    kappa_whisker: Whisker | None
    alpha: str
    alpha_whisker: Whisker | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A layer beside a reference."""

    name: str
    clips: int
    found: tuple[Measured, ...]
    boundaries: tuple[Measured, ...]
    by_track: tuple[TrackRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What a layer cost."""

    statuses: Classes
    costs: tuple[tuple[str, str, str], ...]  # (what, in all, per reply)


def distributions(layer: LayerRun, entries: Sequence[Entry]) -> Distributions:
    """Classes, tracks, and how long, how many, how dense, how sure."""
    found = counted(layer_units(layer))
    scores = np.array([np.nan if entry.score is None else entry.score for entry in entries], dtype=np.float64)
    drawn = (
        histogram("duration of phases", found.durations_s, unit="s", note="of all phases, rests too"),
        histogram("phases of a clip", found.per_clip, kind="whole"),
        histogram("coverage", found.coverage, kind="share", note="share of the clip in any phase but rests"),
        histogram("length of the clips", found.seconds, unit="s"),
        histogram("scores", scores, kind="share", note="of the clips, 1 is best"),
    )
    return Distributions(
        classes=(
            classes("classes", found.actions, vocab.ACTIONS),
            classes("parts", found.tracks, vocab.TRACKS, are_tracks=True),
        ),
        histograms=tuple(one for one in drawn if one is not None),
    )


def comparison(layer: LayerRun, reference: LayerRun, *, name: str) -> Comparison:
    """A layer beside another one, which is called `name`."""
    found = compare(layer_units(reference), layer_units(layer), rng=np.random.default_rng(0))
    return Comparison(
        name=name,
        clips=found.clips,
        found=tuple(_found(found)),
        boundaries=tuple(_boundaries(found)),
        by_track=tuple(_track(track) for track in found.by_track),
    )


def spending(layer: LayerRun) -> Spending:
    """How the replies of a layer ended, and all that they state of their cost."""
    spent = replies(layer)
    rows = []
    for name, total in spent.costs.items():
        each = total / max(spent.total, 1)
        told = (lasting(total), lasting(each)) if name == "latency_s" else (f"{total:,.0f}", f"{each:,.0f}")
        rows.append((_MEANT.get(name, name.replace("_", " ")), *told))
    return Spending(statuses=statuses(spent.statuses), costs=tuple(rows))


def origin(run: Run) -> Iterator[tuple[str, str]]:
    """Where a layer came from, in words."""
    yield "run", f"{run.run_id} ({run.kind})"
    yield "made by", f"xsheet {run.tool_version}" + (f", commit {run.git_sha[:12]}" if run.git_sha else "")
    if run.model is not None:
        yield (
            "model",
            " ".join(filter(None, (run.model.id, run.model.revision, run.model.dtype, run.model.quantisation))),
        )
    if run.engine is not None:
        yield "engine", f"{run.engine.name} {run.engine.version}"
    for prompt in run.prompts:
        yield "prompt", f"{prompt.id} {prompt.version}, {prompt.sha256[:12]}"
    if run.sampling is not None:
        drawn = run.sampling
        yield "sampling", f"{drawn.samples} of each clip, temperature {drawn.temperature}, seed {drawn.seed}"
    if run.frames is not None:
        yield "frames asked for", f"{run.frames.fps:g} a second"
    if run.settings_sha256 is not None:
        yield "settings", run.settings_sha256[:12]
    if run.parent_run_ids:
        yield "made from", ", ".join(run.parent_run_ids)
    if run.libraries:
        yield "libraries", ", ".join(f"{one.name} {one.version}" for one in run.libraries)


def _found(found: Agreement) -> Iterator[Measured]:
    for at in found.tracks.at:
        precision, recall = (_short(one) for one in (at.precision, at.recall))
        yield _measured(f"F1 at tIoU {at.tiou}", at.f1, note=f"precision {precision}, recall {recall}")
    yield _measured("mean tIoU", found.tracks.mean_tiou, note="a phase without a partner counts 0")
    yield _measured("F1 at tIoU 0.5, same class", found.classes.at[1].f1)
    yield _measured("linked κ", found.linked_kappa, note="of the classes of overlapping phases")
    yield _measured("Krippendorff's uα", found.alpha, note="≥ 0.8 reliable, from 0.667 tentative")


def _boundaries(found: Agreement) -> Iterator[Measured]:
    for within, f1 in zip(TOLERANCES_US, found.boundary_f1, strict=True):
        yield _measured(f"F1 of boundaries within {within / US_PER_S:g} s", f1)
    for name, error in (("start", found.start), ("end", found.end)):
        late = _short(error.bias_us, scale=US_PER_S, sign="+")
        p90 = _short(error.p90_abs_us, scale=US_PER_S)
        value, bounds = f"{_short(error.mean_abs_us, scale=US_PER_S)} s", _bounds(error.mean_abs_us, scale=US_PER_S)
        note = f"bias {late} s, 90 of 100 within {p90} s"
        yield Measured(name=f"{name}, mean error", value=value, bounds=bounds, note=note)


def _measured(name: str, number: Estimate, *, note: str = "") -> Measured:
    return Measured(name=name, value=_short(number), bounds=_bounds(number), note=note, whisker=whisker(number))


def _track(track: TrackAgreement) -> TrackRow:
    return TrackRow(
        track=track.track,
        phases_a=track.phases_a,
        phases_b=track.phases_b,
        kappa=_short(track.kappa),
        kappa_whisker=whisker(track.kappa),
        alpha=_short(track.alpha),
        alpha_whisker=whisker(track.alpha),
    )


def _short(number: Estimate, *, scale: float = 1.0, sign: str = "") -> str:
    return "–" if number.value is None else f"{number.value / scale:{sign}.2f}"


def _bounds(number: Estimate, *, scale: float = 1.0) -> str:
    return "" if number.low is None or number.high is None else f"{number.low / scale:.2f} to {number.high / scale:.2f}"
