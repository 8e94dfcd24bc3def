"""The time axis of one clip: voice, mouth, speed of every part, the phases of the layers, findings, cuts.

Nothing here writes markup: records go in, positions come out, and the template draws them. Instants are percent of the
clip's length, so that the picture follows the width of the page while its letters keep their size; heights are px.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from xsheet.annotate.speech.relation import voice_spans
from xsheet.audit.report.curves import CURVE_HEIGHT_PX, SignalCurve, build_signal_curves
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Finding, Phase
from xsheet.schemas.clip import Signals
from xsheet.schemas.time import US_PER_S, Span

BAR_HEIGHT_PX, OTHER_BAR_HEIGHT_PX, MARKER_HEIGHT_PX, LANE_GAP_PX, RULER_HEIGHT_PX = 17, 13, 15, 5, 16
SEVERITIES: tuple[vocab.Severity, ...] = ("error", "warning", "info")
SEVERITY_SYMBOLS: Mapping[vocab.Severity, str] = {
    "error": "◆",
    "warning": "▲",
    "info": "●",
}  # shape says what colour says
MAX_OTHER_LAYERS = 3  # layers below one another; more are no comparison but a carpet
_COMPOSITE_TRACKS: Collection[vocab.Track] = ("arms", "hands", "whole_body")  # their speed is that of their parts
_MARKER_ROWS = 5
_MAX_MARKER_CHECKS = 5  # in one label
_CHARACTER_WIDTH_PERCENT = 1.1  # of the width of a narrow page
_SIDE_SUFFIX: Mapping[vocab.Laterality, str] = {"left": " L", "right": " R", "both": " LR", "none": ""}
_TICK_STEPS_S = (0.5, 1, 2, 5, 10, 30, 60, 300, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisBar:
    """A stretch of time with a name."""

    x: float
    width: float
    label: str = ""
    tooltip: str = ""
    kind: str = ""  # sort of event, drawn as a pattern
    severity: str = ""  # of the worst finding about it
    sigma: tuple[tuple[float, float], ...] = ()  # (x, width) in which its start and its end may lie


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisLane:
    """One row; from its top: bars, bars of other layers, a curve."""

    name: str
    css_class: str  # class of the style sheet: a track, 'voice' or 'mouth'
    bars: tuple[AxisBar, ...] = ()
    other_layers: tuple[tuple[str, tuple[AxisBar, ...]], ...] = ()  # (layer, its bars)
    curve: SignalCurve | None = None
    background_spans: tuple[AxisBar, ...] = ()  # behind the curve
    y: int = 0

    @property
    def other_layers_y(self) -> int:
        """Top of the first of the other layers."""
        return self.y + (BAR_HEIGHT_PX if self.bars else 0)

    @property
    def curve_y(self) -> int:
        """Top of the curve."""
        return self.other_layers_y + OTHER_BAR_HEIGHT_PX * len(self.other_layers)

    @property
    def label_y(self) -> int:
        """Foot of its name: beside its own bars, else in the middle of what there is."""
        return self.y + (12 if self.bars else 10 if self.other_layers else 16)

    @property
    def bottom_y(self) -> int:
        """Where it ends."""
        return self.curve_y + (CURVE_HEIGHT_PX if self.curve else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingMarker:
    """The findings about one stretch of time."""

    x: float
    width: float
    y: int
    label: str  # their checks, the worst first
    severity: str  # of the worst
    tooltip: str

    @property
    def label_on_left(self) -> bool:
        """Whether its label goes to the left of it, where there is room."""
        return self.x + _label_width_percent(self.label) > 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxis:
    """Everything about one clip that has a time."""

    height: int
    markers: tuple[FindingMarker, ...]
    cuts: tuple[float, ...]
    lanes: tuple[AxisLane, ...]
    ticks: tuple[tuple[float, str], ...]
    aria_label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisInput:
    """What one clip has to show."""

    duration_us: int
    phases: Sequence[Phase]
    other_layers: Sequence[tuple[str, Sequence[Phase]]] = ()  # of other layers, by name
    findings: Sequence[Finding] = ()
    signals: Signals | None = None
    cuts_us: Sequence[int] = ()  # on the clip's own clock


def build_time_axis(clip: AxisInput) -> TimeAxis:
    """The axis of one clip; what was not measured leaves no row."""
    pins = tuple(_finding_markers(clip))
    y = max((pin.y + MARKER_HEIGHT_PX + 3 for pin in pins), default=0)
    lanes: list[AxisLane] = []
    for lane in _lanes(clip):
        lanes.append(replace(lane, y=y))
        y = lanes[-1].bottom_y + LANE_GAP_PX
    told = [
        f"{readable(phase.action)} {format_seconds(phase.start_us)} to {format_seconds(phase.end_us)}"
        for phase in clip.phases
    ]
    return TimeAxis(
        height=y + RULER_HEIGHT_PX,
        markers=pins,
        cuts=tuple(_percent(us, clip) for us in clip.cuts_us),
        lanes=tuple(lanes),
        ticks=tuple(_ticks(clip)),
        aria_label=f"time axis of {format_seconds(clip.duration_us)}: {', '.join(told) or 'no phase'}",
    )


def readable(name: str) -> str:
    """A word of the vocabulary as people write it."""
    return name.replace("_", " ")


def format_seconds(us: int) -> str:
    """An instant for people, to the hundredth."""
    return f"{us / US_PER_S:.2f} s"


def highest_severity(findings: Iterable[Finding]) -> str:
    """The highest severity among findings; empty without any."""
    found = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITIES if severity in found), "")


def _lanes(clip: AxisInput) -> Iterator[AxisLane]:
    """Sound and mouth, then each track that acts or moves, from the head down."""
    curves = build_signal_curves(clip.signals) if clip.signals is not None else {}
    if clip.signals is not None and clip.signals.voice:
        voiced = tuple(_span_bar(span, clip) for span in voice_spans(clip.signals))
        yield AxisLane(name="voice", css_class="voice", background_spans=voiced, curve=curves.get("voice"))
    if "mouth_open" in curves:
        yield AxisLane(name="mouth opening", css_class="mouth", curve=curves["mouth_open"])
    for track in vocab.TRACKS:
        curve = curves.get(track)
        bars = tuple(_bars(clip, clip.phases, track))
        others = tuple(
            (name, tuple(_bars(clip, phases, track))) for name, phases in clip.other_layers[:MAX_OTHER_LAYERS]
        )
        acts = bars or any(theirs for _, theirs in others)
        if acts or (curve is not None and curve.has_movement and track not in _COMPOSITE_TRACKS):
            yield AxisLane(
                name=readable(track), css_class=track, bars=bars, other_layers=others if acts else (), curve=curve
            )


def _bars(clip: AxisInput, phases: Iterable[Phase], track: vocab.Track) -> Iterator[AxisBar]:
    """Phases of one track; those of the layer itself say what was found about them."""
    ours = phases is clip.phases
    for phase in phases:
        if phase.track != track:
            continue
        severity = highest_severity(f for f in clip.findings if f.phase_id == phase.phase_id) if ours else ""
        sides = "" if track in vocab.SIDED_TRACK else _SIDE_SUFFIX[phase.laterality]
        yield replace(
            _span_bar(phase.span, clip),
            label=readable(phase.action) + sides,
            tooltip=(
                f"{readable(phase.action)}{sides}, {format_seconds(phase.start_us)} to "
                f"{format_seconds(phase.end_us)}: {phase.text}"
            ),
            kind=phase.kind,
            severity=severity,
            sigma=tuple(_sigma_bars(phase, clip)) if ours else (),
        )


def _sigma_bars(phase: Phase, clip: AxisInput) -> Iterator[tuple[float, float]]:
    for at, sigma in ((phase.start_us, phase.start_sigma_us), (phase.end_us, phase.end_sigma_us)):
        if sigma:
            low, high = (_percent(us, clip) for us in (at - sigma, at + sigma))
            yield low, round(high - low, 2)


def _finding_markers(clip: AxisInput) -> Iterator[FindingMarker]:
    """Findings that have a place, those of one span together, in as few rows as their labels need."""
    spans: dict[tuple[int, int], list[Finding]] = {}
    for finding in clip.findings:
        if finding.start_us is not None:
            spans.setdefault((finding.start_us, finding.end_us or finding.start_us), []).append(finding)
    ends = [0.0] * _MARKER_ROWS
    for (start_us, end_us), found in sorted(spans.items(), key=lambda span: span[0]):
        x, end, text = _percent(start_us, clip), _percent(end_us, clip), _marker_label(found)
        pin = FindingMarker(
            x=x,
            width=round(end - x, 2),
            y=0,
            label=text,
            severity=highest_severity(found),
            tooltip="; ".join(f"{one.check} {one.severity}: {one.message}" for one in found),
        )
        left, right = (x - _label_width_percent(text), x) if pin.label_on_left else (x, x + _label_width_percent(text))
        row = next((k for k, taken in enumerate(ends) if taken <= left), _MARKER_ROWS - 1)
        ends[row] = right
        yield replace(pin, y=MARKER_HEIGHT_PX * row)


def _marker_label(found: Sequence[Finding]) -> str:
    """Each severity's shape with its checks; a few tell enough, the list below has all."""
    parts: list[str] = []
    for severity in SEVERITIES:
        if checks := sorted({finding.check for finding in found if finding.severity == severity}):
            parts += [f"{SEVERITY_SYMBOLS[severity]} {checks[0]}", *checks[1:]]
    shown, more = parts[:_MAX_MARKER_CHECKS], len(parts) - _MAX_MARKER_CHECKS
    return " ".join([*shown, f"+{more}"] if more > 0 else shown)


def _label_width_percent(text: str) -> float:
    """Room that a label takes on a narrow page, as percent of its width."""
    return _CHARACTER_WIDTH_PERCENT * (len(text) + 1)


def _ticks(clip: AxisInput) -> Iterator[tuple[float, str]]:
    length_s = clip.duration_us / US_PER_S
    step = next((step for step in _TICK_STEPS_S if length_s / step <= 12), _TICK_STEPS_S[-1])
    for k in range(int(length_s / step) + 1):
        yield _percent(round(k * step * US_PER_S), clip), f"{k * step:g} s"


def _span_bar(span: Span, clip: AxisInput) -> AxisBar:
    x, end = _percent(span.start_us, clip), _percent(span.end_us, clip)
    return AxisBar(x=x, width=round(end - x, 2))


def _percent(us: int, clip: AxisInput) -> float:
    """Place of an instant, held inside the picture."""
    return round(100 * min(max(us / clip.duration_us, 0.0), 1.0), 2)
