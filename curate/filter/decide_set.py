"""Decide a whole set again: measures part by part in, verdicts part by part out, and what changed."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, where no checker sees them.

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xsheet.curate.filter.columns import Mask, to_mask
from xsheet.curate.filter.decide import decide
from xsheet.curate.filter.limits import FilterLimits
from xsheet.schemas import tables
from xsheet.schemas.settings import settings_sha256

DECISION_COLUMNS = (
    "clip_id", "source_id", "start_us", "end_us", "speaker", "face", "picture", "sound", "sync", "sync_corrected",
    "motion",
)  # fmt: skip
"""Columns of `measures` that a verdict can depend on."""

_US_PER_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class ClipTotals:
    """Some candidates: how many, and how long together."""

    clips: int = 0
    duration_us: int = 0

    @property
    def hours(self) -> float:
        """Length for people."""
        return self.duration_us / _US_PER_HOUR

    def __add__(self, other: "ClipTotals") -> "ClipTotals":
        return ClipTotals(self.clips + other.clips, self.duration_us + other.duration_us)

    @classmethod
    def of_selection(cls, selected: Mask, lengths_us: NDArray[np.int64]) -> "ClipTotals":
        """The chosen ones among candidates of these lengths."""
        return cls(int(selected.sum()), int(lengths_us[selected].sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSummary:
    """What deciding a set came to, against the verdicts that stood there before."""

    limits_sha256: str
    all: ClipTotals = ClipTotals()
    kept: ClipTotals = ClipTotals()
    newly_kept: ClipTotals = ClipTotals()  # were rejected
    newly_rejected: ClipTotals = ClipTotals()  # were kept
    without_previous_verdict: ClipTotals = ClipTotals()  # had no verdict
    reasons: Mapping[str, int] = field(default_factory=dict)  # candidates per reason; one candidate may have several

    def __add__(self, other: "DecisionSummary") -> "DecisionSummary":
        return DecisionSummary(
            limits_sha256=self.limits_sha256,
            all=self.all + other.all,
            kept=self.kept + other.kept,
            newly_kept=self.newly_kept + other.newly_kept,
            newly_rejected=self.newly_rejected + other.newly_rejected,
            without_previous_verdict=self.without_previous_verdict + other.without_previous_verdict,
            reasons=dict(Counter(self.reasons) + Counter(other.reasons)),
        )


def decide_set(set_folder: Path, limits: FilterLimits) -> DecisionSummary:
    """Replace the table `verdicts` by what these limits say of the table `measures`; one part in memory at a time.

    Raises:
        ContractError: a table that this code does not read.
    """
    before = tables.read_table(set_folder, tables.VERDICTS, ["clip_id", "kept"])
    done = DecisionSummary(limits_sha256=settings_sha256(limits))

    def parts() -> Iterator[pa.Table]:
        nonlocal done
        for measures in measure_parts(set_folder):
            verdicts = decide(measures, limits)
            done += _summarise_changes(measures, verdicts, before, limits_sha256=done.limits_sha256)
            yield verdicts

    tables.write_arrow(set_folder, tables.VERDICTS, parts())
    return done


def measure_parts(set_folder: Path) -> Iterator[pa.Table]:
    """The parts of the table `measures`, with the columns that are judged."""
    for path in tables.part_files(set_folder, tables.MEASURES):
        yield tables.read_file(path, tables.MEASURES, DECISION_COLUMNS)


def lengths_us(measures: pa.Table) -> NDArray[np.int64]:
    """Length of each candidate."""
    lengths: NDArray[np.int64] = pc.subtract(measures["end_us"], measures["start_us"]).to_numpy()
    return lengths


def _summarise_changes(
    measures: pa.Table, verdicts: pa.Table, previous: pa.Table, *, limits_sha256: str
) -> DecisionSummary:
    lengths = lengths_us(measures)
    kept = to_mask(verdicts["kept"])
    place = pc.index_in(measures["clip_id"], value_set=previous["clip_id"].combine_chunks())
    was_kept = to_mask(previous["kept"].take(place))
    is_new = to_mask(place.is_null())
    counted = pc.value_counts(pc.list_flatten(verdicts["reasons"])).to_pylist()
    return DecisionSummary(
        limits_sha256=limits_sha256,
        all=ClipTotals.of_selection(np.ones_like(kept), lengths),
        kept=ClipTotals.of_selection(kept, lengths),
        newly_kept=ClipTotals.of_selection(kept & ~was_kept & ~is_new, lengths),
        newly_rejected=ClipTotals.of_selection(~kept & was_kept, lengths),
        without_previous_verdict=ClipTotals.of_selection(is_new, lengths),
        reasons={entry["values"]: entry["counts"] for entry in counted},
    )
