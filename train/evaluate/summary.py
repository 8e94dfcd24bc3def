"""An evaluation as numbers: means over clips with intervals from a bootstrap."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from xsheet.schemas.files import write_text
from xsheet.train.evaluate.scores import ActionEditScore, ClipScore, PhaseScore

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
    "colour drift, levels": lambda clip: [clip.colour_drift],
    "identity distance to the portrait": lambda clip: [clip.identity_distance],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A finished evaluation."""

    samples: tuple[ClipScore, ...]
    ceiling: tuple[ClipScore, ...]
    swaps: tuple[ActionEditScore, ...] = ()  # annotations with two actions swapped
    replacements: tuple[ActionEditScore, ...] = ()  # annotations with one action replaced
    position_baseline: tuple[
        tuple[PhaseScore, ...], ...
    ] = ()  # per clip, scored on the video of another annotation with the same action

    def summary(self) -> dict[str, tuple[ScoreValue | None, ScoreValue | None]]:
        """Samples and ceiling by measure."""
        summary = {
            name: (bootstrap_mean(self.samples, of), bootstrap_mean(self.ceiling, of)) for name, of in MEASURES.items()
        }
        for name, changed in (("swapped", self.swaps), ("replaced", self.replacements)):
            summary[f"{name}: class accuracy"] = (
                bootstrap_mean(changed, lambda e: [p.is_class_correct for p in e.edited]),
                None,
            )
            summary[f"not {name}: class accuracy"] = (
                bootstrap_mean(changed, lambda e: [p.is_class_correct for p in e.original]),
                None,
            )
        summary["position baseline: tIoU of hits"] = (bootstrap_mean(self.position_baseline, hit_tious), None)
        summary["position baseline: start error of hits, s"] = (
            bootstrap_mean(self.position_baseline, hit_start_errors),
            None,
        )
        summary["position baseline: start within .2 s"] = (
            bootstrap_mean(self.position_baseline, lambda phases: [p.is_on_time for p in phases]),
            None,
        )
        return summary

    def table(self) -> str:
        """The measures as a Markdown table, without those that no clip has."""
        rows = ["| measure | samples | ceiling | of |", "|---|---|---|---|"]
        measured = {name: pair for name, pair in self.summary().items() if pair != (None, None)}
        for name, (ours, best) in measured.items():
            rows.append(
                f"| {name} | {format_value(ours)} | {format_value(best)} | {0 if ours is None else ours.count} |"
            )
        return "\n".join(rows)

    def write(self, file: Path) -> None:
        """Write everything as JSON."""
        numbers = {name: [n and asdict(n) for n in pair] for name, pair in self.summary().items()}
        write_text(file, json.dumps({"numbers": numbers} | asdict(self), indent=1) + "\n")


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
