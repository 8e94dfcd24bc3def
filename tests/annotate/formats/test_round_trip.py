"""Out and back again, in every format: what no loss names comes back as it was, and the second time nothing changes."""

from dataclasses import fields, replace
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xsheet.annotate.formats import csv_tables, elan, label_studio, webvtt
from xsheet.schemas.annotation import Base, Phase

pytestmark = pytest.mark.slow  # processes, films or models: seconds

FORMATS = [elan, label_studio, csv_tables, webvtt]
BY_IMPORT = {"origin"}  # always 'import'
formats = pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.__name__.rpartition(".")[2])
often = settings()


def there_and_back(fmt, annotations, clips):
    """All annotations as they come back, and the fields that either way lost."""
    out = fmt.export(annotations, clips)
    back = fmt.read(out.files, clips)
    found = [one for voice in back.layers for one in voice.annotations]
    return found, {loss.field for loss in (*out.losses, *back.losses)}


def changed(before, after, lost):
    """Fields of phases that differ although no loss names them, and phases that are gone."""
    had, have = list(before.phases), [one for annotation in after for one in annotation.phases]
    # Rounding may change the order of phases that start together, so their ids distinguish them if they have any.
    identity = attrgetter(*(["start_us", "end_us", "action"] if "phases.phase_id" in lost else ["phase_id"]))
    pairs = list(zip(sorted(had, key=identity), sorted(have, key=identity), strict="phases" not in lost))
    names = {one.name for one in fields(Phase)} - {field.removeprefix("phases.") for field in lost} - BY_IMPORT
    return [
        (a.phase_id, name, getattr(a, name), getattr(b, name))
        for a, b in pairs
        for name in sorted(names)
        if getattr(a, name) != getattr(b, name)
    ]


@formats
@often
@given(data=st.data())
def test_what_no_loss_names_comes_back(fmt, data, annotations, clip):
    one = data.draw(annotations())
    back, lost = there_and_back(fmt, [one], [clip])
    assert not changed(one, back, lost)
    assert "base" not in lost
    kept = [name.name for name in fields(Base) if f"base.{name.name}" not in lost]
    assert [getattr(back[0].base, name) for name in kept] == [getattr(one.base, name) for name in kept]


@formats
@often
@given(data=st.data())
def test_a_second_round_trip_changes_nothing(fmt, data, annotations, clip):
    once, _ = there_and_back(fmt, [data.draw(annotations())], [clip])
    twice, _ = there_and_back(fmt, once, [clip])
    assert [(one.phases, one.base) for one in twice] == [(one.phases, one.base) for one in once]


@formats
def test_the_truth_about_the_puppet_keeps_its_classes_times_and_tracks(fmt, puppet):
    clips, truth = puppet
    back, lost = there_and_back(fmt, truth, clips)
    for one in truth:
        mine = [other for other in back if other.clip_id == one.clip_id]
        assert not changed(one, mine, lost)
        spans = sorted((p.action, p.start_us, p.end_us) for other in mine for p in other.phases)
        assert spans == sorted((p.action, p.start_us, p.end_us) for p in one.phases)


@formats
def test_an_annotation_that_saw_nothing_comes_back_empty(fmt, annotation, clip):
    (back,), _ = there_and_back(fmt, [annotation()], [clip])
    assert (back.clip_id, back.phases) == (clip.clip_id, ())


@formats
def test_an_export_of_nothing_reads_as_nothing(fmt, clip):
    assert fmt.read(fmt.export([], [clip]).files, [clip]).layers == ()


@formats
def test_what_is_read_is_a_layer_of_its_own_run(fmt, annotation, phase, clip):
    (one,) = fmt.read(fmt.export([annotation(phase())], [clip]).files, [clip]).layers
    (found,) = one.annotations
    assert (found.layer, one.run.kind, found.run_id) == ("imported", "import", one.run.run_id)
    assert {p.origin for p in found.phases} == {"import"}


@formats
def test_the_same_files_give_the_same_run_and_others_another(fmt, annotation, phase, clip):
    files = [fmt.export([annotation(phase(end_us=end))], [clip]).files for end in (1_200_000, 1_200_000, 1_600_000)]
    first, same, other = (fmt.read(one, [clip]).layers[0].run.run_id for one in files)
    assert first == same != other


@formats
def test_a_base_that_the_file_lacks_is_taken_from_the_caller(fmt, annotation, phase, clip):
    one = annotation(phase())
    files = fmt.export([replace(one, status="skipped", base=None)], [clip]).files
    alone, helped = fmt.read(files, [clip]), fmt.read(files, [clip], bases={clip.clip_id: one.base})
    assert [alone.layers[0].annotations[0].status, helped.layers[0].annotations[0].base] == ["skipped", one.base]
