"""Counts and distributions of a set, from its tables alone."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xsheet.schemas.layers import list_layers
from xsheet.schemas.sets import open_set
from xsheet.sets.clip_view import clip_rows
from xsheet.sets.split_leaks import SplitLeak, find_split_leaks

UNSTATED = "not stated"
_GROUPS = ("split", "speaker", "licence", "consent", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Quantiles of one number over the clips that have it."""

    name: str
    clips: int
    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStats:
    """What `xsheet set stats` prints."""

    name: str
    clips: int
    sources: int
    hours: float
    groups: Mapping[str, Mapping[str, float]]  # column → value → hours
    distributions: tuple[Distribution, ...]
    layers: Mapping[str, Mapping[str, int]]  # layer → annotations, phases, actions
    split_leaks: tuple[SplitLeak, ...]


def set_stats(set_folder: Path) -> SetStats:
    """Summarise a set.

    Raises:
        ContractError: no set.
    """
    name = open_set(set_folder).name
    rows = clip_rows(set_folder)
    columns: dict[str, list[Any]] = {column: rows[column].to_pylist() for column in rows.column_names}
    durations = columns.get("duration_s", [])
    return SetStats(
        name=name,
        clips=rows.num_rows,
        sources=len(set(columns.get("source_id", []))),
        hours=sum(durations) / 3600,
        groups={group: _hours_by(columns[group], durations) for group in _GROUPS if group in columns},
        distributions=tuple(filter(None, (_distribution(name, values) for name, values in columns.items()))),
        layers={str(layer): _layer_counts(layer.read()) for layer in list_layers(set_folder)},
        split_leaks=find_split_leaks(set_folder),
    )


def _hours_by(values: list[Any], durations: list[float]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for value, duration in zip(values, durations, strict=True):
        total[str(value) if value else UNSTATED] += duration / 3600  # type: ignore[assignment]
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def _distribution(name: str, values: list[Any]) -> Distribution | None:
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if not numbers or name in ("start_s", "end_s"):
        return None
    low, middle, high = np.quantile(numbers, (0, 0.5, 1)).tolist()
    return Distribution(name=name, clips=len(numbers), minimum=low, median=middle, maximum=high)


def _layer_counts(rows: Any) -> dict[str, int]:
    annotations, actions = 0, Counter[str]()
    for row in rows:
        annotations += 1
        actions.update(phase.action for phase in row.phases)
    return {"annotations": annotations, "phases": actions.total(), "actions": len(actions)}
