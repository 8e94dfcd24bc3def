"""The time axis of one annotation: voice, mouth, tracks with their phases, other layers, findings and cuts."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from xsheet.annotate.speech.relation import voice_spans
from xsheet.audit.report.curves import build_signal_curves
from xsheet.pages.scales import AxisScale
from xsheet.pages.time_axis import (
    AxisBar,
    AxisLane,
    AxisMarker,
    TimeAxis,
    layout_time_axis,
    percent_span,
    time_scale,
)
from xsheet.pages.wording import format_seconds, readable
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Finding, Phase
from xsheet.schemas.clip import Signals

SEVERITIES: tuple[vocab.Severity, ...] = ("error", "warning", "info")
SEVERITY_SYMBOLS: Mapping[vocab.Severity, str] = {"error": "◆", "warning": "▲", "info": "●"}
"""Shapes, so that a severity can be read without its colour."""
MAX_OTHER_LAYERS = 3
"""Layers drawn below one another."""
_COMPOSITE_TRACKS: Collection[vocab.Track] = ("arms", "hands", "whole_body")  # their parts have the curves
_MAX_MARKER_CHECKS = 5  # in one label
_SIDE_SUFFIX: Mapping[vocab.Laterality, str] = {"left": " L", "right": " R", "both": " LR", "none": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisInput:
    """What is known about one clip."""

    duration_us: int
    phases: Sequence[Phase]
    other_layers: Sequence[tuple[str, Sequence[Phase]]] = ()  # by name
    findings: Sequence[Finding] = ()
    signals: Signals | None = None
    cuts_us: Sequence[int] = ()  # on the clock of the clip


def build_time_axis(clip: AxisInput) -> TimeAxis:
    """The axis of one clip; a series that was not measured has no lane."""
    scale = time_scale(clip.duration_us)
    phases = [
        f"{readable(phase.action)} {format_seconds(phase.start_us)} to {format_seconds(phase.end_us)}"
        for phase in clip.phases
    ]
    return layout_time_axis(
        _lanes(clip, scale),
        scale=scale,
        markers=tuple(_finding_markers(clip, scale)),
        cuts_us=clip.cuts_us,
        aria_label=f"time axis of {format_seconds(clip.duration_us)}: {', '.join(phases) or 'no phase'}",
    )


def highest_severity(findings: Iterable[Finding]) -> str:
    """The highest severity among findings; empty without any."""
    found = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITIES if severity in found), "")


def _lanes(clip: AxisInput, scale: AxisScale) -> Iterator[AxisLane]:
    """Voice and mouth, then each track with a phase or a movement, from the head down."""
    curves = build_signal_curves(clip.signals) if clip.signals is not None else {}
    if clip.signals is not None and clip.signals.voice:
        voiced = tuple(_span_bar(span.start_us, span.end_us, scale) for span in voice_spans(clip.signals))
        yield AxisLane(name="voice", css_class="voice", background_spans=voiced, curve=curves.get("voice"))
    if "mouth_open" in curves:
        yield AxisLane(name="mouth opening", css_class="mouth", curve=curves["mouth_open"])
    for track in vocab.TRACKS:
        curve = curves.get(track)
        bars = tuple(_bars(clip, clip.phases, track, scale))
        others = tuple(
            (name, tuple(_bars(clip, phases, track, scale))) for name, phases in clip.other_layers[:MAX_OTHER_LAYERS]
        )
        has_phases = bars or any(other_bars for _, other_bars in others)
        if has_phases or (curve is not None and curve.has_movement and track not in _COMPOSITE_TRACKS):
            yield AxisLane(
                name=readable(track),
                css_class=track,
                bars=bars,
                other_layers=others if has_phases else (),
                curve=curve,
            )


def _bars(clip: AxisInput, phases: Iterable[Phase], track: vocab.Track, scale: AxisScale) -> Iterator[AxisBar]:
    """Phases of one track; only those of the layer itself carry severities and uncertainties."""
    is_own = phases is clip.phases
    for phase in phases:
        if phase.track != track:
            continue
        severity = highest_severity(f for f in clip.findings if f.phase_id == phase.phase_id) if is_own else ""
        side = "" if track in vocab.SIDED_TRACK else _SIDE_SUFFIX[phase.laterality]
        yield replace(
            _span_bar(phase.start_us, phase.end_us, scale),
            label=readable(phase.action) + side,
            tooltip=(
                f"{readable(phase.action)}{side}, {format_seconds(phase.start_us)} to "
                f"{format_seconds(phase.end_us)}: {phase.text}"
            ),
            kind=phase.kind,
            severity=severity,
            sigma=tuple(_sigma_spans(phase, scale)) if is_own else (),
        )


def _sigma_spans(phase: Phase, scale: AxisScale) -> Iterator[tuple[float, float]]:
    for time_us, sigma_us in ((phase.start_us, phase.start_sigma_us), (phase.end_us, phase.end_sigma_us)):
        if sigma_us:
            yield percent_span(time_us - sigma_us, time_us + sigma_us, scale)


def _finding_markers(clip: AxisInput, scale: AxisScale) -> Iterator[AxisMarker]:
    """One marker for all findings about the same span."""
    spans: dict[tuple[int, int], list[Finding]] = {}
    for finding in clip.findings:
        if finding.start_us is not None:
            spans.setdefault((finding.start_us, finding.end_us or finding.start_us), []).append(finding)
    for (start_us, end_us), found in sorted(spans.items(), key=lambda span: span[0]):
        x, width = percent_span(start_us, end_us, scale)
        yield AxisMarker(
            x=x,
            width=width,
            label=_marker_label(found),
            severity=highest_severity(found),
            tooltip="; ".join(f"{one.check} {one.severity}: {one.message}" for one in found),
        )


def _marker_label(found: Sequence[Finding]) -> str:
    """The symbol of each severity with its checks, the highest first; the list below the axis has all checks."""
    parts: list[str] = []
    for severity in SEVERITIES:
        if checks := sorted({finding.check for finding in found if finding.severity == severity}):
            parts += [f"{SEVERITY_SYMBOLS[severity]} {checks[0]}", *checks[1:]]
    shown, omitted = parts[:_MAX_MARKER_CHECKS], len(parts) - _MAX_MARKER_CHECKS
    return " ".join([*shown, f"+{omitted}"] if omitted > 0 else shown)


def _span_bar(start_us: int, end_us: int, scale: AxisScale) -> AxisBar:
    x, width = percent_span(start_us, end_us, scale)
    return AxisBar(x=x, width=width)
