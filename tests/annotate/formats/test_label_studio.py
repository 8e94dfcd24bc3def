"""Label Studio: 1-based frames, the rate of each task, predictions and annotations, JSON and JSON-MIN."""

import json
from xml.etree import ElementTree as ET

import pytest

from xsheet.annotate.formats import label_studio
from xsheet.schemas.errors import ContractError


def region(start, end, label="nod", **more):
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": [label]}
    return {"id": "r1", "type": "timelinelabels", "from_name": "action", "to_name": "video", "value": value, **more}


def tasks(*results, kind="annotations", fps=25, video="/data/upload/1/0a1b2c3d-clip_1.mp4", **more):
    data = {"video": video} | ({} if fps is None else {"fps": fps})
    return json.dumps([{"data": data, kind: [{"result": list(results), **more}]}])


def phases_of(text, clip, **files):
    (one,) = label_studio.read({"tasks.json": text, **files}, [clip]).layers
    return one.annotations[0].phases


def test_frames_are_1_based_and_inclusive(annotation, phase, clip):
    out = label_studio.export([annotation(phase(start_us=0, end_us=1_000_000))], [clip])
    (task,) = json.loads(out.files["tasks.json"])
    ranges = {json.dumps(one["value"]["ranges"]) for one in task["predictions"][0]["result"]}
    assert ranges == {'[{"start": 1, "end": 25}]'}


def test_answers_share_the_id_of_their_region(annotation, phase, clip):
    out = label_studio.export([annotation(phase(amplitude=2, body_parts=("head", "neck")))], [clip])
    (task,) = json.loads(out.files["tasks.json"])
    results = task["predictions"][0]["result"]
    assert {one["id"] for one in results} == {"p0"}
    kinds = {one["from_name"]: one["type"] for one in results}
    assert kinds == {
        "action": "timelinelabels", "track": "choices", "text": "textarea", "laterality": "choices", "kind": "choices",
        "body_parts": "choices", "amplitude": "number",
    }  # fmt: skip


def test_the_config_has_every_control_that_the_tasks_answer_and_their_frame_rate(puppet):
    clips, truth = puppet
    files = label_studio.export(truth, clips).files
    config = ET.fromstring(files["config.xml"])
    controls = {one.get("name") for one in config.iter() if one.get("toName")}
    answered = {
        one["from_name"]
        for task in json.loads(files["tasks.json"])
        for prediction in task["predictions"]
        for one in prediction["result"]
    }
    assert answered <= controls
    assert config.find("Video").get("framerate") == "25.0"


@pytest.mark.parametrize(
    ("fps", "end_us"),
    [(25, 1_000_000), ("25.0", 1_000_000), (50, 500_000), (24, 1_041_666), ("30000/1001", 834_166), (12.5, 2_000_000)],
)
def test_frames_are_counted_at_the_rate_of_their_task(fps, end_us, clip):
    (found,) = phases_of(tasks(region(1, 25), fps=fps), clip)
    assert (found.start_us, found.end_us) == (0, end_us)


def test_each_task_has_its_own_rate(clip):
    both = json.loads(tasks(region(1, 25), fps=25)) + json.loads(tasks(region(1, 25), fps=50))
    found = label_studio.read({"tasks.json": json.dumps(both)}, [clip]).layers
    ends = sorted(phase.end_us for layer in found for row in layer.annotations for phase in row.phases)
    assert ends == [500_000, 1_000_000]


@pytest.mark.parametrize("fps", [None, "", "nan", "1e999999999", [25], True, 0, -25, "0/1", "1/0", 1001, "25 fps"])
def test_a_task_without_a_rate_is_refused(fps, clip):
    with pytest.raises(ContractError, match="the frame rate of the labels"):
        label_studio.read({"tasks.json": tasks(region(1, 25), fps=fps)}, [clip])


@pytest.mark.parametrize(("rate", "end_us"), [('framerate="50"', 500_000), ("", 1_041_666)])  # 24: Label Studio's own
def test_a_task_without_a_rate_has_that_of_the_config(rate, end_us, clip):
    config = f'<View><Video name="video" value="$video" {rate}/></View>'
    (found,) = phases_of(tasks(region(1, 25), fps=None), clip, **{"config.xml": config})
    assert found.end_us == end_us


def test_a_file_of_the_form_json_min_keeps_its_regions_and_reports_what_it_lost(clip):
    task = {
        "id": 3, "video": "/data/upload/1/0a1b2c3d-clip_1.mp4", "fps": 25, "annotator": 7, "annotation_id": 5,
        "head": [{"ranges": [{"start": 1, "end": 25}], "timelinelabels": ["nod"]}], "laterality": "left",
    }  # fmt: skip
    found = label_studio.read({"min.json": json.dumps([task])}, [clip])
    (layer,) = found.layers
    (phase,) = layer.annotations[0].phases
    assert (layer.annotator_id, phase.action, phase.track, phase.end_us) == ("user 7", "nod", "head", 1_000_000)
    assert "JSON-MIN does not state its region" in {loss.reason for loss in found.losses}


def test_annotations_and_predictions_are_voices_of_their_own(annotation, phase, clip):
    (task,) = json.loads(label_studio.export([annotation(phase())], [clip]).files["tasks.json"])
    task["annotations"] = [{"completed_by": 7, "result": [region(1, 50)]}]
    found = label_studio.read({"tasks.json": json.dumps([task])}, [clip]).layers
    assert [(one.annotator_id, one.annotations[0].phases[0].end_us) for one in found] == [
        ("gold", 1_200_000), ("user 7", 2_000_000),
    ]  # fmt: skip
    assert found[1].annotations[0].base == annotation().base


def test_a_clip_is_found_by_the_name_of_an_uploaded_or_local_video(clip):
    for video in (
        "/data/upload/1/0a1b2c3d-clip_1.mp4",
        "/data/local-files/?d=media/cl/clip_1.mp4",
        "s3://b/clip_1.mp4",
    ):
        assert len(phases_of(tasks(region(1, 25), video=video), clip)) == 1


def test_a_cancelled_annotation_is_counted_and_not_taken(clip):
    reading = label_studio.read({"tasks.json": tasks(region(1, 25), was_cancelled=True)}, [clip])
    assert reading.layers == ()
    assert "the annotator skipped the task" in {loss.reason for loss in reading.losses}


@pytest.mark.parametrize(
    "result",
    [
        region(0, 5), region(5, 4), region(1.5, 4), region("1", "2"), region(True, 5), region(1, 10**400),
        region(1, 25) | {"value": None}, region(1, 25) | {"value": {"ranges": 3}},
        {"id": "r9", "type": "rectanglelabels", "value": {"x": 1}},
        {"id": "r9", "type": "choices", "from_name": "track", "value": {"choices": ["head"]}}, {},
    ],
)  # fmt: skip
def test_a_result_that_is_no_region_in_frames_is_counted(result, clip):
    reading = label_studio.read({"tasks.json": tasks(result)}, [clip])
    assert reading.layers[0].annotations[0].phases == ()
    assert sum(loss.count for loss in reading.losses if loss.field != "base") >= 1


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, "[NaN]", "3", '{"a":'])
def test_what_is_no_list_of_tasks_is_refused(text, clip):
    with pytest.raises(ContractError):
        label_studio.read({"tasks.json": text}, [clip])


@pytest.mark.parametrize("text", ["[1]", "[{}]", '[{"data": 3, "annotations": 4}]', '[{"data": {"video": ["x"]}}]'])
def test_a_task_of_no_known_clip_is_counted(text, clip_named):
    reading = label_studio.read({"tasks.json": text}, [clip_named("a"), clip_named("b")])
    assert [loss.field for loss in reading.losses] == ["clip_id"]
