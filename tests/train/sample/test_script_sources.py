"""Scripts from files of other tools and from the layers of a set; the times are those of the source."""

import pytest

from xsheet.annotate.formats import csv_tables, elan
from xsheet.schemas.errors import ConfigError
from xsheet.train.sample.script_sources import read_script

ROWS = "start,end,label,track\n0.3,1.3,nod,head\n1.45,2.05,raise_brows,brows\n"
TIMES = [(0.3, 1.3, "head"), (1.45, 2.05, "brows")]


def timed(script):
    return [(phase.start_s, phase.end_s, phase.track) for phase in script.phases]


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "nod.csv"
    file.write_text(ROWS)
    return file


def test_a_table_of_any_tool_becomes_a_script_with_its_times(table):
    script = read_script(table, caption="A person speaks to the camera.")
    assert timed(script) == TIMES
    assert script.base == "A person speaks to the camera."


def test_a_table_without_a_caption_names_the_option(table):
    with pytest.raises(ConfigError, match="pass --caption"):
        read_script(table)


def test_one_of_several_clips_of_a_table_is_chosen_by_name(table):
    table.write_text("clip," + ROWS.replace("\n0", "\na,0").replace("\n1", "\nb,1"))
    with pytest.raises(ConfigError, match="got 2: a, b; choose it with --clip"):
        read_script(table, caption="A person speaks to the camera.")
    assert timed(read_script(table, clip="b", caption="A person speaks to the camera.")) == TIMES[1:]


def test_overlapping_actions_of_one_track_are_refused(table):
    table.write_text(ROWS.replace("1.45,2.05,raise_brows,brows", "1.0,2.05,shake_head,head"))
    with pytest.raises(ConfigError, match="that do not overlap"):
        read_script(table, caption="A person speaks to the camera.")


@pytest.mark.parametrize("tool", [elan, csv_tables])
def test_an_exported_annotation_is_a_script_with_its_caption(tool, annotation, pristine_set, tmp_path):
    from xsheet.schemas import tables

    clips = list(tables.iter_records(pristine_set, tables.CLIPS))
    for name, text in tool.export([annotation], clips).files.items():
        (tmp_path / name).write_text(text)
    main = next(tmp_path.glob("*.eaf"), tmp_path / "phases.csv")
    caption = None if tool is elan else annotation.base.text
    script = read_script(main, caption=caption)
    assert [(p.start_us, p.end_us, p.text) for p in script.annotation(annotation.duration_us, where="x").phases] == [
        (p.start_us, p.end_us, p.text) for p in annotation.phases
    ]
    assert script.base == annotation.base.text


def test_a_clip_of_a_layer_is_a_script(pristine_set, annotation):
    script = read_script(pristine_set, clip="clip_a", layer="gold")
    assert timed(script) == [(p.start_us / 1e6, p.end_us / 1e6, p.track) for p in annotation.phases]
    with pytest.raises(ConfigError, match="none chosen; choose it with --clip"):
        read_script(pristine_set, layer="gold")
    with pytest.raises(ConfigError, match="got 0: "):
        read_script(pristine_set, clip="nobody", layer="gold")


def test_a_caption_replaces_that_of_a_written_script(tmp_path):
    file = tmp_path / "nod.yaml"
    file.write_text("base: A person speaks to the camera.\n")
    assert read_script(file, caption="It's a man: he speaks on.").base == "It's a man: he speaks on."
    with pytest.raises(ConfigError, match="omit --clip"):
        read_script(file, clip="clip_a")


def test_another_ending_lists_those_that_are_read(tmp_path):
    (tmp_path / "nod.txt").write_text("nods")
    with pytest.raises(ConfigError, match=r"\.eaf.*'\.txt'"):
        read_script(tmp_path / "nod.txt")
