"""A candidate on a terminal: its facts, its measurements beside their limits, and sparklines of its series."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from xsheet.curate.report.inspect import CandidateDetails, LimitCheck
from xsheet.curate.report.wording import format_value, measurement_title, reason_text
from xsheet.pages.clips import file_name
from xsheet.pages.wording import printable
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.columns import Series
from xsheet.schemas.time import seconds_from_us

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 64
_UNIT_RANGE_SERIES = {"voice"}  # series that are drawn over 0..1 whatever their values


def render_candidate(details: CandidateDetails) -> RenderableType:
    """Everything known about one candidate; text from files and tags is printed, never interpreted as markup."""
    verdict = details.verdict
    state = (
        Text("without a verdict")
        if verdict is None
        else Text("kept", "green")
        if verdict.kept
        else Text("rejected", "red")
    )
    name = "" if details.source is None else f"  {printable(file_name(details.source.path))}"
    heading = Text.assemble((details.measures.clip_id, "bold"), name, "  ", state)
    facts = Table.grid(padding=(0, 2))
    for name, value in _fact_rows(details):
        facts.add_row(Text(name, "dim"), Text(printable(value)))
    return Group(heading, facts, "", _measurements(details), "", _sparkline_table(details))


def _fact_rows(found: CandidateDetails) -> Iterator[tuple[str, str]]:
    measures, source, shot, track = found.measures, found.source, found.shot, found.track
    if found.verdict is not None and found.verdict.reasons:
        yield "reasons", ", ".join(reason_text(reason) for reason in found.verdict.reasons)
    length_s = seconds_from_us(measures.span.duration_us)
    yield "span", f"{measures.span} of the source, {length_s:.2f} s long"
    if source is not None:
        rate = "" if source.rate is None else f", {float(source.rate):.4g} fps"
        yield "source", f"{source.path} ({source.width}×{source.height}{rate})"
    if shot is not None:
        scores = ", ".join(f"{score.detector} {score.score:.3g}" for score in shot.cut_scores)
        yield "shot", f"{shot.span}, starts with {shot.opens_with}{': ' if scores else ''}{scores}"
    if track is not None:
        yield (
            "face",
            f"{track.track_id}, {track.frames} frames from frame {track.start_frame}, detector {track.detector}",
        )
    if measures.speaker is not None:
        yield "speaker", measures.speaker
    if measures.sync is not None:
        yield "sync before correction", _sync_text(measures.sync)
    if measures.sync_corrected is not None:
        yield "sync after correction", _sync_text(measures.sync_corrected)
    if measures.sync_second is not None:
        yield "sync by the second scorer", _sync_text(measures.sync_second)
    for row in found.near_duplicates:
        other = row.other_id if row.source_id == measures.source_id else row.source_id
        yield "near duplicate", f"source {other}, matched by {row.by}, {100 * row.bit_error:.3g} % of bits differ"
    if found.split is not None:
        yield "split", f"{found.split.split}, cluster {found.split.cluster} (identity from {found.split.identity_by})"
    if found.clip is not None:
        shift = f", audio shifted by {found.clip.audio_shift_us / 1000:+.0f} ms" if found.clip.audio_shift_us else ""
        yield "clip", f"{found.clip.media_path} ({found.clip.width}×{found.clip.height}{shift})"


def _sync_text(score: SyncScore) -> str:
    if score.offset_frames is None:
        return f"not measurable: {score.not_measurable or 'no reason given'} ({score.scorer})"
    parts = [f"offset {score.offset_frames:+d} frames"]
    for name in ("confidence", "margin", "distance", "windows"):
        if (value := getattr(score, name)) is not None:
            parts.append(f"{name} {value:.3g}")
    return f"{', '.join(parts)} ({score.scorer})"


def _measurements(found: CandidateDetails) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("measurement")
    table.add_column("value", justify="right")
    table.add_column("limit")
    table.add_column("")
    for check in found.checks:
        table.add_row(
            measurement_title(check.measure_path),
            _value_text(check),
            check.limit.text if check.limit else "",
            _pass_mark(check),
        )
    return table


def _value_text(check: LimitCheck) -> str:
    return "not measured" if check.value is None else format_value(check.value, check.measure_path)


def _pass_mark(check: LimitCheck) -> Text:
    return Text("") if check.passes is None else Text("✓", "green") if check.passes else Text("✕", "red")


def _sparkline_table(found: CandidateDetails) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, series in found.series.items():
        known = [value for value in series if value is not None]
        low, high = (0.0, 1.0) if name in _UNIT_RANGE_SERIES else (min(known), max(known))
        table.add_row(Text(name, "dim"), sparkline(series, low=low, high=high), Text(f"{low:.3g} … {high:.3g}", "dim"))
    return table


def sparkline(series: Series, *, low: float, high: float, width: int = _WIDTH) -> str:
    """A series as one line of blocks, each the mean of its interval; an interval without a value is blank."""
    width = min(width, len(series))
    drawn = []
    for k in range(width):
        interval = series[k * len(series) // width : (k + 1) * len(series) // width]
        known = [value for value in interval if value is not None]
        if not known:
            drawn.append(" ")
            continue
        share = (sum(known) / len(known) - low) / (high - low) if high > low else 0.5
        drawn.append(_BLOCKS[min(len(_BLOCKS) - 1, max(0, int(share * len(_BLOCKS))))])
    return "".join(drawn)
