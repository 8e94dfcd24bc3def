"""What `xsheet curate` prints."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xsheet.curate.discover import InputFile
    from xsheet.curate.filter.decide import DecisionSummary
    from xsheet.curate.pipeline import CurationResult
    from xsheet.curate.report.funnel import Funnel
    from xsheet.curate.report.inspect import CandidateDetails
    from xsheet.curate.resegment import SegmentChanges
    from xsheet.curate.settings import CurateSettings

# Measured on real clips of 720p and below; a dry run estimates hours from file sizes.
BYTES_PER_HOUR = 500_000_000


def input_size_bytes(file: "InputFile") -> int:
    """Size of an input; 0 when it cannot be read."""
    if file.is_remote:
        return file.remote.size_bytes if file.remote else 0
    try:
        return Path(file.path).stat().st_size
    except OSError:
        return 0


def candidate_json(details: "CandidateDetails") -> dict[str, object]:
    """One candidate with its checks, as JSON."""
    from dataclasses import asdict

    records = {name: getattr(details, name) for name in ("measures", "verdict", "source", "shot", "clip")}
    checks = [
        {"measure": check.measure_path, "value": check.value, "limit": check.limit and check.limit.text,
         "passes": check.passes} for check in details.checks
    ]  # fmt: skip
    found: dict[str, object] = {name: None if record is None else asdict(record) for name, record in records.items()}
    return found | {"checks": checks}


def show_estimate(settings: "CurateSettings", hours: float, jobs: int, *, inputs: int | None, as_json: bool) -> None:
    """Print steps, limits, time and disk of a run."""
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table
    from xsheet.curate.report.estimate import MEASURED_COSTS, PLAN_COLUMNS, estimate_run, plan_rows
    from xsheet.schemas.settings import to_yaml

    plan = estimate_run(settings.limits, MEASURED_COSTS, hours=hours, jobs=jobs)
    if as_json:
        limits = settings.limits.model_dump(mode="json")
        print_json({"inputs": inputs, "hours": round(hours, 4), "jobs": jobs, "limits": limits} | asdict(plan))
        return
    prefix = "" if inputs is None else f"{inputs} inputs, "
    print_table(f"{prefix}about {hours:.2g} hours of video on {jobs} workers", PLAN_COLUMNS, plan_rows(plan))
    console().print(to_yaml(settings.limits), markup=False)


def show_decision(decision: "DecisionSummary", *, as_json: bool) -> None:
    """Print how many candidates are kept, and why the others are not."""
    from xsheet.cli.show import console, print_json, print_table

    parts = ("all", "kept", "newly_kept", "newly_rejected", "without_previous_verdict")
    tallies = {name: getattr(decision, name) for name in parts}
    reasons = sorted(decision.reasons.items(), key=lambda item: (-item[1], item[0]))
    if as_json:
        counted = {name: {"clips": tally.clips, "hours": tally.hours} for name, tally in tallies.items()}
        print_json(counted | {"reasons": dict(reasons), "limits_sha256": decision.limits_sha256})
        return
    rows = [(name.replace("_", " "), tally.clips, tally.hours) for name, tally in tallies.items()]
    print_table("candidates", ("", "clips", "hours"), rows)
    if reasons:
        print_table("reject reasons (a candidate may have several)", ("reason", "candidates"), reasons)
    else:
        console().print("no reject reasons")


def show_segment_changes(changes: "SegmentChanges", *, as_json: bool) -> None:
    """Print what `curate segment` changed."""
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table

    if as_json:
        print_json(asdict(changes))
        return
    rows = [
        ("shots", changes.shots_added, changes.shots_removed, "", "", ""),
        ("candidates", changes.candidates_added, changes.candidates_removed, changes.candidates_moved,
         changes.candidates_rescored, changes.candidates_unchanged),
    ]  # fmt: skip
    print_table("changes", ("", "added", "removed", "moved", "rescored", "unchanged"), rows)
    if changes.by_source:
        most = list(changes.by_source.items())[:MAX_CHANGED_SOURCES_SHOWN]
        print_table("sources with changes", ("file", "candidates"), most)
        if len(changes.by_source) > len(most):
            console().print(f"... and {len(changes.by_source) - len(most)} more")
    show_decision(changes.decision, as_json=False)
    console().print(
        f"{changes.sources} sources, none decoded; {changes.clips_removed} clips removed from the tables. "
        "next: xsheet curate run with the same settings writes the missing clips",
        markup=False,
    )


def show_funnel(funnel: "Funnel") -> None:
    """Print what remains after each stage, and what each reject reason costs."""
    from xsheet.cli.show import print_table
    from xsheet.curate.report.funnel import stage_rows

    print_table("funnel: hours of source video", ("", "count", "hours"), stage_rows(funnel))
    heads = ("reason", "clips", "hours", "only: clips", "only: hours")
    costs = (
        (c.reason, c.in_total.count, c.in_total.hours, c.as_only_reason.count, c.as_only_reason.hours)
        for c in funnel.reason_costs
    )
    print_table("reject reasons; only = candidates with no other reason", heads, costs)


MAX_FAILED_CLIPS_SHOWN = 20
MAX_CHANGED_SOURCES_SHOWN = 10


def show_failed_clips(curated: "CurationResult") -> None:
    """Print the kept candidates whose clip could not be written, with the reason."""
    from xsheet.cli.show import console, print_table

    failed = curated.failed_clips
    rows = ((one.name, one.stage, one.reason, one.message) for one in failed[:MAX_FAILED_CLIPS_SHOWN])
    print_table("clips that could not be written", ("candidate", "stage", "reason", "message"), rows)
    if len(failed) > MAX_FAILED_CLIPS_SHOWN:
        console().print(f"... and {len(failed) - MAX_FAILED_CLIPS_SHOWN} more")


def show_run(curated: "CurationResult", out: Path, *, as_json: bool) -> None:
    """Print the summary of a run."""
    from xsheet.cli.show import console, print_json, print_table

    counts = curated.counts
    if as_json:
        failed_clips = [{"name": o.name, "reason": o.reason, "message": o.message} for o in curated.failed_clips]
        rounded = {k: round(v, 2) for k, v in curated.seconds.items()}
        print_json({"set": str(out), "counts": counts, "failed_clips": failed_clips, "seconds": rounded})
        return
    not_ok = [s for s in curated.sources if s.status != "ok"]
    if not_ok:
        rows = ((s.path, s.status, s.stage, s.reason, s.message) for s in not_ok[:20])
        print_table("unusable files", ("file", "status", "stage", "reason", "message"), rows)
        if len(not_ok) > 20:
            console().print(f"... and {len(not_ok) - 20} more in table sources")
    unusable = [(s.path, segment.message) for s in curated.sources for segment in s.unusable_segments]
    if unusable:
        print_table("segments that do not fit their video", ("file", "message"), unusable[:20])
        if len(unusable) > 20:
            console().print(f"... and {len(unusable) - 20} more in column unusable_segments of table sources")
    show_decision(curated.decision, as_json=False)
    if curated.failed_clips:
        show_failed_clips(curated)
    if curated.removed_sources:
        console().print(f"{curated.removed_sources} sources of earlier runs removed from the tables", style="yellow")
    seconds = ", ".join(f"{step} {s:.0f} s" for step, s in curated.seconds.items() if not step.startswith("cpu."))
    console().print(
        f"{counts['sources']} sources: {counts['sources_ok']} ok, {counts['sources_rejected']} rejected, "
        f"{counts['sources_failed']} failed. "
        f"{counts['clips']} clips in {out}, {counts['clips_failed']} failed ({seconds}).\n"
        f"next: xsheet curate report {out}",
        markup=False,
    )
