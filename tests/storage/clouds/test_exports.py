"""An export at a URL: its files under their own names, the description last, resumed and kept apart from others."""

import hashlib
import json

import pytest

from xsheet.export.pipeline import export_set
from xsheet.export.settings import ExportSettings
from xsheet.runtime.executor import Execution
from xsheet.runtime.storage import attempts
from xsheet.runtime.storage.stores import list_objects, read_object, write_object
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation, Base, Phase
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.layers import write_layer
from xsheet.schemas.run import Run
from xsheet.schemas.sets import create_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
URL = "s3://films/exports/talk"
BASE = Base(
    text="A woman speaks.", subject="a woman", framing="face", scene="a room", camera="static", speaking="speaking"
)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.01)


def clip(name, data):
    return Clip(
        clip_id=name, source_id="src_1", start_us=0, end_us=2_000_000, media_path=f"media/{name}.mp4",
        media_sha256=hashlib.sha256(data).hexdigest(), frames=50, samples=0, width=64, height=64,
    )  # fmt: skip


def write_clips(folder, names):
    """Clips whose files are a few bytes each, and a layer that describes them; an export copies the files unread."""
    clips = [clip(name, name.encode()) for name in names]
    for one in clips:
        (folder / one.media_path).parent.mkdir(exist_ok=True)
        (folder / one.media_path).write_bytes(one.clip_id.encode())
    tables.write_table(folder, tables.CLIPS, clips)
    phase = Phase(
        phase_id="p1", track="head", start_us=0, end_us=1_000_000, action="nod", text="nods", laterality="none",
        kind="gesture", origin="truth",
    )  # fmt: skip
    rows = [
        Annotation(
            annotation_id=f"ann_{one.clip_id}", clip_id=one.clip_id, layer="gold", run_id="run_truth",
            sample_index=None, vocab_version="1", media_sha256=one.media_sha256, status="ok",
            duration_us=one.duration_us, base=BASE, phases=(phase,),
        )
        for one in clips
    ]  # fmt: skip
    write_layer(folder, Run(run_id="run_truth", kind="truth", tool_version="0"), "gold", rows)


@pytest.fixture
def small_set(tmp_path):
    create_set(tmp_path / "set", "talk")
    write_clips(tmp_path / "set", ("clip_a", "clip_b"))
    return tmp_path / "set"


def export(folder, kind="folder", **more):
    settings = ExportSettings(kind=kind, layer="gold", **more)
    return export_set(folder, URL, settings, execution=Execution(), shows_progress=False)


def at_url():
    return {one.url.removeprefix(f"{URL}/"): one.size_bytes for one in list_objects(URL)}


def read(name):
    return read_object(f"{URL}/{name}", max_bytes=1 << 20)


def puts(store):
    return [path for method, path in store.requests if method in ("PUT", "POST")]


def test_files_lie_at_the_url_under_their_names_and_the_same_command_uploads_nothing(s3, small_set):
    export(small_set)
    videos = {f"train/clip_{x}{suffix}" for x in "ab" for suffix in (".mp4", ".txt")}
    assert set(at_url()) == {*videos, "SHA256SUMS", "export.json"}
    assert read("train/clip_a.mp4") == b"clip_a"
    assert f"{hashlib.sha256(b'clip_a').hexdigest()}  train/clip_a.mp4" in read("SHA256SUMS").decode()
    assert json.loads(read("export.json"))["complete"]
    s3.requests.clear()
    export(small_set)
    assert not puts(s3)


def test_a_configuration_names_the_url_as_its_place(s3, small_set):
    export(small_set, "musubi")
    assert f'video_jsonl_file = "{URL}/train.jsonl"' in read("dataset.toml").decode()


def test_a_stopped_upload_is_not_complete_and_goes_on_with_what_is_missing(s3, small_set):
    s3.fails(10**6, "drop before", method="PUT", part="clip_b.mp4")
    with pytest.raises(RunError, match=r"clip_b\.mp4: expected an object of 6 bytes"):
        export(small_set)
    s3.fails(0, "")
    assert not json.loads(read("export.json"))["complete"]
    arrived = set(at_url()) - {"export.json"}
    assert "SHA256SUMS" not in arrived
    s3.requests.clear()
    export(small_set)
    assert json.loads(read("export.json"))["complete"]
    assert not any(path.endswith(name) for path in puts(s3) for name in arrived)


@pytest.mark.parametrize("kind", ["another export", "other objects"])
def test_what_lies_at_the_url_already_is_left_alone(kind, s3, small_set):
    if kind == "another export":
        export(small_set)
    else:
        write_object(f"{URL}/train/clip_a.mp4", b"mine")
    before = at_url()
    with pytest.raises(ConfigError, match=f"{kind}; choose another URL") as caught:
        export(small_set, captions="prose")
    assert "\n" not in str(caught.value)
    assert at_url() == before


def test_files_of_a_clip_that_left_the_set_are_removed(s3, small_set):
    export(small_set)
    write_clips(small_set, ("clip_a", "clip_c"))
    export(small_set)
    assert {name for name in at_url() if name.endswith(".mp4")} == {"train/clip_a.mp4", "train/clip_c.mp4"}


def test_the_hub_takes_an_export_in_five_commits_and_the_same_command_makes_none(hf, hub, small_set):
    hub.files[".gitattributes"] = b"*.mp4 filter=lfs"
    settings = ExportSettings(kind="hf", layer="gold")
    for _ in range(2):
        export_set(small_set, hf, settings, execution=Execution(), shows_progress=False)
        assert [len(commit) for commit in hub.commits] == [1, 5, 1, 1]
    assert {"README.md", "croissant.json", "train/clip_a.mp4", "train/metadata.parquet"} <= set(hub.files)
    assert json.loads(hub.files["export.json"])["complete"]
    write_clips(small_set, ("clip_a", "clip_c"))
    export_set(small_set, hf, settings, execution=Execution(), shows_progress=False)
    assert {name for name in hub.files if name.endswith(".mp4")} == {"train/clip_a.mp4", "train/clip_c.mp4"}
