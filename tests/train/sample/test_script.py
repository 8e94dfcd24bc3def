"""Sheets of phases that people write."""

import pytest

from xsheet.schemas.errors import ConfigError
from xsheet.train.sample.script_sources import read_script

SHEET = """
base: A woman with short dark hair speaks in front of a plain wall.
phases:
- {start_s: 1.8, end_s: 3.0, text: tilts the head to the left, track: head, action: tilt_head, laterality: left}
- {start_s: 0.4, end_s: 1.4, text: nods twice}
"""


def written(tmp_path, text):
    file = tmp_path / "sheet.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_phases_of_a_sheet_are_an_annotation_in_order_of_time(tmp_path):
    expected = read_script(written(tmp_path, SHEET)).annotation(3_300_000, where="sheet.yaml")
    assert [(p.start_us, p.text) for p in expected.phases] == [
        (400_000, "nods twice"),
        (1_800_000, "tilts the head to the left"),
    ]


def test_json_is_read_as_well(tmp_path):
    file = written(tmp_path, '{"base": "A person speaks to the camera.", "phases": []}')
    assert read_script(file).annotation(1_000_000, where="x").phases == ()


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ("[{start_s: 0, end_s: 1, text: nods}, {start_s: 0.5, end_s: 2, text: waves}]", "overlap"),
        ("[{start_s: 0, end_s: 9, text: nods}]", "ends at 9000000"),
        ("[{start_s: 1, end_s: 1, text: nods}]", "start_us < end_us"),
    ],
)
def test_phases_that_cannot_be_are_refused_in_one_sentence(tmp_path, phases, expected):
    sheet = read_script(written(tmp_path, f"base: A person speaks to the camera.\nphases: {phases}"))
    with pytest.raises(ConfigError, match=expected):
        sheet.annotation(3_300_000, where="sheet.yaml")


def test_an_unknown_key_is_named_with_its_neighbour(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'phases'"):
        read_script(written(tmp_path, "base: A person speaks to the camera.\nphasen: []"))
