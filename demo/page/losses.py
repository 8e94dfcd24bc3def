"""Curves of the loss: what metrics.jsonl says, as positions in percent of a picture."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from xsheet.curate.report.charts import WIDTH, AxisScale

_EMA_DECAY = 0.8  # of the mean so far in a smoothed curve: a line of the file is the mean of a few steps, and jumps


@dataclass(frozen=True, slots=True, kw_only=True)
class LossHistory:
    """How the loss of one stage went."""

    stage: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    held_out: tuple[tuple[int, float], ...]  # (step, loss) on clips that it is not shown


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotCurve:
    """One stage in the picture."""

    stage: str
    raw: str  # points of a polyline
    smooth: str
    held_out: tuple[tuple[float, float], ...]  # points
    x: float  # where the stage begins
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LossPlot:
    """The stages one after the other on one axis of steps."""

    curves: tuple[PlotCurve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def read_loss_history(folder: Path) -> LossHistory | None:
    """The course of a stage from its folder; None where it has not begun."""
    file = folder / "metrics.jsonl"
    lines = [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    told = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    if not told:
        return None
    steps, losses = zip(*told, strict=True)
    seen = tuple((line["step"], line["held out/loss"]) for line in lines if "held out/loss" in line)
    return LossHistory(stage=folder.name, steps=steps, losses=losses, held_out=seen)


def loss_plot(histories: Sequence[LossHistory]) -> LossPlot | None:
    """The picture; None without any course."""
    if not histories:
        return None
    across = AxisScale(0.0, float(sum(course.steps[-1] for course in histories)))
    up = AxisScale(0.0, max(max(*course.losses, *(loss for _, loss in course.held_out), 0.0) for course in histories))
    return LossPlot(
        curves=tuple(_plot_curves(histories, across, up)),
        x_ticks=tuple((_percent(x), label) for x, label in across.ticks()),
        y_ticks=tuple((_y_percent(up, float(label)), label) for _, label in up.ticks()),
    )


def _plot_curves(histories: Sequence[LossHistory], across: AxisScale, up: AxisScale) -> Iterator[PlotCurve]:
    before = 0
    for course in histories:
        smooth = list(accumulate(course.losses, lambda mean, loss: _EMA_DECAY * mean + (1 - _EMA_DECAY) * loss))
        at = [_percent(across.position(before + step)) for step in course.steps]
        raw, line = (
            " ".join(f"{x:g},{_y_percent(up, loss):g}" for x, loss in zip(at, losses, strict=True))
            for losses in (course.losses, smooth)
        )
        yield PlotCurve(
            stage=course.stage,
            raw=raw,
            smooth=line,
            held_out=tuple(
                (_percent(across.position(before + step)), _y_percent(up, loss)) for step, loss in course.held_out
            ),
            x=_percent(across.position(before)),
            summary=f"{smooth[0]:.2f} to {smooth[-1]:.2f} in {course.steps[-1]:,} steps",
        )
        before += course.steps[-1]


def _y_percent(up: AxisScale, value: float) -> float:
    return round(100 - _percent(up.position(value)), 2)


def _percent(x: float) -> float:
    return round(100 * x / WIDTH, 2)
