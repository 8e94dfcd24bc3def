"""Charts of the curation report: histograms of measurements with their limits, and the steps of the funnel."""

from collections.abc import Sequence
from dataclasses import dataclass

from xsheet.curate.report.applied_limits import AppliedLimit
from xsheet.curate.report.candidates import CandidateTable
from xsheet.curate.report.funnel import CountAndDuration, Funnel
from xsheet.curate.report.wording import (
    format_value,
    measurement_description,
    measurement_title,
    measurement_unit,
    reason_text,
)
from xsheet.pages.histogram import Caption, Histogram, PlotLimit, build_histogram
from xsheet.pages.wording import plural

INTEGER_MEASUREMENTS = ("offset_frames", "windows", "faces_median")
"""Last parts of the paths of measurements in whole numbers."""


def measurement_histogram(candidates: CandidateTable, path: str, limits: Sequence[AppliedLimit]) -> Histogram | None:
    """The distribution of a measurement with its limits; None where no candidate has it."""
    unit = measurement_unit(path)
    return build_histogram(
        candidates.values[path],
        Caption(
            title=measurement_title(path),
            unit="degrees" if unit == "°" else unit,
            note=measurement_description(path),
            format_value=lambda value: format_value(value, path),
        ),
        limits=[
            PlotLimit(value=limit.value, label=limit.text, bound=limit.rule.bound)
            for limit in limits
            if limit.rule.measure_path == path
        ],
        kept=candidates.kept,
        kind="integer" if path.endswith(INTEGER_MEASUREMENTS) else "number",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelStep:
    """A row of the funnel: what remains after it and what it removes; shares are of the duration of all input files."""

    title: str
    note: str
    remaining_share: float
    removed_share: float
    remaining_hours: float
    removed_hours: float
    is_total: bool = False


def video_funnel_steps(funnel: Funnel) -> list[FunnelStep]:
    """From the input files to the intervals that became candidates."""
    whole_us, left_us = max(1, funnel.files.duration_us), funnel.files.duration_us
    rows = [_total_step("input files", plural(funnel.files.count, "file"), funnel.files, whole_us)]
    for title, removed in (
        ("failed", funnel.failed), ("rejected before decoding", funnel.rejected), ("duplicates", funnel.duplicates),
    ):  # fmt: skip
        if removed.count:
            left_us -= removed.duration_us
            rows.append(_funnel_step(title, plural(removed.count, "file"), left_us, removed.duration_us, whole_us))
    if (outside_us := max(0, left_us - funnel.covered_by_candidates.duration_us)) > 0:
        note = "transitions, margins, remainders"
        rows.append(_funnel_step("outside of candidates", note, left_us - outside_us, outside_us, whole_us))
    return rows


def candidate_funnel_steps(funnel: Funnel) -> list[FunnelStep]:
    """From the candidates to the kept clips. Each candidate counts under its first reason, so that the rows add up.

    Durations are of source video: what a reason removes is what none of the remaining candidates covers.
    """
    whole_us, left_us = max(1, funnel.files.duration_us), funnel.covered_by_candidates.duration_us
    rows = [_total_step("candidates", plural(funnel.candidates.count, "clip"), funnel.covered_by_candidates, whole_us)]
    for reason, amount in funnel.covered_removals:
        left_us -= amount.duration_us
        title = "without a verdict" if reason is None else reason_text(reason)
        rows.append(_funnel_step(title, plural(amount.count, "clip"), left_us, amount.duration_us, whole_us))
    rows.append(_total_step("kept", plural(funnel.kept.count, "clip"), funnel.covered_by_kept, whole_us))
    return rows


def _total_step(title: str, note: str, amount: CountAndDuration, whole_us: int) -> FunnelStep:
    return _funnel_step(title, note, amount.duration_us, 0, whole_us, is_total=True)


def _funnel_step(
    title: str, note: str, left_us: int, removed_us: int, whole_us: int, *, is_total: bool = False
) -> FunnelStep:
    return FunnelStep(
        title=title,
        note=note,
        remaining_share=round(left_us / whole_us, 4),
        removed_share=round(removed_us / whole_us, 4),
        remaining_hours=left_us / 3_600_000_000,
        removed_hours=removed_us / 3_600_000_000,
        is_total=is_total,
    )
