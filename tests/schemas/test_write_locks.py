"""Every verb that writes to a set is refused at once while another command writes to it, and readers are not."""

import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.runtime.lock import write_lock
from xsheet.schemas import tables
from xsheet.schemas.errors import ContractError, RunError
from xsheet.schemas.layers import write_layer
from xsheet.schemas.sets import create_set
from xsheet.sets.subset import subset

WRITERS = (
    "run FILMS --out SET --replace", "curate run FILMS --out SET --replace", "curate segment SET", "curate decide SET",
    "curate split SET",
    "annotate run SET", "annotate words SET", "annotate consensus SET", "audit run SET", "audit accept SET",
    "audit apply SET", "audit import SET FILE", "train cache SET", "train cache OTHER SET", "train prior SET --out NEW",
    "train prior OTHER --out OUT", "schemas upgrade SET", "set check SET --clean", "set merge SET OTHER --out OUT",
    "set subset SET --where true --out OUT", "export SET --to folder --layer normalised --out OUT",
    "demo corpus --out OUT",
)  # fmt: skip
READERS = (
    "set check SET", "set stats SET", "set diff SET SET", "schemas check SET", "audit sample SET", "audit verdicts SET",
    "annotate show SET clip_1 --out PAGE", "audit export SET --out NEW", "set pack SET --out PACK",
)  # fmt: skip


@pytest.fixture
def places(tmp_path, examples, make_annotation):
    """Words of a command line: a set with clips and layers, another set, films, a file, an empty folder, new names."""
    names = {word: tmp_path / word.lower() for word in ("SET", "OTHER", "FILMS", "OUT", "NEW")}
    names |= {"FILE": tmp_path / "a.eaf", "PAGE": tmp_path / "page.html", "PACK": tmp_path / "set.tar"}
    for word in ("SET", "OTHER"):
        create_set(names[word], word)
    for word in ("FILMS", "OUT"):
        names[word].mkdir()
    (names["FILMS"] / "a.mp4").touch()
    names["FILE"].write_text("<ANNOTATION_DOCUMENT/>")
    for table in (tables.CLIPS, tables.SOURCES, tables.SIGNALS):
        tables.write_table(names["SET"], table, examples[table.name])
    for clip in tables.iter_records(names["SET"], tables.CLIPS):
        (names["SET"] / clip.media_path).parent.mkdir(parents=True)
        (names["SET"] / clip.media_path).write_bytes(b"not the film of the hash")
    (run,) = examples["runs"][-1:]
    for layer in ("normalised", "consensus"):
        write_layer(names["SET"], run, layer, [make_annotation(layer=layer, run_id=run.run_id, parent_ids=("ann_0",))])
    return names


def call(command, places):
    return CliRunner().invoke(app, [str(places.get(word, word)) for word in command.split()])


@pytest.mark.slow  # the verbs of training load torch
def test_a_verb_that_writes_is_refused_while_another_command_writes(places, lock_elsewhere):
    pid = lock_elsewhere(places["SET"], places["OUT"])
    before = contents(places)
    for command in WRITERS:
        ran = call(command, places)
        assert isinstance(ran.exception, RunError), (command, ran.exception, ran.output)
        assert f"expected no other writer, got process {pid} on " in str(ran.exception), command
    assert contents(places) == before


@pytest.mark.slow
def test_a_verb_that_reads_is_not_blocked_by_a_writer(places, lock_elsewhere):
    lock_elsewhere(places["SET"])
    for command in READERS:
        assert not isinstance(call(command, places).exception, RunError), command


def contents(places):
    """Files below all places, but for locks."""
    files = (path for path in places["SET"].parent.rglob("*") if path.is_file() and ".commits" not in path.parts)
    return {path: path.stat().st_mtime_ns for path in files}


def test_half_a_subset_does_not_stay(places):
    """A clip that is not the file of its hash stops the command; when it is repaired, the command can be repeated."""
    with pytest.raises(ContractError, match="hash"):
        subset(places["SET"], places["NEW"], where="true", layer=None)
    assert [path.name for path in places["NEW"].iterdir()] == [".commits"]


def test_a_folder_with_nothing_but_a_lock_counts_as_new(places):
    with write_lock(places["OUT"]):
        pass
    with pytest.raises(ContractError, match="hash"):
        subset(places["SET"], places["OUT"], where="true", layer=None)
