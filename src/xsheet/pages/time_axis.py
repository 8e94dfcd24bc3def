"""The time axis of one clip: lanes with bars and curves, and markers above them; the macro `time_axis` draws it.

Times are placed in percent of the clip's duration, so that the picture follows the width of the page while letters
keep their size. Heights are in pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from xsheet.pages.scales import AxisScale
from xsheet.schemas.time import US_PER_S

BAR_HEIGHT_PX, OTHER_BAR_HEIGHT_PX, MARKER_HEIGHT_PX, LANE_GAP_PX, RULER_HEIGHT_PX = 17, 13, 15, 5, 16
CURVE_HEIGHT_PX = 24
_MAX_MARKER_ROWS = 5
_CHARACTER_WIDTH_PERCENT = 1.1  # of the width of a narrow page
_LABEL_CHARACTER_PX, _LABEL_PADDING_PX = 6.0, 8.0
_WIDE_PLOT_PX, _PHONE_PLOT_PX = 900, 250  # widths of the plot at 1280 and 390 px
_TICK_STEPS_S = (0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
_MAX_TICKS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalCurve:
    """A series as an SVG path in a box of one unit per frame and CURVE_HEIGHT_PX."""

    path: str
    frames: int
    reference_y: float | None = None  # height of the value 1; None where 1 has no meaning
    missing_spans: tuple[tuple[float, float], ...] = ()  # (x, width) in frames without a value
    has_movement: bool = False  # the series contains a deliberate movement


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisBar:
    """A labelled interval."""

    x: float
    width: float
    label: str = ""
    tooltip: str = ""
    kind: str = ""  # kind of event, drawn as a pattern
    severity: str = ""  # highest severity of the findings about it
    sigma: tuple[tuple[float, float], ...] = ()  # (x, width) of the uncertainty of start and end

    @property
    def label_room(self) -> str:
        """CSS classes that hide a label which does not fit: on all pages, or on a phone only."""
        needed_px = _LABEL_CHARACTER_PX * len(self.label) + _LABEL_PADDING_PX
        widths = ((" tiny", _WIDE_PLOT_PX), (" narrow", _PHONE_PLOT_PX))
        return next((name for name, plot_px in widths if self.width * plot_px / 100 < needed_px), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisLane:
    """One row: from its top bars, bars of other layers, a curve."""

    name: str
    css_class: str  # a track, 'voice' or 'mouth'
    bars: tuple[AxisBar, ...] = ()
    other_layers: tuple[tuple[str, tuple[AxisBar, ...]], ...] = ()  # (layer, its bars)
    curve: SignalCurve | None = None
    background_spans: tuple[AxisBar, ...] = ()  # behind the curve
    y: int = 0

    @property
    def other_layers_y(self) -> int:
        """Top of the first other layer."""
        return self.y + (BAR_HEIGHT_PX if self.bars else 0)

    @property
    def curve_y(self) -> int:
        """Top of the curve."""
        return self.other_layers_y + OTHER_BAR_HEIGHT_PX * len(self.other_layers)

    @property
    def label_y(self) -> int:
        """Base line of its name."""
        return self.y + (12 if self.bars else 10 if self.other_layers else 16)

    @property
    def bottom_y(self) -> int:
        """Bottom of the lane."""
        return self.curve_y + (CURVE_HEIGHT_PX if self.curve else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisMarker:
    """A labelled interval above the lanes."""

    x: float
    width: float
    label: str
    severity: str
    tooltip: str
    y: int = 0

    @property
    def label_on_left(self) -> bool:
        """Whether the label goes to the left of the marker, because it would overflow on the right."""
        return self.x + _label_width_percent(self.label) > 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxis:
    """Everything about one clip that has a time."""

    height: int
    markers: tuple[AxisMarker, ...]
    cuts: tuple[float, ...]
    lanes: tuple[AxisLane, ...]
    ticks: tuple[tuple[float, str], ...]  # (x, label)
    aria_label: str


def time_scale(duration_us: int) -> AxisScale:
    """The scale of a clip; `percent` of a time outside of the clip is 0 or 100."""
    return AxisScale(0.0, float(duration_us))


def percent_span(start_us: int, end_us: int, scale: AxisScale) -> tuple[float, float]:
    """(x, width) of an interval, in percent."""
    x = scale.percent(start_us)
    return x, round(scale.percent(end_us) - x, 2)


def layout_time_axis(
    lanes: Iterable[AxisLane],
    *,
    scale: AxisScale,
    markers: Sequence[AxisMarker] = (),
    cuts_us: Sequence[int] = (),
    aria_label: str,
) -> TimeAxis:
    """Stack markers in as few rows as their labels need, and the lanes below them.

    Args:
        lanes: from the top down; their `y` is set here.
        scale: of the clip, from time_scale.
        markers: by their start; their `y` is set here.
        cuts_us: shot cuts on the clock of the clip.
        aria_label: description of the axis for screen readers.
    """
    placed_markers = tuple(_stack_markers(markers))
    y = max((marker.y + MARKER_HEIGHT_PX + 3 for marker in placed_markers), default=0)
    placed: list[AxisLane] = []
    for lane in lanes:
        placed.append(replace(lane, y=y))
        y = placed[-1].bottom_y + LANE_GAP_PX
    return TimeAxis(
        height=y + RULER_HEIGHT_PX,
        markers=placed_markers,
        cuts=tuple(scale.percent(us) for us in cuts_us),
        lanes=tuple(placed),
        ticks=tuple(_ticks(scale)),
        aria_label=aria_label,
    )


def _stack_markers(markers: Sequence[AxisMarker]) -> Iterator[AxisMarker]:
    row_ends = [0.0] * _MAX_MARKER_ROWS
    for marker in markers:
        width = _label_width_percent(marker.label)
        left, right = (marker.x - width, marker.x) if marker.label_on_left else (marker.x, marker.x + width)
        row = next((k for k, end in enumerate(row_ends) if end <= left), _MAX_MARKER_ROWS - 1)
        row_ends[row] = right
        yield replace(marker, y=MARKER_HEIGHT_PX * row)


def _label_width_percent(text: str) -> float:
    return _CHARACTER_WIDTH_PERCENT * (len(text) + 1)


def _ticks(scale: AxisScale) -> Iterator[tuple[float, str]]:
    duration_s = scale.high / US_PER_S
    step = next((step for step in _TICK_STEPS_S if duration_s / step <= _MAX_TICKS), _TICK_STEPS_S[-1])
    for k in range(int(duration_s / step) + 1):
        yield scale.percent(round(k * step * US_PER_S)), f"{k * step:g} s"
