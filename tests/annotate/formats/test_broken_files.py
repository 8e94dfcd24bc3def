"""Files that were cut, garbled or made up: refused with a ContractError or read to valid records, nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.formats import csv_tables, elan, label_studio, webvtt
from xsheet.schemas.errors import ContractError

formats = pytest.mark.parametrize(
    "fmt", [elan, label_studio, csv_tables, webvtt], ids=lambda fmt: fmt.__name__.rpartition(".")[2]
)
# Pieces that mean something to one of the formats.
PIECES = [
    "<", ">", '"', "'", "&amp;", "&#0;", "<!DOCTYPE x>", "<![CDATA[", "-->", "\n\n", "\r", "\x00", ",", ";", "{", "[",
    "]", "}", "null", "NaN", "1e999", "-1", "99999999999999999999", "true", '"ranges"', "ts1", "a1", "@", "#2",
    "/kinematics", "=1+1", "@gold",
]  # fmt: skip


@st.composite
def damaged(draw, text: str) -> str:
    """A text with a few pieces taken out, doubled, or put in."""
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(text)))
        until = at + draw(st.integers(0, 60))
        piece = draw(st.sampled_from(["", text[at:until] * 2, *PIECES]) | st.text(max_size=8))
        text = text[:at] + piece + text[until:]
    return text


@formats
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read(fmt, data, annotation, phase, clip):
    one = annotation(phase(), phase(phase_id="p1", track="gaze", action="look_away", kind="gaze", text="looks <away>"))
    files = dict(fmt.export([one], [clip]).files)
    name = data.draw(st.sampled_from(sorted(files)))
    files[name] = data.draw(damaged(files[name]))
    try:
        reading = fmt.read(files, [clip])
    except ContractError:
        return
    assert all(one.clip_id == clip.clip_id for voice in reading.layers for one in voice.annotations)


@formats
@given(text=st.text(max_size=200))
def test_any_text_is_refused_or_read(fmt, text, clip):
    try:
        fmt.read({"clip_1.x": text}, [clip])
    except ContractError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("fmt", "text"),
    [
        (webvtt, "WEBVTT\n\n00:01.000 --> 00:02.000\n" + "<v" * 500_000),
        (webvtt, "WEBVTT\n\n" + "\n\n".join(["00:01.000 --> 00:02.000\nnod"] * 2_000)),
        (label_studio, '[{"data": {"fps": 25, "video": "' + "a/0" * 300_000 + '"}}]'),
        (csv_tables, ",".join(f"c{n}" for n in range(20_000)) + ",start_s,end_s\n" + "1," * 20_001 + "2\n"),
    ],
    ids=["tags", "overlaps", "url", "columns"],
)
def test_a_file_made_to_be_slow_is_not(fmt, text, clip):
    reading = fmt.read({"clip_1.x": text}, [clip])
    assert len(reading.losses) <= 501
