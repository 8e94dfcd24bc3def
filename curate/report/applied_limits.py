"""The limits behind the verdicts of a set, each with the measurement that it judges."""

from collections.abc import Iterator
from contextlib import suppress
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
    """A limit that is set, with its rule."""

    rule: FilterRule
    value: float

    @property
    def text(self) -> str:
        """The limit with its unit, such as "≥ 100 px"."""
        return f"{'≥' if self.rule.bound == 'min' else '≤'} {format_value(self.value, self.rule.measure_path)}"

    def headroom(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of values from the limit: negative where they fail, NaN where they are NaN."""
        return values - self.value if self.rule.bound == "min" else self.value - values


def applied_limits(limits: FilterLimits | None) -> tuple[AppliedLimit, ...]:
    """The limits that are set, in the order of FILTER_RULES."""
    if limits is None:
        return ()
    values = ((rule, rule.limit_value(limits)) for rule in FILTER_RULES)
    return tuple(AppliedLimit(rule, value) for rule, value in values if value is not None)


def reason_order(limits: FilterLimits | None) -> tuple[str, ...]:
    """Every reason that the limits can give, in the order of a verdict."""
    return () if limits is None else tuple(failure_masks(tables.arrow_schema(tables.MEASURES).empty_table(), limits))


def limits_of_verdicts(set_folder: Path) -> FilterLimits | None:
    """The limits with the hash of the verdicts, from the manifests of the set; None if no manifest has them."""
    for path in tables.part_files(set_folder, tables.VERDICTS):
        hashes = tables.read_file(path, tables.VERDICTS, ["limits_sha256"])["limits_sha256"]
        if len(hashes):
            return next(
                (one for one in _limits_in_manifests(set_folder) if settings_sha256(one) == hashes[0].as_py()), None
            )
    return None


def _limits_in_manifests(set_folder: Path) -> Iterator[FilterLimits]:
    for manifest in reversed(read_manifests(set_folder)):
        yield from _find_limits(manifest.settings)


def _find_limits(value: Any) -> Iterator[FilterLimits]:
    """Every section of some settings that is a full set of limits, at any depth."""
    if not isinstance(value, dict):
        return
    if set(value) >= set(FilterLimits.model_fields):  # alone, or beside the other settings of a run
        with suppress(ValidationError):  # of another version, whose hash differs too
            yield FilterLimits.model_validate({name: value[name] for name in FilterLimits.model_fields})
    for inside in value.values():
        yield from _find_limits(inside)


def read_manifests(set_folder: Path) -> tuple[RunManifest, ...]:
    """Manifests of all runs over a set, the earliest first; unreadable files are skipped."""
    found = []
    for path in sorted((set_folder / "manifests").glob("*.json")):
        try:
            found.append(RunManifest.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            continue  # `xsheet schemas check` reports them
    return tuple(found)
