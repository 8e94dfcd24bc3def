"""One drawn corpus: in through every published form, out in every form of a trainer, its recordings annotated."""

import csv
import json
import os
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.curate.corpora.kinds import KINDS
from xsheet.curate.discover import discover
from xsheet.curate.tasks.probe import with_manifest
from xsheet.demo.corpus import make_corpus
from xsheet.export.settings import ExportKind
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.layers import find_layer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
VIDEOS = ("aaaaaaaaaa1", "bbbbbbbbbb2")
SPANS = {VIDEOS[0]: [(1.0, 4.0), (5.0, 8.0)], VIDEOS[1]: [(0.0, 3.0)]}
CHEAP = ("--set=export.pose=null", "--set=face.min_height_px=30")


def done(*arguments):
    ran = CliRunner().invoke(app, [*map(str, arguments)])
    assert ran.exit_code == 0, (arguments, ran.output, ran.exception)
    return ran.stdout


def imported(folder, kind, described):
    """The manifest of the corpus in a published form, imported from the recordings of the folder."""
    meta = folder / "meta" / kind
    meta.mkdir(parents=True)
    path, videos = described(kind, meta), folder / "videos"
    if kind == "video-folder":  # its metadata names files of its own folder
        shutil.copytree(videos, meta / "videos", copy_function=os.link)
        videos = meta
    done("curate", "import", kind, path, "--videos", videos, "--out", folder / f"{kind}.parquet")
    return folder / f"{kind}.parquet"


@pytest.fixture(scope="module")
def drawn(described, build_once, tmp_path_factory):
    """A folder with the recordings as they are downloaded, and the annotated set of one published form of them."""

    def build(folder):
        make_corpus(folder, films=2, seed=32, height_px=128, execution=Execution(jobs=1))
        for film, video in zip(sorted((folder / "videos").iterdir()), VIDEOS, strict=True):
            film.rename(folder / "videos" / f"{video}.mp4")
        manifest = imported(folder, "talkvid", described)
        done("curate", "run", manifest, "--out", folder / "set", "--preset=all", "--jobs=1", *CHEAP)
        done("annotate", "run", folder / "set", "--jobs=1", "--set=motion.min_face_px=30")
        return folder

    return shutil.copytree(build_once("drawn", build), tmp_path_factory.mktemp("drawn"), dirs_exist_ok=True)


@pytest.fixture(scope="module")
def recordings(drawn):
    """Rows of `sources` by the name of their file."""
    return {Path(row.path).stem: row for row in tables.iter_records(drawn / "set", tables.SOURCES)}


@pytest.fixture(scope="module")
def clips(drawn):
    return {clip.clip_id: clip for clip in tables.iter_records(drawn / "set", tables.CLIPS)}


def seconds(span):
    return span.start_us / 1e6, span.end_us / 1e6


def test_the_clips_of_a_run_are_the_segments_with_what_the_corpus_states(recordings, clips):
    found = {
        name: sorted(seconds(clip) for clip in clips.values() if clip.source_id == source.source_id)
        for name, source in recordings.items()
    }
    assert found == SPANS
    sources = {source.source_id: source for source in recordings.values()}
    columns = [sources[clip.source_id].columns_at(clip.start_us) for clip in clips.values()]
    assert {(one["caption"], one["licence"]) for one in columns} == {("talks", "CC-BY-NC-4.0")}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "talkvid"])
def test_the_other_forms_of_the_corpus_give_the_same_segments(kind, drawn, described, recordings):
    files = {Path(file.path).stem: file for file in discover([str(imported(drawn, kind, described))])}
    assert set(files) == set(recordings)
    probed = {name: with_manifest(replace(source, segments=()), files[name]) for name, source in recordings.items()}
    assert {row.status for row in probed.values()} == {"ok"}
    spans = {name: [seconds(segment) for segment in row.segments] for name, row in probed.items()}
    assert spans == ({name: [] for name in SPANS} if kind == "video-folder" else SPANS)


# ---- out


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def beside(folder):
    """Captions in the files beside the videos of a folder, by name."""
    return {path.stem: path.with_suffix(".txt").read_text(encoding="utf-8").strip() for path in folder.glob("*.mp4")}


def read_hugging_face(out):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    rows = datasets.load_dataset(str(out), cache_dir=str(out.parent / "cache"))["train"]
    rows = rows.cast_column("video", datasets.Video(decode=False))
    return {Path(row["video"]["path"]).stem: row["caption"] for row in rows}


def read_tar_files(out):
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed")
    shards = [str(path) for path in out.glob("train-*.tar")]
    return {row["__key__"]: row["txt"].decode() for row in wds.WebDataset(shards, shardshuffle=False) if row["mp4"]}


def read_musubi(out):
    (dataset,) = tomllib.loads((out / "dataset.toml").read_text())["datasets"]
    rows = lines(Path(dataset["video_jsonl_file"]))
    return {Path(row["video_path"]).stem: row["caption"] for row in rows if (out / row["video_path"]).is_file()}


def read_diffsynth(out):
    with (out / "train" / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {Path(row["video"]).stem: row["prompt"] for row in rows if (out / "train" / row["video"]).is_file()}


def read_ltx(out):
    named = [
        (row, *(out / "train" / row[key] for key in ("video", "audio"))) for row in lines(out / "train/metadata.jsonl")
    ]
    return {video.stem: row["caption"] for row, video, audio in named if video.is_file() and audio.is_file()}


def read_finetrainers(out):
    folder = Path(json.loads((out / "training.json").read_text())["datasets"][0]["data_root"])
    videos, prompts = ((folder / name).read_text().splitlines() for name in ("videos.txt", "prompts.txt"))
    return {Path(v).stem: p for v, p in zip(videos, prompts, strict=True) if (folder / v).is_file()}


def read_tie(out):
    rows = lines(out / "train/prompts.jsonl")
    return {Path(row["video"]).stem: row["prompt"][2][0] for row in rows if (out / "train" / row["video"]).is_file()}


READERS = {  # by the package of the reader, or by its documented rules
    "folder": lambda out: beside(out / "train"),
    "hf": read_hugging_face,
    "webdataset": read_tar_files,
    "musubi": read_musubi,
    "diffsynth": read_diffsynth,
    "ltx": read_ltx,
    "diffusion-pipe": lambda out: beside(
        Path(tomllib.loads((out / "dataset.toml").read_text())["directory"][0]["path"])
    ),
    "simpletuner": lambda out: beside(
        Path(json.loads((out / "multidatabackend.json").read_text())[0]["instance_data_dir"])
    ),
    "finetrainers": read_finetrainers,
    "tie": read_tie,
}


@pytest.mark.parametrize("kind", get_args(ExportKind))
def test_every_clip_comes_out_in_every_form_with_its_caption(kind, drawn, clips):
    out = drawn / "exports" / kind
    done("export", drawn / "set", "--out", out, "--to", kind, "--layer=consensus", "--captions=base", "--jobs=1")
    layer = find_layer(drawn / "set", "consensus")
    assert READERS[kind](out) == {row.clip_id: row.base.text for row in layer.read() if row.clip_id in clips}
    assert len(clips) == 3


def test_what_was_exported_for_hugging_face_goes_in_as_a_video_folder(drawn, clips, tmp_path):
    out, manifest = tmp_path / "hf", tmp_path / "again.parquet"
    done("export", drawn / "set", "--out", out, "--to=hf", "--layer=consensus", "--jobs=1")
    done("curate", "import", "video-folder", out, "--videos", out, "--out", manifest)
    columns = [{one.key: one.value for one in file.manifest_columns} for file in discover([str(manifest)])]
    assert {one["clip_id"] for one in columns} == set(clips)
    assert {one["licence"] for one in columns} == {"CC-BY-NC-4.0"}


# ---- annotations on the timeline of a recording

NODS_MS = ((1_203, 2_407), (2_619, 3_301), (5_550, 7_999))


def clock(ms, mark="."):
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def elan_file(name):
    edges = [(f"t{k}{edge}", ms) for k, span in enumerate(NODS_MS) for edge, ms in zip("ab", span, strict=True)]
    slots = "".join(f'<TIME_SLOT TIME_SLOT_ID="{slot}" TIME_VALUE="{ms}"/>' for slot, ms in edges)
    nods = "".join(
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{k}" TIME_SLOT_REF1="t{k}a" TIME_SLOT_REF2="t{k}b">'
        "<ANNOTATION_VALUE>nod</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
        for k in range(len(NODS_MS))
    )
    head = f'<HEADER TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL="{name}.mp4"/></HEADER>'
    tiers = f'<TIME_ORDER>{slots}</TIME_ORDER><TIER TIER_ID="head">{nods}</TIER>'
    return f'<ANNOTATION_DOCUMENT FORMAT="3.0">{head}{tiers}</ANNOTATION_DOCUMENT>'


def label_studio_file(name):
    regions = [
        {"id": f"r{k}", "from_name": "head", "to_name": "video", "type": "timelinelabels",
         "value": {"ranges": [{"start": start + 1, "end": end}], "timelinelabels": ["nod"]}}
        for k, (start, end) in enumerate(NODS_MS)
    ]  # fmt: skip
    return json.dumps([{"data": {"video": f"{name}.mp4", "fps": 1000}, "annotations": [{"id": 1, "result": regions}]}])


def cues(mark, *, numbered):
    return "".join(
        (f"{k}\n" if numbered else "") + f"{clock(a, mark)} --> {clock(b, mark)}\n<v head>nod\n\n"
        for k, (a, b) in enumerate(NODS_MS, start=1)
    )


FILES = {
    "elan": ("any.eaf", elan_file),
    "csv": (
        "any.csv",
        lambda name: (
            "video,tier,start,end,label\n"
            + "".join(f'{name}.mp4,head,{a / 1000},"{b // 1000},{b % 1000:03d}",nod\n' for a, b in NODS_MS)
        ),
    ),
    "label-studio": ("tasks.json", label_studio_file),
    "webvtt": (f"{VIDEOS[0]}.vtt", lambda name: "WEBVTT\n\n" + cues(".", numbered=False)),
    "webvtt as srt": (f"{VIDEOS[0]}.srt", lambda name: cues(",", numbered=True)),
}


@pytest.mark.parametrize("form", FILES)
def test_annotations_of_a_recording_keep_their_times_in_and_out_and_in_again(form, drawn, clips, tmp_path):
    name, text = FILES[form]
    kind = form.split()[0]
    (tmp_path / name).write_text(text(VIDEOS[0]), encoding="utf-8")

    def nods(path):
        """The nods that a file gives, in ms of the recording, and the layer that holds them."""
        printed = json.loads(
            done("audit", "import", drawn / "set", *path, "--format", kind, "--base-layer=consensus", "--json")
        )
        (layer,) = printed["layers"]
        found = [
            ((phase.start_us + clips[row.clip_id].start_us) / 1000, (phase.end_us + clips[row.clip_id].start_us) / 1000)
            for row in find_layer(drawn / "set", layer).read()
            for phase in row.phases
            if phase.action == "nod"
        ]
        return sorted(found), layer

    found, layer = nods([tmp_path / name])
    assert found == list(NODS_MS)
    done("audit", "export", drawn / "set", "--out", tmp_path / "out", "--format", kind, "--layer", layer)
    again, _ = nods(sorted((tmp_path / "out").iterdir()))
    if kind == "label-studio":  # its export counts frames of 40 ms, and lists what it rounds
        assert [tuple(round(ms / 40) for ms in span) for span in again] == [
            tuple(round(ms / 40) for ms in span) for span in NODS_MS
        ]
    else:
        assert again == list(NODS_MS)
