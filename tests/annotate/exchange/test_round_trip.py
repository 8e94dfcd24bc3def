"""Out and back again, in every format: what no loss names comes back as it was, and the second time nothing changes."""

from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xsheet.annotate.exchange import elan, table_csv
from xsheet.schemas.annotation import Base, Phase

FORMATS = [elan, table_csv]
BY_IMPORT = {"origin"}  # an import is its own origin
formats = pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.__name__.rpartition(".")[2])
often = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def there_and_back(fmt, annotations, clips):
    """Annotations as they come back, by clip, and what both ways lost."""
    out = fmt.export(annotations, clips)
    back = fmt.read(out.files, clips)
    found = [one for voice in back.imports for one in voice.annotations]
    return {one.clip_id: one for one in found}, {loss.field for loss in (*out.losses, *back.losses)}


def changed(before, after, lost):
    """Fields of phases that differ although no loss names them."""
    assert len(before.phases) == len(after.phases) or "phases" in lost
    if "phases.phase_id" in lost:
        pairs = zip(before.phases, after.phases, strict=False)
    else:  # rounding may change the order of phases that start together
        by_id = {one.phase_id: one for one in after.phases}
        pairs = [(one, by_id[one.phase_id]) for one in before.phases if one.phase_id in by_id]
    names = {one.name for one in fields(Phase)} - {field.removeprefix("phases.") for field in lost} - BY_IMPORT
    return [(a.phase_id, name, getattr(a, name), getattr(b, name)) for a, b in pairs for name in sorted(names)
            if getattr(a, name) != getattr(b, name)]  # fmt: skip


@formats
@often
@given(data=st.data())
def test_what_no_loss_names_comes_back(fmt, data, annotations, clip):
    one = data.draw(annotations())
    back, lost = there_and_back(fmt, [one], [clip])
    assert not changed(one, back[clip.clip_id], lost)
    bases = [(name.name, getattr(one.base, name.name)) for name in fields(Base)] if "base" not in lost else []
    assert all(getattr(back[clip.clip_id].base, name) == value for name, value in bases if f"base.{name}" not in lost)


@formats
@often
@given(data=st.data())
def test_a_second_round_trip_changes_nothing(fmt, data, annotations, clip):
    once, _ = there_and_back(fmt, [data.draw(annotations())], [clip])
    twice, _ = there_and_back(fmt, once.values(), [clip])
    assert twice[clip.clip_id].phases == once[clip.clip_id].phases
    assert twice[clip.clip_id].base == once[clip.clip_id].base


@formats
def test_the_truth_about_the_puppet_keeps_its_classes_times_and_tracks(fmt, puppet):
    clips, truth = puppet
    back, lost = there_and_back(fmt, truth, clips)
    assert len(back) == len(truth)
    assert not any(changed(one, back[one.clip_id], lost) for one in truth)
    kept = [(p.action, p.start_us, p.end_us) for one in truth for p in one.phases]
    assert kept == [(p.action, p.start_us, p.end_us) for one in truth for p in back[one.clip_id].phases]


@formats
def test_an_annotation_that_saw_nothing_comes_back_empty(fmt, annotation, clip):
    back, _ = there_and_back(fmt, [annotation()], [clip])
    assert back[clip.clip_id].phases == ()


@formats
def test_an_export_of_nothing_reads_as_nothing(fmt, clip):
    assert fmt.read(fmt.export([], [clip]).files, [clip]).imports == ()


@formats
def test_what_is_read_is_a_layer_of_its_own_run(fmt, annotation, phase, clip):
    (one,) = fmt.read(fmt.export([annotation(phase())], [clip]).files, [clip]).imports
    (found,) = one.annotations
    assert (found.layer, one.run.kind, found.run_id) == ("imported", "import", one.run.run_id)
    assert {p.origin for p in found.phases} == {"import"}


@formats
def test_the_same_files_give_the_same_run_and_others_another(fmt, annotation, phase, clip):
    files = [fmt.export([annotation(phase(end_us=end))], [clip]).files for end in (1_200_000, 1_200_000, 1_600_000)]
    first, same, other = (fmt.read(one, [clip]).imports[0].run.run_id for one in files)
    assert first == same != other


@formats
def test_a_base_that_the_file_lacks_is_taken_from_the_caller(fmt, annotation, phase, clip):
    one = annotation(phase())
    files = fmt.export([replace(one, status="skipped", base=None)], [clip]).files
    alone, helped = fmt.read(files, [clip]), fmt.read(files, [clip], bases={clip.clip_id: one.base})
    assert [alone.imports[0].annotations[0].status, helped.imports[0].annotations[0].base] == ["skipped", one.base]
