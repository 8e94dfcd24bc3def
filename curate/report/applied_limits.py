"""Gauges: the limits that a set was judged by, each beside the measurement it judges."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from xsheet.curate.filter.decide import FILTER_RULES, FilterRule, failure_masks
from xsheet.curate.filter.limits import FilterLimits
from xsheet.curate.report.wording import format_value
from xsheet.schemas import tables
from xsheet.schemas.sets import RunManifest
from xsheet.schemas.settings import settings_sha256


@dataclass(frozen=True, slots=True)
class AppliedLimit:
    """A limit that is set, and what it judges."""

    rule: FilterRule
    value: float

    @property
    def text(self) -> str:
        """Such as "≥ 100 px"."""
        return f"{'≥' if self.rule.bound == 'min' else '≤'} {format_value(self.value, self.rule.measure_path)}"

    def headroom(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far values are on the good side of the limit; negative where they fail, NaN where not measured."""
        return values - self.value if self.rule.bound == "min" else self.value - values


def applied_limits(limits: FilterLimits | None) -> tuple[AppliedLimit, ...]:
    """The limits that are set, in the order of the reasons they give."""
    if limits is None:
        return ()
    found = ((judged, judged.limit_value(limits)) for judged in FILTER_RULES)
    return tuple(AppliedLimit(judged, value) for judged, value in found if value is not None)


def reason_order(limits: FilterLimits | None) -> tuple[str, ...]:
    """Every reason that the limits can give, in the order in which a verdict lists them."""
    return () if limits is None else tuple(failure_masks(tables.arrow_schema(tables.MEASURES).empty_table(), limits))


# ---- which limits


def limits_of_verdicts(set_folder: Path) -> FilterLimits | None:
    """The limits whose hash the verdicts carry, from the manifests of the set; None when no manifest has them."""
    for path in tables.part_files(set_folder, tables.VERDICTS):
        hashes = tables.read_file(path, tables.VERDICTS, ["limits_sha256"])["limits_sha256"]
        if len(hashes):
            return next(
                (one for one in _limits_in_manifests(set_folder) if settings_sha256(one) == hashes[0].as_py()), None
            )
    return None


def _limits_in_manifests(set_folder: Path) -> Iterator[FilterLimits]:
    for told in reversed(read_manifests(set_folder)):
        yield from _find_limits(told.settings)


def _find_limits(value: Any) -> Iterator[FilterLimits]:
    """Every section of some settings that is a full set of limits, wherever the verb keeps it."""
    if not isinstance(value, dict):
        return
    if set(value) == set(FilterLimits.model_fields):
        try:
            yield FilterLimits.model_validate(value)
        except ValidationError:
            return  # of another version; its hash cannot be that of ours either
    for inside in value.values():
        yield from _find_limits(inside)


def read_manifests(set_folder: Path) -> tuple[RunManifest, ...]:
    """Manifests of all runs over a set, the earliest first; what is no manifest is left out."""
    found = []
    for path in sorted((set_folder / "manifests").glob("*.json")):
        try:
            found.append(RunManifest.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            continue  # a report shows what it can read; `xsheet schemas check` complains
    return tuple(found)
