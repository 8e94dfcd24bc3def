"""Gauges: the limits that a set was judged by, each beside the measurement it judges."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from xsheet.curate.filter.decide import LIMIT_OF, Judged, failures
from xsheet.curate.filter.limits import Limits
from xsheet.curate.report.wording import with_unit
from xsheet.schemas import tables
from xsheet.schemas.manifest import RunManifest
from xsheet.schemas.settings import settings_sha256


@dataclass(frozen=True, slots=True)
class Gauge:
    """A limit that is set, and what it judges."""

    judged: Judged
    limit: float

    @property
    def text(self) -> str:
        """Such as "≥ 100 px"."""
        return f"{'≥' if self.judged.sense == 'min' else '≤'} {with_unit(self.limit, self.judged.measure)}"

    def headroom(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far values are on the good side of the limit; negative where they fail, NaN where not measured."""
        return values - self.limit if self.judged.sense == "min" else self.limit - values


def gauges(limits: Limits | None) -> tuple[Gauge, ...]:
    """The limits that are set, in the order of the reasons they give."""
    if limits is None:
        return ()
    found = ((judged, judged.value(limits)) for judged in LIMIT_OF)
    return tuple(Gauge(judged, value) for judged, value in found if value is not None)


def reason_order(limits: Limits | None) -> tuple[str, ...]:
    """Every reason that the limits can give, in the order in which a verdict lists them."""
    return () if limits is None else tuple(failures(tables.arrow_schema(tables.MEASURES).empty_table(), limits))


# ---- which limits


def judging_limits(set_folder: Path) -> Limits | None:
    """The limits whose hash the verdicts carry, from the manifests of the set; None when no manifest has them."""
    for path in tables.part_files(set_folder, tables.VERDICTS):
        hashes = tables.read_file(path, tables.VERDICTS, ["limits_sha256"])["limits_sha256"]
        if len(hashes):
            return next(
                (one for one in _limits_in_manifests(set_folder) if settings_sha256(one) == hashes[0].as_py()), None
            )
    return None


def _limits_in_manifests(set_folder: Path) -> Iterator[Limits]:
    for told in reversed(read_manifests(set_folder)):
        yield from _limits_inside(told.settings)


def _limits_inside(value: Any) -> Iterator[Limits]:
    """Every section of some settings that is a full set of limits, wherever the verb keeps it."""
    if not isinstance(value, dict):
        return
    if set(value) == set(Limits.model_fields):
        try:
            yield Limits.model_validate(value)
        except ValidationError:
            return  # of another version; its hash cannot be that of ours either
    for inside in value.values():
        yield from _limits_inside(inside)


def read_manifests(set_folder: Path) -> tuple[RunManifest, ...]:
    """Manifests of all runs over a set, the earliest first; what is no manifest is left out."""
    found = []
    for path in sorted((set_folder / "manifests").glob("*.json")):
        try:
            found.append(RunManifest.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            continue  # a report shows what it can read; `xsheet schemas check` complains
    return tuple(found)
