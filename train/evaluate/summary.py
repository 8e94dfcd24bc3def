"""Measures of an evaluation: means over clips with intervals from a bootstrap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from xsheet.train.evaluate.scores import ClipScore, PhaseScore

T = TypeVar("T")
_BOOTSTRAP_RESAMPLES = 1000  # times the clips are drawn again for an interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreValue:
    """Mean over phases or clips with its 95 % interval from a bootstrap over clips."""

    mean: float
    low: float
    high: float
    count: int


Values = Sequence[float | None]
MEASURES: dict[str, Callable[[ClipScore], Values]] = {
    "class accuracy": lambda clip: [p.is_class_correct for p in clip.phases],
    "hit (H@S)": lambda clip: [p.hit for p in clip.phases],
    "tIoU of hits": lambda clip: hit_tious(clip.phases),
    "start error of hits, s": lambda clip: hit_start_errors(clip.phases),
    "end error of hits, s": lambda clip: [p.end_error_s for p in clip.phases],
    "start within .2 s": lambda clip: [p.is_on_time for p in clip.phases],
    "unrequested actions per second": lambda clip: [clip.unrequested_per_s],
    "mouth correlation": lambda clip: [clip.mouth.pearson_r],
    "lip-sync confidence, standard deviations": lambda clip: [clip.mouth.confidence],
    "lip-sync offset within 3 frames": lambda clip: [clip.mouth.in_sync],
    "colour drift, levels": lambda clip: [] if clip.colour_drift is None else [clip.colour_drift],
}


def hit_tious(phases: Sequence[PhaseScore]) -> Values:
    """The tIoU of each phase that was hit."""
    return [p.tiou for p in phases if p.hit]


def hit_start_errors(phases: Sequence[PhaseScore]) -> Values:
    """Start errors in seconds; None where a phase was not hit."""
    return [p.start_error_s for p in phases]


def bootstrap_mean(items: Sequence[T], values_of: Callable[[T], Values]) -> ScoreValue | None:
    """Mean over all values of all clips; None without any. Clips are resampled whole: their phases are dependent."""
    per_clip = [[float(value) for value in values_of(one) if value is not None] for one in items]
    sums = np.array([[sum(values), len(values)] for values in per_clip], np.float64).reshape(-1, 2)
    if not sums[:, 1].any():
        return None
    rng = np.random.default_rng(0)
    again = sums[rng.integers(len(sums), size=(_BOOTSTRAP_RESAMPLES, len(sums)))].sum(1)
    again = again[again[:, 1] > 0]
    low, high = np.quantile(again[:, 0] / again[:, 1], (0.025, 0.975))
    mean = sums[:, 0].sum() / sums[:, 1].sum()
    return ScoreValue(mean=float(mean), low=float(low), high=float(high), count=int(sums[:, 1].sum()))


def format_value(value: ScoreValue | None) -> str:
    """Mean and interval for a table; empty without a value."""
    return "" if value is None else f"{value.mean:.2f} ({value.low:.2f}..{value.high:.2f})"
