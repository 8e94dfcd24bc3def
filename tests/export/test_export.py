import csv
import hashlib
import json
import tomllib
import wave
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.curate.media.reader import open_media
from xsheet.export.folder import CHECKSUMS
from xsheet.export.forms.tar_shards import list_shards
from xsheet.export.media import ExportShardTask
from xsheet.export.pipeline import export_set, plan_export, write_metadata
from xsheet.export.settings import ExportKind, ExportSettings
from xsheet.runtime.executor import Execution, Item
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError, ContractError

pytestmark = pytest.mark.slow

TIMED = (
    "A woman speaks to the camera in a room. Phase-1 [0.0-1.0s]: raises the left arm. Phase-2 [1.0-2.0s]: nods twice."
)


def settings_of(kind: str, **more) -> ExportSettings:
    return ExportSettings(kind=kind, layer="gold", **more)


def export_to(drawn_set: Path, out: Path, kind: str, **more):
    return export_set(drawn_set, out, settings_of(kind, **more), execution=Execution(), shows_progress=False)


def describe_to(drawn_set: Path, out: Path, kind: str, **more) -> set[str]:
    """Write the metadata alone; the videos of its samples."""
    settings = settings_of(kind, **more)
    samples = plan_export(drawn_set, settings).samples
    list(write_metadata(out, samples, settings, name="drawn", location=str(out)))
    return {sample.file for sample in samples}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def hub(drawn_set, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "export"
    export_to(drawn_set, out, "hf", mirrored=True)
    return out


def test_a_folder_has_a_caption_beside_each_video_and_a_check_sum_for_each_file(drawn_set, tmp_path):
    summary = export_to(drawn_set, tmp_path / "out", "folder")
    assert summary.plan.counts() == {"train": 3, "val": 1}
    assert (tmp_path / "out/train/clip_a.txt").read_text() == TIMED + "\n"
    assert (tmp_path / "out/val/clip_b.mp4").read_bytes() == (drawn_set / "media/clip_b.mp4").read_bytes()
    sums = dict(reversed(one.split("  ")) for one in (tmp_path / "out" / CHECKSUMS).read_text().splitlines())
    files = {p.relative_to(tmp_path / "out").as_posix() for p in tmp_path.glob("out/*/*.*")}
    assert set(sums) == files
    assert sums["train/clip_a.mp4"] == hashlib.sha256((drawn_set / "media/clip_a.mp4").read_bytes()).hexdigest()
    assert json.loads((tmp_path / "out/export.json").read_text())["complete"]


def test_the_same_export_writes_no_video_again_and_another_one_is_refused(drawn_set, tmp_path):
    export_to(drawn_set, tmp_path / "out", "folder")
    assert export_to(drawn_set, tmp_path / "out", "folder").written == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="choose another folder"):
        export_to(drawn_set, tmp_path / "out", "folder", captions="base")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_killed_writers_left_in_an_export_goes_with_the_next_run(drawn_set, tmp_path):
    out = tmp_path / "out"
    export_to(drawn_set, out, "folder")
    whole = {path for path in out.rglob("*") if path.is_file()}
    (out / ".shard-x").mkdir()
    for name in ("train/.clip_a.0.tmp.mp4", ".train-000000.tar.0.tmp.tar", ".shard-x/video.mp4"):
        (out / name).write_bytes(b"half")
    export_to(drawn_set, out, "folder")
    assert {path for path in out.rglob("*") if path.is_file()} == whole
    assert not (out / ".shard-x").exists()


def test_a_folder_with_other_things_is_refused(drawn_set, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="other content"):
        export_to(drawn_set, tmp_path, "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_prose_names_the_actions_in_order_and_the_base_names_none(drawn_set):
    (prose, *_), (base, *_) = (
        plan_export(drawn_set, settings_of("folder", captions=form)).samples for form in ("prose", "base")
    )
    assert base.caption.text == "A woman speaks to the camera in a room."
    assert prose.caption.text == (
        f"{base.caption.text} First, the woman raises the left arm. Then, the woman nods twice."
    )


def test_fewer_frames_at_another_rate_cut_video_sound_and_caption_alike(drawn_set, tmp_path):
    summary = export_to(drawn_set, tmp_path / "out", "ltx", fps=16, frames=25)
    assert summary.plan.counts() == {"train": 3, "val": 1}
    row = lines(tmp_path / "out/train/metadata.jsonl")[0]
    assert row["audio"] == "clip_a.wav"
    assert row["caption"].endswith("Phase-2 [1.0-1.5s]: nods twice.")  # 25 frames at 16 fps are 1.56 s
    with open_media(tmp_path / "out/train/clip_a.mp4", root=tmp_path) as media:
        assert (media.source.frames_found, media.source.fps_num, media.source.fps_den) == (25, 16, 1)
        centres = [float(np.nonzero(frame.rgb[32, :, 0] > 128)[0].mean()) for frame in media.frames()]
    assert centres[0] == pytest.approx(10, abs=1)
    assert centres[-1] == pytest.approx(10 + 37, abs=2)  # 24 / 16 s at one pixel per frame of 40 ms
    with wave.open(str(tmp_path / "out/train/clip_a.wav")) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (16_000, 25_000)
    assert "audio" not in next(one for one in lines(tmp_path / "out/train/metadata.jsonl") if "mute" in one["video"])


def test_clips_that_are_too_short_are_left_out_and_counted(drawn_set):
    plan = plan_export(drawn_set, settings_of("musubi", frames=49))
    assert [sample.name for sample in plan.samples] == ["clip_a", "clip_mute"]
    assert plan.left_out == {"shorter than 49 frames at 25 fps": 2}


@pytest.mark.parametrize(("kind", "frames", "nearest"), [("musubi", 80, "77 or 81"), ("ltx", 81 + 4, "81 or 89")])
def test_a_frame_count_that_the_reader_does_not_take_names_the_nearest_ones(kind, frames, nearest, tmp_path):
    command = ["export", str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--to", kind, "--frames", str(frames)]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, ConfigError)
    assert f"n + 1 frames for {kind}, such as {nearest}, got {frames}" in str(error)
    assert not list(tmp_path.iterdir())


def test_an_unknown_form_is_one_sentence(tmp_path):
    command = ["export", str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--to", "mp4"]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith("--to: expected one of folder, hf, webdataset, musubi, ")
    assert not list(tmp_path.iterdir())


def test_a_mirrored_copy_shows_the_other_side_in_picture_and_caption(hub):
    import pyarrow.parquet as pq

    rows = {row["file_name"]: row for row in pq.read_table(hub / "train/metadata.parquet").to_pylist()}
    assert "raises the right arm" in rows["clip_a-mirrored.mp4"]["caption"]
    assert rows["clip_a-mirrored.mp4"]["phases"][0]["track"] == "arm_right"
    with open_media(hub / "train/clip_a-mirrored.mp4", root=hub) as media:
        first = next(iter(media.frames())).rgb[32, :, 0]
    assert np.nonzero(first > 128)[0].mean() == pytest.approx(95 - 10, abs=1)
    assert not list((hub / "val").glob("*-mirrored.mp4"))


def test_datasets_loads_the_folder_with_its_splits_captions_and_phases(hub, tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    loaded = datasets.load_dataset(str(hub), cache_dir=str(tmp_path))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 6, "validation": 1}
    rows = loaded["train"].cast_column("video", datasets.Video(decode=False))
    row = next(row for row in rows if row["clip_id"] == "clip_a" and not row["mirrored"])
    assert (row["caption"], row["licence"], row["speaker"]) == (TIMED, "CC BY 4.0", "ann")
    assert row["phases"][1] == {
        "track": "head", "action": "nod", "laterality": "none", "start_s": 1.0, "end_s": 2.0, "text": "nods twice",
    }  # fmt: skip
    assert Path(row["video"]["path"]).name == "clip_a.mp4"


def test_the_card_states_licence_and_counts_and_cannot_be_broken_by_a_name(hub):
    datasets = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    card = datasets.DatasetCard.load(hub / "README.md")
    assert (card.data.license, card.data.pretty_name) == ("cc-by-4.0", "drawn | set")
    assert "| train | 6 |" in card.text
    assert "drawn \\| set" in card.text


def test_mlcroissant_loads_the_records(hub):
    croissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    dataset = croissant.Dataset(jsonld=hub / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    rows = list(dataset.records("train"))
    assert {row["train/clip_id"].decode() for row in rows} == {"clip_a", "clip_c", "clip_mute"}
    assert rows[0]["train/caption"].decode() == TIMED


def test_webdataset_reads_the_tar_files_and_the_same_set_gives_the_same_bytes(drawn_set, tmp_path):
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed")
    export_to(drawn_set, tmp_path / "one", "webdataset", clips_per_shard=2)
    settings = settings_of("webdataset", clips_per_shard=2)
    samples = plan_export(drawn_set, settings).samples
    for job in list_shards(samples, settings, set_folder=drawn_set, out=tmp_path / "two"):
        ExportShardTask(settings.encoding)(Item(key="0" * 8, name=job.file, payload=job))
    shards = sorted((tmp_path / "one").glob("train-*.tar"))
    assert [shard.name for shard in shards] == ["train-000000.tar", "train-000001.tar"]
    assert [s.read_bytes() for s in shards] == [(tmp_path / "two" / s.name).read_bytes() for s in shards]
    found = list(wds.WebDataset([str(shard) for shard in shards], shardshuffle=False))
    by_name = {sample["__key__"]: sample for sample in found}
    assert set(by_name) == {"clip_a", "clip_c", "clip_mute"}
    assert by_name["clip_a"]["txt"].decode() == TIMED
    assert by_name["clip_a"]["mp4"] == (drawn_set / "media/clip_a.mp4").read_bytes()
    assert json.loads(by_name["clip_a"]["json"])["phases"][0]["action"] == "raise_hand"


def test_musubi_gets_lines_relative_to_their_file_and_a_frame_count_of_4n_plus_1(drawn_set, tmp_path):
    videos = describe_to(drawn_set, tmp_path / "whole", "musubi")
    (dataset,) = tomllib.loads((tmp_path / "whole/dataset.toml").read_text())["datasets"]
    assert (dataset["frame_extraction"], dataset["max_frames"], dataset["source_fps"]) == ("full", 49, 25.0)
    jsonl = Path(dataset["video_jsonl_file"])
    assert {row["video_path"] for row in lines(jsonl)} == {video for video in videos if video.startswith("train/")}
    assert jsonl.parent == tmp_path / "whole"
    describe_to(drawn_set, tmp_path / "cut", "musubi", fps=16, frames=25)
    (dataset,) = tomllib.loads((tmp_path / "cut/dataset.toml").read_text())["datasets"]
    assert dataset["target_frames"] == [25]
    assert "source_fps" not in dataset  # the files have the frame rate of the model


def test_diffsynth_reads_paths_beside_the_metadata(drawn_set, tmp_path):
    import pandas

    videos = describe_to(drawn_set, tmp_path / "out", "diffsynth")
    rows = pandas.read_csv(tmp_path / "out/train/metadata.csv").to_dict("records")
    assert rows[0] == {"video": "clip_a.mp4", "prompt": TIMED}
    assert {f"train/{row['video']}" for row in rows} < videos


def test_ltx_reads_caption_video_and_sound_beside_the_metadata(drawn_set, tmp_path):
    export_to(drawn_set, tmp_path / "out", "ltx", fps=25, frames=33)
    rows = {row["video"]: row for row in lines(tmp_path / "out/train/metadata.jsonl")}
    assert rows["clip_a.mp4"]["caption"].startswith("A woman speaks to the camera in a room. Phase-1 [")
    assert rows["clip_a.mp4"]["audio"] == "clip_a.wav"
    assert "audio" not in rows["clip_mute.mp4"]
    with wave.open(str(tmp_path / "out/train/clip_a.wav")) as sound:
        assert sound.getnframes() / sound.getframerate() == 33 / 25
    with open_media(tmp_path / "out/train/clip_a.mp4", root=tmp_path) as media:
        assert sum(1 for _ in media.frames()) == 33


@pytest.mark.parametrize("kind", get_args(ExportKind))
def test_every_form_takes_the_same_clips_with_the_same_captions(kind, drawn_set):
    samples = plan_export(drawn_set, settings_of(kind)).samples
    expected = plan_export(drawn_set, settings_of("folder")).samples
    assert [(one.clip.clip_id, one.caption.text) for one in samples] == [
        (one.clip.clip_id, one.caption.text) for one in expected
    ]
    assert len(samples) == 4


@pytest.mark.parametrize(("fps", "buckets"), [(25, [1, 25, 29]), (16, [1, 29])])
def test_diffusion_pipe_gets_buckets_of_4n_plus_1_that_every_video_fills(drawn_set, tmp_path, fps, buckets):
    """The reader resamples 45, 48 and 50 frames at 25 per second to 28, 30 and 32 at 16."""
    videos = describe_to(drawn_set, tmp_path / "out", "diffusion-pipe", fps=fps)
    config = tomllib.loads((tmp_path / "out/dataset.toml").read_text())
    assert config["frame_buckets"] == buckets
    (folder,) = config["directory"]
    assert {f"train/{path.stem}.mp4" for path in Path(folder["path"]).glob("*.txt")} < videos


def test_simpletuner_gets_a_backend_of_videos_and_one_of_texts(drawn_set, tmp_path):
    describe_to(drawn_set, tmp_path / "out", "simpletuner")
    videos, texts = json.loads((tmp_path / "out/multidatabackend.json").read_text())
    assert (videos["dataset_type"], videos["caption_strategy"]) == ("video", "textfile")
    assert videos["video"] == {"num_frames": 45, "min_frames": 45}
    assert Path(videos["instance_data_dir"], "clip_a.txt").is_file()
    assert texts["dataset_type"] == "text_embeds"


def test_finetrainers_gets_two_lists_of_equal_length_and_a_validation_file(drawn_set, tmp_path):
    names = describe_to(drawn_set, tmp_path / "out", "finetrainers")
    folder = tmp_path / "out/train"
    videos, prompts = ((folder / name).read_text().splitlines() for name in ("videos.txt", "prompts.txt"))
    assert dict(zip(videos, prompts, strict=True))["clip_a.mp4"] == TIMED
    assert {f"train/{video}" for video in videos} < names
    (row,) = json.loads((tmp_path / "out/validation.json").read_text())["data"]
    assert row["num_frames"] == 45
    assert json.loads((tmp_path / "out/training.json").read_text())["datasets"][0]["video_resolution_buckets"] == [
        [45, 64, 96]
    ]


def test_tie_gets_the_whole_video_and_every_phase_as_events(drawn_set, tmp_path):
    describe_to(drawn_set, tmp_path / "out", "tie")
    assert lines(tmp_path / "out/train/prompts.jsonl")[0] == {
        "video": "clip_a.mp4",
        "prompt": [
            [0.0, 0.0, 1.0],
            [2.0, 1.0, 2.0],
            ["A woman speaks to the camera in a room.", "raises the left arm", "nods twice"],
        ],
    }


def test_a_dry_run_states_the_size_and_writes_nothing(drawn_set, tmp_path):
    command = [
        "export",
        str(drawn_set),
        "--out",
        str(tmp_path / "out"),
        "--to",
        "hf",
        "--layer",
        "gold",
        "--dry-run",
        "--json",
    ]
    plan = json.loads(CliRunner().invoke(app, command).stdout)
    sizes = [(drawn_set / clip.media_path).stat().st_size for clip in tables.iter_records(drawn_set, tables.CLIPS)]
    assert plan["estimated_bytes"] == sum(sizes)
    assert not (tmp_path / "out").exists()


def test_a_clip_whose_file_changed_stops_the_export_before_it_is_called_complete(drawn_set, tmp_path):
    import shutil

    copy = shutil.copytree(drawn_set, tmp_path / "set")
    (copy / "media/clip_c.mp4").unlink()
    with pytest.raises(ContractError, match="clip_c"):
        export_to(copy, tmp_path / "out", "folder")
    assert not (tmp_path / "out").exists()


def test_a_caption_that_looks_like_csv_stays_one_cell(drawn_set, tmp_path):
    describe_to(drawn_set, tmp_path / "out", "diffsynth", captions="prose")
    with (tmp_path / "out/val/metadata.csv").open(newline="", encoding="utf-8") as file:
        heads, row = csv.reader(file)
    assert heads == ["video", "prompt"]
    assert row[1].count(",") == 2


def test_an_export_into_a_set_is_refused_since_it_would_be_published_with_it(drawn_set):
    with pytest.raises(ConfigError, match="expected a folder outside of sets"):
        export_to(drawn_set, drawn_set / "out", "folder")
    assert not (drawn_set / "out").exists()


@pytest.mark.parametrize("url", ["ftp://a/b", "https://a/b", "gcs://a/b", "S3://a/b", "abfs://a/b"])
def test_the_url_of_no_store_is_one_sentence_and_no_folder(url, drawn_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["export", str(drawn_set), "--layer", "gold", "--to", "folder", "--out", url]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, ConfigError)
    assert f"{url}: expected a path, or a URL with s3://, gs://, az://, hf://" in str(error)
    assert not list(tmp_path.iterdir())
