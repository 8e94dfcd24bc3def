"""A candidate on a terminal: facts, measurements beside their limits, and small curves of its series."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from xsheet.curate.report.inspect import CandidateDetails, LimitCheck
from xsheet.curate.report.wording import format_value, measurement_title, printable, reason_text
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.columns import Series
from xsheet.schemas.time import seconds_from_us

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 64
_UNIT_RANGE_SERIES = {"voice"}  # series whose range is 0..1 whatever they hold


def render_candidate(details: CandidateDetails) -> RenderableType:
    """Everything known about one candidate; text from files and tags is shown, never interpreted."""
    verdict = details.verdict
    state = (
        Text("not judged") if verdict is None else Text("kept", "green") if verdict.kept else Text("not kept", "red")
    )
    heading = Text.assemble((details.measures.clip_id, "bold"), "  ", state)
    facts = Table.grid(padding=(0, 2))
    for name, value in _fact_rows(details):
        facts.add_row(Text(name, "dim"), Text(printable(value)))
    return Group(heading, facts, "", _measurements(details), "", _sparkline_table(details))


def _fact_rows(found: CandidateDetails) -> Iterator[tuple[str, str]]:
    measures, source, shot, track = found.measures, found.source, found.shot, found.track
    if found.verdict is not None and found.verdict.reasons:
        yield "reasons", ", ".join(reason_text(reason) for reason in found.verdict.reasons)
    length_s = seconds_from_us(measures.span.duration_us)
    yield "span", f"{measures.span} of the source, {length_s:.2f} s"
    if source is not None:
        rate = "" if source.rate is None else f", {float(source.rate):.4g} fps"
        yield "source", f"{source.path} ({source.width}×{source.height}{rate})"
    if shot is not None:
        scores = ", ".join(f"{score.detector} {score.score:.3g}" for score in shot.cut_scores)
        yield "shot", f"{shot.span} opens with {shot.opens_with}{': ' if scores else ''}{scores}"
    if track is not None:
        yield "face", f"{track.track_id}, {track.frames} frames from {track.start_frame}, by {track.detector}"
    if measures.speaker is not None:
        yield "speaker", measures.speaker
    if measures.sync is not None:
        yield "sync as found", _sync_text(measures.sync)
    if measures.sync_corrected is not None:
        yield "sync corrected", _sync_text(measures.sync_corrected)
    for row in found.near_duplicates:
        other = row.other_id if row.source_id == measures.source_id else row.source_id
        yield "near duplicate", f"source {other} by {row.by}, {100 * row.bit_error:.3g} % of bits differ"
    if found.split is not None:
        yield "split", f"{found.split.split}, with cluster {found.split.cluster} (people by {found.split.identity_by})"
    if found.clip is not None:
        shift = f", sound moved by {found.clip.audio_shift_us / 1000:+.0f} ms" if found.clip.audio_shift_us else ""
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
        there = [value for value in series if value is not None]
        low, high = (0.0, 1.0) if name in _UNIT_RANGE_SERIES else (min(there), max(there))
        table.add_row(Text(name, "dim"), sparkline(series, low=low, high=high), Text(f"{low:.3g} … {high:.3g}", "dim"))
    return table


def sparkline(series: Series, *, low: float, high: float, width: int = _WIDTH) -> str:
    """A series as one line of blocks, each the mean of its stretch; a gap stays blank."""
    width = min(width, len(series))
    drawn = []
    for k in range(width):
        stretch = series[k * len(series) // width : (k + 1) * len(series) // width]
        there = [value for value in stretch if value is not None]
        if not there:
            drawn.append(" ")
            continue
        share = (sum(there) / len(there) - low) / (high - low) if high > low else 0.5
        drawn.append(_BLOCKS[min(len(_BLOCKS) - 1, max(0, int(share * len(_BLOCKS))))])
    return "".join(drawn)
