"""Sweep one limit over a range of values and report what each value keeps; other limits stay fixed."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from xsheet.curate.filter.columns import Mask, has_scorer
from xsheet.curate.filter.decide import (
    FILTER_RULES,
    SCORERS,
    ClipTotals,
    FilterRule,
    failure_masks,
    lengths_us,
    measure_parts,
    rule_masks,
)
from xsheet.curate.filter.limits import FilterLimits
from xsheet.schemas.errors import ConfigError

MAX_VALUES = 1000
_LIMIT_PATHS = tuple(rule.limit_path for rule in FILTER_RULES)


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """What one value of the limit keeps, and the change against the current limits."""

    value: float
    kept: ClipTotals
    change_us: int


def parse_range(text: str) -> tuple[str, tuple[float, ...]]:
    """Parse 'sync.lip_audio.min_confidence=2:6:0.5' into the limit and its values, both ends included.

    Raises:
        ConfigError: malformed, a step that never reaches the end, or more than MAX_VALUES values.
    """
    name, _, span = text.partition("=")
    try:
        first, last, step = (Decimal(part) for part in span.split(":"))
        count = int((last - first) / step) + 1
    except (ValueError, ArithmeticError, InvalidOperation) as error:
        raise _range_error(text) from error
    if not name or not 1 <= count <= MAX_VALUES:
        raise _range_error(text)
    return name, tuple(float(first + step * k) for k in range(count))


def _range_error(text: str) -> ConfigError:
    return ConfigError(
        where="--over",
        expected=f"limit=first:last:step with at most {MAX_VALUES} values, e.g. sync.lip_audio.min_confidence=2:6:0.5",
        got=repr(text),
        hint="name one limit and its range",
    )


def sweep_set(set_folder: Path, limits: FilterLimits, *, limit_range: str) -> list[SweepPoint]:
    """Run `sweep` over a set, e.g. with 'sync.lip_audio.min_confidence=2:6:0.5'.

    'sync.min_confidence' works if one scorer scored all candidates.

    Raises:
        ConfigError: unknown limit or invalid values.
    """
    name, values = parse_range(limit_range)
    if name not in _LIMIT_PATHS:
        scorers = {scorer for part in measure_parts(set_folder) for scorer in SCORERS if has_scorer(part, scorer).any()}
        section, _, last = name.partition(".")
        name = f"sync.{scorers.pop()}.{last}" if section == "sync" and len(scorers) == 1 else name
    return sweep(measure_parts(set_folder), limits, limit=name, values=values)


def sweep(parts: Iterable[pa.Table], limits: FilterLimits, *, limit: str, values: Sequence[float]) -> list[SweepPoint]:
    """Return one point per value.

    Args:
        parts: rows of `measures`, in any number of tables.
        limits: the current limits.
        limit: dotted path of the limit to sweep.
        values: its values.

    Raises:
        ConfigError: unknown limit, or a value outside its range.
    """
    rule = _find_rule(limit)
    for value in values:
        with_limit(limits, limit, value)  # validate all values first
    other_limits = with_limit(limits, limit, None)
    totals, current = [ClipTotals()] * len(values), ClipTotals()
    for part in parts:
        lengths = lengths_us(part)
        otherwise_kept = _passing_mask(part, other_limits)
        current += ClipTotals.of_selection(_passing_mask(part, limits), lengths)
        for k, value in enumerate(values):
            missing, failing = rule_masks(part, rule, value)
            totals[k] += ClipTotals.of_selection(otherwise_kept & ~missing & ~failing, lengths)
    return [
        SweepPoint(value, kept, kept.duration_us - current.duration_us)
        for value, kept in zip(values, totals, strict=True)
    ]


def with_limit(limits: FilterLimits, name: str, value: float | None) -> FilterLimits:
    """Return the limits with one limit set, adding its section if absent; ConfigError for a value out of range."""
    values: dict[str, Any] = limits.model_dump()
    at = values
    *sections, last = name.split(".")
    for section in sections:
        at[section] = at[section] if at.get(section) is not None else {}
        at = at[section]
    # Frame counts of a range arrive as floats.
    at[last] = int(value) if value is not None and last.endswith("_frames") and value == int(value) else value
    try:
        return FilterLimits.model_validate(values)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"]
        raise ConfigError(
            where=name, expected=message[0].lower() + message[1:], got=str(value), hint="correct it"
        ) from error


def _passing_mask(measures: pa.Table, limits: FilterLimits) -> Mask:
    failing = np.zeros(len(measures), dtype=bool)
    for mask in failure_masks(measures, limits).values():
        failing |= mask
    return ~failing


def _find_rule(name: str) -> FilterRule:
    match = next((rule for rule in FILTER_RULES if rule.limit_path == name), None)
    if match is None:
        nearest = difflib.get_close_matches(name, _LIMIT_PATHS, n=1, cutoff=0.0)[0]
        raise ConfigError(
            where="--over", expected="the name of a limit", got=repr(name), hint=f"did you mean {nearest!r}?"
        )
    return match
