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

from xsheet.curate.filter.columns import Mask, mask
from xsheet.curate.filter.decide import decide
from xsheet.curate.filter.limits import Limits
from xsheet.schemas import tables
from xsheet.schemas.settings import settings_sha256

JUDGED_COLUMNS = (
    "clip_id", "source_id", "start_us", "end_us", "speaker", "face", "picture", "sound", "sync", "sync_corrected",
    "motion",
)  # fmt: skip
"""Columns of `measures` that a verdict can depend on."""

_US_PER_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Tally:
    """Some candidates: how many, and how long together."""

    clips: int = 0
    us: int = 0

    @property
    def hours(self) -> float:
        """Length for people."""
        return self.us / _US_PER_HOUR

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.clips + other.clips, self.us + other.us)

    @classmethod
    def of(cls, chosen: Mask, lengths_us: NDArray[np.int64]) -> "Tally":
        """The chosen ones among candidates of these lengths."""
        return cls(int(chosen.sum()), int(lengths_us[chosen].sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What deciding a set came to, against the verdicts that stood there before."""

    limits_sha256: str
    all: Tally = Tally()
    kept: Tally = Tally()
    now_kept: Tally = Tally()  # were rejected
    now_rejected: Tally = Tally()  # were kept
    new: Tally = Tally()  # had no verdict
    reasons: Mapping[str, int] = field(default_factory=dict)  # candidates per reason; one candidate may have several

    def __add__(self, other: "Decision") -> "Decision":
        return Decision(
            limits_sha256=self.limits_sha256,
            all=self.all + other.all,
            kept=self.kept + other.kept,
            now_kept=self.now_kept + other.now_kept,
            now_rejected=self.now_rejected + other.now_rejected,
            new=self.new + other.new,
            reasons=dict(Counter(self.reasons) + Counter(other.reasons)),
        )


def decide_set(set_folder: Path, limits: Limits) -> Decision:
    """Replace the table `verdicts` by what these limits say of the table `measures`; one part in memory at a time.

    Raises:
        ContractError: a table that this code does not read.
    """
    before = tables.read_table(set_folder, tables.VERDICTS, ["clip_id", "kept"])
    done = Decision(limits_sha256=settings_sha256(limits))

    def parts() -> Iterator[pa.Table]:
        nonlocal done
        for measures in measure_parts(set_folder):
            verdicts = decide(measures, limits)
            done += _compare(measures, verdicts, before, limits_sha256=done.limits_sha256)
            yield verdicts

    tables.write_arrow(set_folder, tables.VERDICTS, parts())
    return done


def measure_parts(set_folder: Path) -> Iterator[pa.Table]:
    """The parts of the table `measures`, with the columns that are judged."""
    for path in tables.part_files(set_folder, tables.MEASURES):
        yield tables.read_file(path, tables.MEASURES, JUDGED_COLUMNS)


def lengths_us(measures: pa.Table) -> NDArray[np.int64]:
    """Length of each candidate."""
    lengths: NDArray[np.int64] = pc.subtract(measures["end_us"], measures["start_us"]).to_numpy()
    return lengths


def _compare(measures: pa.Table, verdicts: pa.Table, before: pa.Table, *, limits_sha256: str) -> Decision:
    lengths = lengths_us(measures)
    kept = mask(verdicts["kept"])
    place = pc.index_in(measures["clip_id"], value_set=before["clip_id"].combine_chunks())
    was_kept = mask(before["kept"].take(place))
    is_new = mask(place.is_null())
    counted = pc.value_counts(pc.list_flatten(verdicts["reasons"])).to_pylist()
    return Decision(
        limits_sha256=limits_sha256,
        all=Tally.of(np.ones_like(kept), lengths),
        kept=Tally.of(kept, lengths),
        now_kept=Tally.of(kept & ~was_kept & ~is_new, lengths),
        now_rejected=Tally.of(~kept & was_kept, lengths),
        new=Tally.of(is_new, lengths),
        reasons={entry["values"]: entry["counts"] for entry in counted},
    )
