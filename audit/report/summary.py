"""The few numbers on top of the page, each with the interval that holds it in 95 of 100 cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xsheet.audit.agreement.bootstrap import Estimate, estimate, per_clip, ratio, resampled
from xsheet.audit.people.sampling import wilson
from xsheet.audit.report.charts import Whisker, whisker
from xsheet.audit.review.queue import Entry

RESAMPLES = 1_000  # the ends of a 95 % interval are then the 25th value from either side


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A number, what it is of, and where it lies between 0 and 1."""

    name: str
    value: str
    note: str
    whisker: Whisker | None = None


def share_of(hits: int, looked_at: int) -> Estimate:
    """A share with Wilson's bounds; null where nothing was looked at."""
    return Estimate(hits / looked_at, *wilson(hits, looked_at)) if looked_at else Estimate(None, None, None)


def facts(entries: Sequence[Entry], faulty: Mapping[str, int]) -> list[Fact]:
    """Replies that can be used, annotations without an error, phases without one, and the mean score.

    Args:
        entries: all annotations of the layer.
        faulty: by annotation, how many of its phases have a finding of severity error.
    """
    usable = [entry for entry in entries if entry.reply == "ok"]
    clean, phases = sum(not entry.errors for entry in usable), sum(entry.phases for entry in usable)
    by_phase, score = _over_clips(usable, faulty)
    bad = sum(faulty.get(entry.annotation_id, 0) for entry in usable)
    found = [
        fact("usable replies", share_of(len(usable), len(entries)), f"{len(usable):,} of {len(entries):,}"),
        fact("clips without an error", share_of(clean, len(usable)), f"{clean:,} of {len(usable):,}"),
        fact("phases without an error", by_phase, f"{phases - bad:,} of {phases:,}"),
    ]
    scored = sum(entry.score is not None for entry in usable)
    return found + ([fact("mean score", score, f"of {scored:,}, 1 is best", is_share=False)] if scored else [])


def fact(name: str, number: Estimate, note: str, *, is_share: bool = True) -> Fact:
    """A number as it stands on the page."""
    if number.value is None:
        return Fact(name=name, value="–", note=note)
    low, high = number.low or 0.0, number.high or 0.0
    value, bounds = (percent(number.value), f"{100 * low:.3g}–{percent(high)}")
    if not is_share:
        value, bounds = f"{number.value:.2f}", f"{low:.2f}–{high:.2f}"
    return Fact(name=name, value=value, note=f"{bounds} · {note}", whisker=whisker(number))


def percent(share: float) -> str:
    """A share for people; what is not all never reads as all."""
    text = f"{100 * share:.3g}"
    return f"{'> 99.9' if text == '100' and share < 1 else text} %"


def _over_clips(entries: Sequence[Entry], faulty: Mapping[str, int]) -> tuple[Estimate, Estimate]:
    """Share of phases without an error, and mean score: clips are drawn anew, for phases of one clip err together."""
    ids, clip = np.unique([entry.clip_id for entry in entries], return_inverse=True)
    phases = np.array([entry.phases for entry in entries], dtype=np.int64)
    bad = np.array([faulty.get(entry.annotation_id, 0) for entry in entries], dtype=np.int64)
    score = np.array([np.nan if entry.score is None else entry.score for entry in entries], dtype=np.float64)
    known = np.isfinite(score)
    columns = ((clip, phases), (clip, phases - bad), (clip, known), (clip, np.nan_to_num(score)))
    block = {"sums": per_clip(len(ids), *columns)}
    sums = resampled([block], resamples=RESAMPLES, rng=np.random.default_rng(0))["sums"]
    return estimate(ratio(sums[:, 1], sums[:, 0])), estimate(ratio(sums[:, 3], sums[:, 2]))
