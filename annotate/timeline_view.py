"""The timeline of a clip for the terminal: phases per track, mouth opening, voice and words on one time axis.

    console.print(TimelineView(annotation=annotation, signals=signals))

Rich renders it to the width of the terminal, at most 160 columns, in colour if the terminal has colours and in ASCII if
it has no Unicode. Control characters in text of models, users and manifests are made visible.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from xsheet.annotate.speech.relation import SpeedSeries, voice_spans
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Phase, SpeechRelation
from xsheet.schemas.clip import Signals, TranscriptWord
from xsheet.schemas.time import CLIP_RATE, US_PER_S, Span, frame_at

MAX_COLUMNS = 160
_LABEL_COLUMNS = 12  # columns of the row names
_MIN_AXIS_COLUMNS = 20  # least columns of the axis, even in a narrow terminal
_MIN_TICK_COLUMNS = 9  # least distance between two ticks, columns
_TICKS_US = tuple(round(s * US_PER_S) for s in (0.2, 0.4, 1, 2, 5, 10, 30, 60, 300, 1800))  # whole frames
_COLOURS: dict[vocab.Track, str] = {
    "head": "cyan", "gaze": "sky_blue2", "brows": "plum2", "mouth": "yellow", "face": "khaki1", "torso": "pale_green3",
    "arm_left": "dark_orange", "arm_right": "light_salmon1", "arms": "orange1", "hands": "orange1",
    "legs": "pale_green1", "whole_body": "white", "object": "aquamarine1",
}  # fmt: skip
_REST = "grey62"
# Control characters, line separators, and bidirectional overrides, which reverse text in a terminal.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class _Glyphs(NamedTuple):
    """Characters that draw a timeline."""

    levels: str  # levels of a curve, from low to high
    bar: tuple[str, str, str]  # left end, fill, right end
    voice: str
    tick: str
    guide: str
    dash: str

    def plain(self, text: str) -> str:
        """Untrusted text with every control character made visible."""
        text = _CONTROLS.sub(lambda found: f"\\x{ord(found.group()):02x}", text)
        return text.encode("ascii", "backslashreplace").decode() if self.levels.isascii() else text


_COLOURED = _Glyphs("▁▂▃▄▅▆▇█", ("▏", " ", " "), "━", "╷", "┊", "–")
_PLAIN = _COLOURED._replace(bar=("┣", "━", "┫"))
_ASCII = _Glyphs("_.-:=+*#", ("[", "=", "]"), "=", "|", ":", "-")


class _TimeAxis(NamedTuple):
    """Maps time to columns."""

    duration_us: int
    columns: int
    marks: _Glyphs

    def column(self, us: int) -> int:
        return min(us * self.columns // self.duration_us, self.columns)

    def ticks(self) -> dict[int, int]:
        """Times of the tick marks, by column."""
        shortest_us = _MIN_TICK_COLUMNS * self.duration_us / self.columns
        step_us = next((us for us in _TICKS_US if us >= shortest_us), self.duration_us)
        return {self.column(us): us for us in range(0, self.duration_us, step_us)}

    def curve(self, values: SpeedSeries) -> str:
        """A curve as one line of levels between zero and the maximum; blank where nothing was measured."""
        known = np.array(values, np.float64)
        edges = [k * len(known) // self.columns for k in range(self.columns + 1)]
        means = [_mean(known[a : max(b, a + 1)]) for a, b in pairwise(edges)]
        highest, levels = np.nanmax(known, initial=0.0), self.marks.levels
        step = (len(levels) - 1) / highest if highest > 0 else 0.0
        return "".join(" " if np.isnan(v) else levels[round(max(v, 0.0) * step)] for v in means)

    def bars(self, spans: Iterable[tuple[Span, str, str]]) -> Text:
        """One line of labelled spans over the tick marks."""
        cells = [(self.marks.guide, "bright_black") if k in self.ticks() else (" ", "") for k in range(self.columns)]
        left, filling, right = self.marks.bar
        for span, label, style in spans:
            start = min(self.column(span.start_us), self.columns - 1)
            room = max(1, self.column(span.end_us) - start)
            bar = left + label[: max(0, room - 2)].ljust(room - 2, filling) + right
            cells[start : start + room] = [(char, style) for char in bar[:room]]
        return Text.assemble(*(("".join(c for c, _ in run), style) for style, run in groupby(cells, lambda c: c[1])))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineView:
    """One annotation of a clip beside the measured signals."""

    annotation: Annotation
    signals: Signals | None = None
    words: Sequence[TranscriptWord] = ()
    speeds: Mapping[vocab.Track, SpeedSeries] = field(default_factory=dict)  # (frames,) per track (curves.speeds)

    def as_json(self) -> dict[str, Any]:
        """The same data as plain values, in the fields and units of the contract."""
        return {
            "annotation": asdict(self.annotation),
            "voice": None if self.signals is None else [asdict(span) for span in voice_spans(self.signals)],
            "mouth_open": None if self.signals is None else list(self.signals.mouth_open),
            "words": [asdict(word) for word in self.words],
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = _ASCII if options.ascii_only else _PLAIN if console.color_system is None else _COLOURED
        columns = min(options.max_width, MAX_COLUMNS) - _LABEL_COLUMNS
        axis = _TimeAxis(self.annotation.duration_us, max(_MIN_AXIS_COLUMNS, columns), marks)
        yield from _header_lines(self.annotation, marks)
        yield Text()
        for name, row in (*_time_rows(axis), *_signal_rows(self, axis), *_track_rows(self, axis)):
            yield Text.assemble((f"{name:<{_LABEL_COLUMNS}}", "bright_black"), row, no_wrap=True, overflow="crop")
        yield Text()
        yield _phase_list(self.annotation.phases, marks) if self.annotation.phases else Text("no phases")


def _header_lines(annotation: Annotation, glyphs: _Glyphs) -> Iterator[Text]:
    seconds, frames = annotation.duration_us / US_PER_S, frame_at(annotation.duration_us - 1, CLIP_RATE) + 1
    facts = [f"{annotation.layer}@{annotation.run_id}", f"{seconds:.2f} s", f"{frames} frames"]
    if annotation.status != "ok":
        facts.append(f"status: {annotation.status}")
    if annotation.repairs:
        facts.append(f"repairs: {len(annotation.repairs)}")
    yield Text.assemble((annotation.clip_id, "bold"), "  ", "  ".join(facts))
    if annotation.base is not None:
        yield Text(glyphs.plain(annotation.base.text), style="italic")


def _time_rows(axis: _TimeAxis) -> Iterator[tuple[str, Text]]:
    ticks = axis.ticks()
    for name, tell in (("seconds", _format_seconds), ("frames", _format_frames)):
        line = ""
        for column, us in ticks.items():
            line = line.ljust(column) + axis.marks.tick + tell(us)
        yield name, Text(line[: axis.columns], style="bright_black" if name == "frames" else "")


def _format_seconds(us: int) -> str:
    return f"{us / US_PER_S:g}"


def _format_frames(us: int) -> str:
    return str(frame_at(us, CLIP_RATE))


def _signal_rows(view: TimelineView, axis: _TimeAxis) -> Iterator[tuple[str, Text]]:
    signals = view.signals
    if signals is not None and signals.mouth_open:
        yield "mouth", Text(axis.curve(signals.mouth_open), style="yellow")
    if signals is not None and signals.voice:
        line = [" "] * axis.columns
        for span in voice_spans(signals):
            start, end = axis.column(span.start_us), axis.column(span.end_us)
            line[start:end] = axis.marks.voice * (end - start)
        yield "voice", Text("".join(line), style="green")
    if view.words:
        yield "words", Text(_words(view.words, axis))


def _words(words: Sequence[TranscriptWord], axis: _TimeAxis) -> str:
    """Each word at its start, cut where the next word starts."""
    line, ends = "", [axis.column(word.start_us) - 1 for word in words[1:]] + [axis.columns]
    for word, end in zip(words, ends, strict=True):
        start, text = axis.column(word.start_us), axis.marks.plain(word.text)
        if start >= cell_len(line) and end > start:
            line = set_cell_size(line, start) + set_cell_size(text, min(cell_len(text), end - start))
    return line


def _track_rows(view: TimelineView, axis: _TimeAxis) -> Iterator[tuple[str, Text]]:
    """The phases of each track, and below them its speed."""
    numbered = list(enumerate(view.annotation.phases, 1))
    for track in vocab.TRACKS:
        mine = [(number, phase) for number, phase in numbered if phase.track == track]
        speed = axis.curve(view.speeds.get(track, ()))
        if mine or speed.strip():
            yield (
                _with_spaces(track),
                axis.bars((p.span, f"{n} {_action(p)}", f"grey0 on {_colour(p)}") for n, p in mine),
            )
        if speed.strip():
            yield "  speed", Text(speed, style=_COLOURS[track])


def _phase_list(phases: Sequence[Phase], glyphs: _Glyphs) -> Table:
    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bright_black", border_style="bright_black"
    )
    for name in ("#", "seconds", "track", "action", "description", "speech"):
        table.add_column(name, justify="right" if name == "#" else "left", overflow="fold", no_wrap=name == "seconds")
    for number, p in enumerate(phases, 1):
        seconds = f"{p.start_us / US_PER_S:.2f}{glyphs.dash}{p.end_us / US_PER_S:.2f}"
        track, action, text = Text(_with_spaces(p.track), style=_colour(p)), _action(p), Text(glyphs.plain(p.text))
        table.add_row(str(number), seconds, track, action, text, Text(_format_speech_relation(p.speech, glyphs)))
    return table


def _colour(phase: Phase) -> str:
    return _REST if phase.kind == "rest" else _COLOURS[phase.track]


def _action(phase: Phase) -> str:
    name = _with_spaces(phase.action)
    return f"{name} x{phase.repetitions}" if (phase.repetitions or 1) > 1 else name


def _format_speech_relation(speech: SpeechRelation | None, glyphs: _Glyphs) -> str:
    if speech is None:
        return ""
    relation = speech.relation.replace("_", " ")
    if speech.lag_us is not None:
        anchor = f" to {glyphs.plain(speech.anchor_word)}" if speech.anchor_word else ""
        relation += f", {speech.lag_us / US_PER_S:+.2f} s{anchor}"
    for verb, word in (("starts", speech.start_word), ("ends", speech.end_word)):
        relation += f", {verb} on '{glyphs.plain(word)}'" if word else ""
    return relation


def _with_spaces(word: str) -> str:
    return word.replace("_", " ")


def _mean(values: Any) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
