"""The numbers at the top of the audit report, each with its 95 % confidence interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xsheet.audit.agreement.bootstrap import (
    IntervalEstimate,
    bootstrap_sums,
    percentile_interval,
    safe_ratio,
    sum_by_clip,
)
from xsheet.audit.people.sampling import wilson_interval
from xsheet.audit.report.charts import interval_whisker
from xsheet.audit.review.queue import QueueEntry
from xsheet.pages.scales import Whisker
from xsheet.pages.wording import format_percent

BOOTSTRAP_RESAMPLES = 1_000  # the bounds of a 95 % interval are the 25th value from either end


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryNumber:
    """A number with its interval; `whisker` places it between 0 and 1."""

    name: str
    value: str
    note: str
    whisker: Whisker | None = None


def wilson_estimate(successes: int, trials: int) -> IntervalEstimate:
    """A share with its Wilson interval; all None without trials."""
    return (
        IntervalEstimate(successes / trials, *wilson_interval(successes, trials))
        if trials
        else IntervalEstimate(None, None, None)
    )


def summary_numbers(entries: Sequence[QueueEntry], error_phase_counts: Mapping[str, int]) -> list[SummaryNumber]:
    """Share of usable responses, of clips and of phases without an error, and the mean score.

    Args:
        entries: all annotations of the layer.
        error_phase_counts: number of phases with an error, by annotation id.
    """
    usable = [entry for entry in entries if entry.response_status == "ok"]
    clean, phases = sum(not entry.errors for entry in usable), sum(entry.phases for entry in usable)
    by_phase, score = _clip_bootstrap(usable, error_phase_counts)
    bad = sum(error_phase_counts.get(entry.annotation_id, 0) for entry in usable)
    found = [
        summary_number(
            "usable responses", wilson_estimate(len(usable), len(entries)), f"{len(usable):,} of {len(entries):,}"
        ),
        summary_number("clips without an error", wilson_estimate(clean, len(usable)), f"{clean:,} of {len(usable):,}"),
        summary_number("phases without an error", by_phase, f"{phases - bad:,} of {phases:,}"),
    ]
    scored = sum(entry.score is not None for entry in usable)
    return found + (
        [summary_number("mean score", score, f"{scored:,} clips; 1 is best", is_share=False)] if scored else []
    )


def summary_number(name: str, number: IntervalEstimate, note: str, *, is_share: bool = True) -> SummaryNumber:
    """A number as the page shows it."""
    if number.value is None:
        return SummaryNumber(name=name, value="–", note=note)
    low, high = number.low or 0.0, number.high or 0.0
    value, bounds = (format_percent(number.value), f"{100 * low:.3g}–{format_percent(high)}")
    if not is_share:
        value, bounds = f"{number.value:.2f}", f"{low:.2f}–{high:.2f}"
    return SummaryNumber(name=name, value=value, note=f"{bounds} · {note}", whisker=interval_whisker(number))


def _clip_bootstrap(
    entries: Sequence[QueueEntry], faulty: Mapping[str, int]
) -> tuple[IntervalEstimate, IntervalEstimate]:
    """Share of phases without an error, and mean score. Clips are resampled: phases of one clip are not independent."""
    ids, clip = np.unique([entry.clip_id for entry in entries], return_inverse=True)
    phases = np.array([entry.phases for entry in entries], dtype=np.int64)
    bad = np.array([faulty.get(entry.annotation_id, 0) for entry in entries], dtype=np.int64)
    score = np.array([np.nan if entry.score is None else entry.score for entry in entries], dtype=np.float64)
    known = np.isfinite(score)
    columns = ((clip, phases), (clip, phases - bad), (clip, known), (clip, np.nan_to_num(score)))
    block = {"sums": sum_by_clip(len(ids), *columns)}
    sums = bootstrap_sums([block], resamples=BOOTSTRAP_RESAMPLES, rng=np.random.default_rng(0))["sums"]
    return percentile_interval(safe_ratio(sums[:, 1], sums[:, 0])), percentile_interval(
        safe_ratio(sums[:, 3], sums[:, 2])
    )
