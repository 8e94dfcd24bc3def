"""ActivityNet: ground truth and results."""

import json

import pytest

from xsheet.annotate.formats import activitynet
from xsheet.schemas.errors import ContractError


def document(**changes):
    entry = {"duration": 5.0, "subset": "training", "annotations": [{"segment": [0.4, 1.2], "label": "Nod"}]}
    return json.dumps({"version": "VERSION 1.3", "database": {"clip_1": entry | changes}})


def test_the_database_has_seconds_classes_and_the_subset_of_the_split(annotation, phase, clip):
    out = activitynet.export([annotation(phase())], [clip], splits={"clip_1": "val"})
    assert json.loads(out.files["activitynet.json"])["database"] == {
        "clip_1": {
            "duration": 5.0,
            "subset": "validation",
            "annotations": [{"segment": [0.4, 1.2], "label": "nod"}],
        }
    }


def test_results_have_the_confidence_as_score_and_leave_out_what_has_none(annotation, phase, clip):
    one = annotation(phase(confidence=0.75), phase(phase_id="p1", track="face"))
    out = activitynet.export([one], [clip], results=True)
    results = json.loads(out.files["activitynet.json"])["results"]
    assert results == {"clip_1": [{"segment": [0.4, 1.2], "label": "nod", "score": 0.75}]}
    assert "phases" in {loss.field for loss in out.losses}
    (back,) = activitynet.read(out.files, [clip]).imports
    assert (back.voice, back.annotations[0].phases[0].confidence) == ("results", 0.75)


def test_what_has_no_place_is_named_with_its_number_and_an_example(annotation, phase, clip):
    out = activitynet.export([annotation(phase(), phase(phase_id="p1", track="face"))], [clip])
    lost = {loss.field: (loss.count, loss.example) for loss in out.losses}
    assert lost["phases.text"] == (2, "clip_1/p1: nods twice")
    assert lost["phases.track"] == (1, "clip_1/p1: face")


def test_two_annotations_of_a_clip_are_refused(annotation, phase, clip):
    with pytest.raises(ContractError, match="one annotation per clip"):
        activitynet.export([annotation(phase()), annotation(layer="raw")], [clip])


def test_a_known_class_is_known_in_any_spelling(clip):
    (one,) = activitynet.read({"a.json": document()}, [clip]).imports
    assert (one.annotations[0].phases[0].action, one.annotations[0].phases[0].track) == ("nod", "head")


@pytest.mark.parametrize("segment", [None, [], [1], [1, "2"], [True, 2], [1, 2, 3], [0.0, 1e400]])
def test_a_segment_that_is_no_pair_of_seconds_is_counted(segment, clip):
    text = document(annotations=[{"segment": segment, "label": "nod"}]).replace("Infinity", "1e999")
    reading = activitynet.read({"a.json": text}, [clip])
    assert "no segment of two times in seconds" in {loss.why for loss in reading.losses}


def test_another_duration_than_the_clips_is_said(clip):
    reading = activitynet.read({"a.json": document(duration=9.0)}, [clip])
    assert "duration_us" in {loss.field for loss in reading.losses}


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"database": []}', "nonsense"])
def test_what_has_neither_database_nor_results_is_refused(text, clip):
    with pytest.raises(ContractError):
        activitynet.read({"a.json": text}, [clip])
