"""Loss curves from metrics.jsonl, as positions in percent of the plot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from xsheet.pages.scales import AxisScale
from xsheet.schemas.files import decode_json

_EMA_DECAY = 0.8  # weight of the running mean; a line of the file is a noisy mean of a few steps


@dataclass(frozen=True, slots=True, kw_only=True)
class LossHistory:
    """Training loss of one stage by step."""

    stage: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    held_out: tuple[tuple[int, float], ...]  # (step, loss) on held-out clips


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotCurve:
    """One stage in the plot."""

    stage: str
    raw: str  # points of an SVG polyline
    smooth: str
    held_out: tuple[tuple[float, float], ...]  # (x, y)
    x: float  # start of the stage
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LossPlot:
    """The stages one after the other on one axis of steps."""

    curves: tuple[PlotCurve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def read_loss_history(folder: Path) -> LossHistory | None:
    """The losses of a stage from its run folder; None where there are none."""
    file = folder / "metrics.jsonl"
    lines = [decode_json(text) for text in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    losses_by_step = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    if not losses_by_step:
        return None
    steps, losses = zip(*losses_by_step, strict=True)
    held_out = tuple((line["step"], line["held out/loss"]) for line in lines if "held out/loss" in line)
    return LossHistory(stage=folder.name, steps=steps, losses=losses, held_out=held_out)


def loss_plot(histories: Sequence[LossHistory]) -> LossPlot | None:
    """The plot; None without any history."""
    if not histories:
        return None
    across = AxisScale(0.0, float(sum(history.steps[-1] for history in histories)))
    up = AxisScale(
        0.0, max(max(*history.losses, *(loss for _, loss in history.held_out), 0.0) for history in histories)
    )
    return LossPlot(
        curves=tuple(_plot_curves(histories, across, up)),
        x_ticks=tuple((across.percent(step), f"{step:g}") for step in across.ticks()),
        y_ticks=tuple((_y_percent(up, loss), f"{loss:g}") for loss in up.ticks()),
    )


def _plot_curves(histories: Sequence[LossHistory], across: AxisScale, up: AxisScale) -> Iterator[PlotCurve]:
    before = 0
    for history in histories:
        smooth = list(accumulate(history.losses, lambda mean, loss: _EMA_DECAY * mean + (1 - _EMA_DECAY) * loss))
        x_positions = [across.percent(before + step) for step in history.steps]
        raw, line = (
            " ".join(f"{x:g},{_y_percent(up, loss):g}" for x, loss in zip(x_positions, losses, strict=True))
            for losses in (history.losses, smooth)
        )
        yield PlotCurve(
            stage=history.stage,
            raw=raw,
            smooth=line,
            held_out=tuple((across.percent(before + step), _y_percent(up, loss)) for step, loss in history.held_out),
            x=across.percent(before),
            summary=f"{smooth[0]:.2f} to {smooth[-1]:.2f} in {history.steps[-1]:,} steps",
        )
        before += history.steps[-1]


def _y_percent(up: AxisScale, value: float) -> float:
    return round(100 - up.percent(value), 2)
