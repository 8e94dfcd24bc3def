"""Layers lie side by side: none overwrites another, and each is found by its name."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation, Finding, annotation_id
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import find_layer, list_layers, write_findings, write_layer
from xsheet.schemas.run import Model, Run


def run_of(name: str, *, kind="annotate") -> Run:
    return Run(run_id=f"run_{name}", kind=kind, tool_version="0", model=Model(id=f"xsheet.{name}", revision="1"))


def annotation(run: Run, clip: str, *, layer="raw") -> Annotation:
    return Annotation(
        annotation_id=annotation_id(
            clip_id=clip, layer=layer, run_id=run.run_id, sample_index=None, base=None, phases=()
        ),
        vocab_version="v", clip_id=clip, layer=layer, run_id=run.run_id, status="error", duration_us=4_000_000,
        parent_ids=() if layer == "raw" else ("ann_parent",),
    )  # fmt: skip


@pytest.fixture
def two(tmp_path):
    for name in ("motion", "qwen"):
        run = run_of(name)
        write_layer(tmp_path, run, "raw", [annotation(run, clip) for clip in ("a", "b")])
    return tmp_path


def test_a_second_run_leaves_the_first_as_it_was(two):
    assert [str(one) for one in list_layers(two)] == ["raw@run_motion", "raw@run_qwen"]
    assert [a.clip_id for a in find_layer(two, "raw@motion").read()] == ["a", "b"]


def test_all_layers_are_one_table_to_every_reader(two):
    assert len(tables.read_table(two, tables.ANNOTATIONS)) == 4
    assert pq.read_table(two / "annotations").num_rows == 4


def test_the_same_run_is_written_anew(two):
    run = run_of("qwen")
    write_layer(two, run, "raw", [annotation(run, "c")])
    assert [a.clip_id for a in find_layer(two, "raw@run_qwen").read()] == ["c"]


def test_a_name_that_several_have_is_refused_with_their_names(two):
    with pytest.raises(ConfigError, match=r"raw@run_motion \(xsheet.motion\), raw@run_qwen"):
        find_layer(two, "raw")


def test_a_name_that_none_has_lists_what_there_is(two):
    with pytest.raises(ConfigError, match=r"one of raw@run_motion"):
        find_layer(two, "consensus")


def test_an_empty_layer_is_a_layer(tmp_path):
    write_layer(tmp_path, run_of("motion"), "raw", [])
    assert list(find_layer(tmp_path, "raw").read()) == []


def test_an_annotation_of_another_layer_is_refused(tmp_path):
    run = run_of("motion")
    with pytest.raises(ValueError, match="expected raw@run_motion"):
        write_layer(tmp_path, run, "raw", [annotation(run, "a", layer="normalised")])


def test_findings_of_two_audits_lie_side_by_side(tmp_path):
    for name in ("one", "two"):
        run = replace(run_of(name, kind="audit"), model=None)
        found = Finding(finding_id=f"f_{name}", run_id=run.run_id, check="A1", severity="error", message="m")
        write_findings(tmp_path, run, [found])
    assert len(tables.read_table(tmp_path, tables.FINDINGS)) == 2
    assert len(tables.read_table(tmp_path, tables.RUNS)) == 2
