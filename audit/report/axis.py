"""The time axis of one clip: voice, mouth, speed of every part, the phases of the layers, findings, cuts.

Nothing here writes markup: records go in, positions come out, and the template draws them. Instants are percent of the
clip's length, so that the picture follows the width of the page while its letters keep their size; heights are px.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from xsheet.annotate.speech.relation import voice_spans
from xsheet.audit.report.curves import CURVE_PX, Curve, measured_curves
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Phase
from xsheet.schemas.clip import Signals
from xsheet.schemas.review import Finding
from xsheet.schemas.time import US_PER_S, Span

BAR_PX, OTHER_PX, PIN_PX, GAP_PX, RULER_PX = 17, 13, 15, 5, 16
SEVERITIES: tuple[vocab.Severity, ...] = ("error", "warning", "info")
SIGNS: Mapping[vocab.Severity, str] = {"error": "◆", "warning": "▲", "info": "●"}  # shape says what colour says
MAX_OTHERS = 3  # layers below one another; more are no comparison but a carpet
_DERIVED: Collection[vocab.Track] = ("arms", "hands", "whole_body")  # their speed is that of their parts
_PIN_ROWS = 5
_PIN_CHECKS = 5  # in one label
_LETTER_PERCENT = 1.1  # of the width of a narrow page
_SIDE: Mapping[vocab.Laterality, str] = {"left": " L", "right": " R", "both": " LR", "none": ""}
_TICKS_S = (0.5, 1, 2, 5, 10, 30, 60, 300, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A stretch of time with a name."""

    x: float
    width: float
    text: str = ""
    says: str = ""
    kind: str = ""  # sort of event, drawn as a pattern
    severity: str = ""  # of the worst finding about it
    sigma: tuple[tuple[float, float], ...] = ()  # (x, width) in which its start and its end may lie


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One row; from its top: bars, bars of other layers, a curve."""

    name: str
    look: str  # class of the style sheet: a track, 'voice' or 'mouth'
    bars: tuple[Bar, ...] = ()
    others: tuple[tuple[str, tuple[Bar, ...]], ...] = ()  # (layer, its bars)
    curve: Curve | None = None
    spans: tuple[Bar, ...] = ()  # behind the curve
    y: int = 0

    @property
    def others_y(self) -> int:
        """Top of the first of the other layers."""
        return self.y + (BAR_PX if self.bars else 0)

    @property
    def curve_y(self) -> int:
        """Top of the curve."""
        return self.others_y + OTHER_PX * len(self.others)

    @property
    def name_y(self) -> int:
        """Foot of its name: beside its own bars, else in the middle of what there is."""
        return self.y + (12 if self.bars else 10 if self.others else 16)

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.curve_y + (CURVE_PX if self.curve else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The findings about one stretch of time."""

    x: float
    width: float
    y: int
    text: str  # their checks, the worst first
    severity: str  # of the worst
    says: str

    @property
    def is_right(self) -> bool:
        """Whether its label goes to the left of it, where there is room."""
        return self.x + _label_percent(self.text) > 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Everything about one clip that has a time."""

    height: int
    pins: tuple[Pin, ...]
    cuts: tuple[float, ...]
    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What one clip has to show."""

    duration_us: int
    phases: Sequence[Phase]
    others: Sequence[tuple[str, Sequence[Phase]]] = ()  # of other layers, by name
    findings: Sequence[Finding] = ()
    signals: Signals | None = None
    cuts_us: Sequence[int] = ()  # on the clip's own clock


def axis(clip: Drawn) -> Axis:
    """The axis of one clip; what was not measured leaves no row."""
    pins = tuple(_pins(clip))
    y = max((pin.y + PIN_PX + 3 for pin in pins), default=0)
    lanes: list[Lane] = []
    for lane in _lanes(clip):
        lanes.append(replace(lane, y=y))
        y = lanes[-1].end + GAP_PX
    told = [f"{words(phase.action)} {seconds(phase.start_us)} to {seconds(phase.end_us)}" for phase in clip.phases]
    return Axis(
        height=y + RULER_PX,
        pins=pins,
        cuts=tuple(_percent(us, clip) for us in clip.cuts_us),
        lanes=tuple(lanes),
        ticks=tuple(_ticks(clip)),
        says=f"time axis of {seconds(clip.duration_us)}: {', '.join(told) or 'no phase'}",
    )


def words(name: str) -> str:
    """A word of the vocabulary as people write it."""
    return name.replace("_", " ")


def seconds(us: int) -> str:
    """An instant for people, to the hundredth."""
    return f"{us / US_PER_S:.2f} s"


def worst(findings: Iterable[Finding]) -> str:
    """The highest severity among findings; empty without any."""
    found = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITIES if severity in found), "")


def _lanes(clip: Drawn) -> Iterator[Lane]:
    """Sound and mouth, then each track that acts or moves, from the head down."""
    curves = measured_curves(clip.signals) if clip.signals is not None else {}
    if clip.signals is not None and clip.signals.voice:
        voiced = tuple(_span_bar(span, clip) for span in voice_spans(clip.signals))
        yield Lane(name="voice", look="voice", spans=voiced, curve=curves.get("voice"))
    if "mouth_open" in curves:
        yield Lane(name="mouth opening", look="mouth", curve=curves["mouth_open"])
    for track in vocab.TRACKS:
        curve = curves.get(track)
        bars = tuple(_bars(clip, clip.phases, track))
        others = tuple((name, tuple(_bars(clip, phases, track))) for name, phases in clip.others[:MAX_OTHERS])
        acts = bars or any(theirs for _, theirs in others)
        if acts or (curve is not None and curve.moves and track not in _DERIVED):
            yield Lane(name=words(track), look=track, bars=bars, others=others if acts else (), curve=curve)


def _bars(clip: Drawn, phases: Iterable[Phase], track: vocab.Track) -> Iterator[Bar]:
    """Phases of one track; those of the layer itself say what was found about them."""
    ours = phases is clip.phases
    for phase in phases:
        if phase.track != track:
            continue
        severity = worst(f for f in clip.findings if f.phase_id == phase.phase_id) if ours else ""
        sides = "" if track in vocab.SIDED_TRACK else _SIDE[phase.laterality]
        yield replace(
            _span_bar(phase.span, clip),
            text=words(phase.action) + sides,
            says=f"{words(phase.action)}{sides}, {seconds(phase.start_us)} to {seconds(phase.end_us)}: {phase.text}",
            kind=phase.kind,
            severity=severity,
            sigma=tuple(_sigmas(phase, clip)) if ours else (),
        )


def _sigmas(phase: Phase, clip: Drawn) -> Iterator[tuple[float, float]]:
    for at, sigma in ((phase.start_us, phase.start_sigma_us), (phase.end_us, phase.end_sigma_us)):
        if sigma:
            low, high = (_percent(us, clip) for us in (at - sigma, at + sigma))
            yield low, round(high - low, 2)


def _pins(clip: Drawn) -> Iterator[Pin]:
    """Findings that have a place, those of one span together, in as few rows as their labels need."""
    spans: dict[tuple[int, int], list[Finding]] = {}
    for finding in clip.findings:
        if finding.start_us is not None:
            spans.setdefault((finding.start_us, finding.end_us or finding.start_us), []).append(finding)
    ends = [0.0] * _PIN_ROWS
    for (start_us, end_us), found in sorted(spans.items(), key=lambda span: span[0]):
        x, end, text = _percent(start_us, clip), _percent(end_us, clip), _pin_text(found)
        pin = Pin(
            x=x,
            width=round(end - x, 2),
            y=0,
            text=text,
            severity=worst(found),
            says="; ".join(f"{one.check} {one.severity}: {one.message}" for one in found),
        )
        left, right = (x - _label_percent(text), x) if pin.is_right else (x, x + _label_percent(text))
        row = next((k for k, taken in enumerate(ends) if taken <= left), _PIN_ROWS - 1)
        ends[row] = right
        yield replace(pin, y=PIN_PX * row)


def _pin_text(found: Sequence[Finding]) -> str:
    """Each severity's shape with its checks; a few tell enough, the list below has all."""
    parts: list[str] = []
    for severity in SEVERITIES:
        if checks := sorted({finding.check for finding in found if finding.severity == severity}):
            parts += [f"{SIGNS[severity]} {checks[0]}", *checks[1:]]
    shown, more = parts[:_PIN_CHECKS], len(parts) - _PIN_CHECKS
    return " ".join([*shown, f"+{more}"] if more > 0 else shown)


def _label_percent(text: str) -> float:
    """Room that a label takes on a narrow page, as percent of its width."""
    return _LETTER_PERCENT * (len(text) + 1)


def _ticks(clip: Drawn) -> Iterator[tuple[float, str]]:
    length_s = clip.duration_us / US_PER_S
    step = next((step for step in _TICKS_S if length_s / step <= 12), _TICKS_S[-1])
    for k in range(int(length_s / step) + 1):
        yield _percent(round(k * step * US_PER_S), clip), f"{k * step:g} s"


def _span_bar(span: Span, clip: Drawn) -> Bar:
    x, end = _percent(span.start_us, clip), _percent(span.end_us, clip)
    return Bar(x=x, width=round(end - x, 2))


def _percent(us: int, clip: Drawn) -> float:
    """Place of an instant, held inside the picture."""
    return round(100 * min(max(us / clip.duration_us, 0.0), 1.0), 2)
