import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from xsheet.annotate.speech.relation import add_speech_relations
from xsheet.annotate.timeline_view import TimelineView
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows
from xsheet.schemas.annotation import Annotation, Repair
from xsheet.schemas.clip import Signals, TranscriptWord

WORDS = (
    TranscriptWord(text="hello", start_us=300_000, end_us=700_000),
    TranscriptWord(text="日本語", start_us=1_500_000, end_us=1_900_000),
)
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def planted(index: int = 0) -> tuple[Signals, Annotation]:
    _, signals, annotation = truth_rows(plan_film(index, seed=3, kind="talk"), "src_1")
    assert isinstance(signals, Signals)
    assert isinstance(annotation, Annotation)
    return signals, annotation


SIGNALS, ANNOTATION = planted()


def drawn(sheet: TimelineView, *, width: int = 100, encoding: str = "utf-8", colour: bool = False) -> list[str]:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(width=width, file=out, force_terminal=colour, color_system="256" if colour else None).print(sheet)
    out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return out.buffer.getvalue().decode(encoding).split("\n")


def row(lines: list[str], name: str) -> str:
    return next(line for line in lines if line.startswith(name))[12:]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal(width):
    sheet = TimelineView(annotation=add_speech_relations(ANNOTATION, SIGNALS, WORDS), signals=SIGNALS, words=WORDS)
    assert max(map(cell_len, drawn(sheet, width=width))) == width


def test_no_line_is_wider_than_160_columns():
    assert (
        max(cell_len(line.rstrip()) for line in drawn(TimelineView(annotation=ANNOTATION, signals=SIGNALS), width=300))
        <= 160
    )


def test_a_bar_lies_under_its_seconds():
    line = row(drawn(TimelineView(annotation=ANNOTATION), width=112), "arm left")
    columns_per_s = 100 / (ANNOTATION.duration_us / 1e6)
    (wave,) = [p for p in ANNOTATION.phases if p.track == "arm_left"]
    assert line.index("┣") == pytest.approx(wave.start_us / 1e6 * columns_per_s, abs=1)
    assert line.index("┫") == pytest.approx(wave.end_us / 1e6 * columns_per_s - 1, abs=1)


def test_bars_carry_the_number_of_their_line_in_the_list():
    lines = drawn(TimelineView(annotation=ANNOTATION), width=120)
    number = next(line.split()[0] for line in lines if "turns the head to the left" in line)
    assert f"┣{number} turn head" in row(lines, "head")


def test_every_track_with_phases_has_one_row():
    names = [line[:12].strip() for line in drawn(TimelineView(annotation=ANNOTATION))]
    for track in {p.track for p in ANNOTATION.phases}:
        assert names.count(track.replace("_", " ")) == 1


def test_the_mouth_is_a_curve_from_shut_to_its_widest():
    signals = replace(SIGNALS, mouth_open=tuple(np.linspace(0, 0.2, SIGNALS.frames).tolist()))
    line = row(drawn(TimelineView(annotation=ANNOTATION, signals=signals)), "mouth")
    assert line == "".join(sorted(line, key="▁▂▃▄▅▆▇█".index))
    assert (line[0], line[-1]) == ("▁", "█")


def test_what_was_not_measured_is_blank():
    hidden = (None,) * (SIGNALS.frames // 2)
    signals = replace(SIGNALS, mouth_open=hidden + (1.0,) * (SIGNALS.frames - len(hidden)))
    line = row(drawn(TimelineView(annotation=ANNOTATION, signals=signals), width=112), "mouth")
    assert (line[:48].strip(), set(line[52:])) == ("", {"█"})


def test_words_begin_where_they_are_spoken_whatever_their_width():
    line = row(drawn(TimelineView(annotation=ANNOTATION, words=WORDS), width=112), "words")
    columns_per_us = 100 / ANNOTATION.duration_us
    for word in WORDS:
        assert cell_len(line[: line.index(word.text)]) == int(word.start_us * columns_per_us)


def test_a_track_that_moves_without_a_phase_is_shown():
    lines = drawn(TimelineView(annotation=ANNOTATION, speeds={"legs": np.ones(SIGNALS.frames)}))
    assert "█" in lines[[line[:4] for line in lines].index("legs") + 1]


def test_a_terminal_of_ascii_gets_ascii():
    foreign = replace(ANNOTATION, base=replace(ANNOTATION.base, text="A woman – 女性 – speaks to the camera."))
    sheet = TimelineView(annotation=foreign, signals=SIGNALS, words=WORDS)
    lines = drawn(sheet, encoding="ascii")
    assert r"A woman \u2013 \u5973\u6027" in "\n".join(lines)
    assert "[" in row(lines, "arm left")


def test_a_failed_reply_says_so_and_shows_no_phases():
    failed = Annotation(
        annotation_id="a", vocab_version="1", clip_id="c", layer="raw", run_id="r", status="truncated",
        duration_us=3_000_000, repairs=(Repair(op="drop", path="phases/0", reason="r"),),
    )  # fmt: skip
    lines = drawn(TimelineView(annotation=failed))
    assert "status: truncated  repairs: 1" in lines[0]
    assert "no phases" in lines


def test_the_sheet_as_json_holds_the_annotation_and_what_is_drawn_beside_it():
    shown = json.loads(json.dumps(TimelineView(annotation=ANNOTATION, signals=SIGNALS, words=WORDS).as_json()))
    assert shown["annotation"]["phases"][0]["start_us"] == ANNOTATION.phases[0].start_us
    assert shown["words"][0].items() >= {"text": "hello", "start_us": 300_000, "end_us": 700_000}.items()
    assert len(shown["mouth_open"]) == SIGNALS.frames
    assert shown["voice"][0]["start_us"] >= 0


@pytest.mark.slow
@given(st.text(min_size=20, max_size=80), st.text(min_size=3, max_size=40), st.booleans())
def test_no_text_from_outside_reaches_the_terminal_as_a_control(base_text, text, colour):
    annotation = replace(
        ANNOTATION,
        base=replace(ANNOTATION.base, text=base_text),
        phases=tuple(replace(p, text=text) for p in ANNOTATION.phases),
    )
    shown = "\n".join(drawn(TimelineView(annotation=annotation, words=(replace(WORDS[0], text=text),)), colour=colour))
    assert not FORBIDDEN.search(re.sub(r"\x1b\[[0-9;]*m", "", shown) if colour else shown)


def test_markup_in_a_text_is_text():
    annotation = replace(ANNOTATION, base=replace(ANNOTATION.base, text="[red]A woman[/red] speaks to the camera."))
    assert "[red]A woman[/red] speaks to the camera." in drawn(TimelineView(annotation=annotation))
