"""The whole path as a user walks it: raw videos to a sampled film; the same on Ray, and when killed in every part."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import av
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.demo.corpus import make_corpus
from xsheet.runtime.executor import Execution
from xsheet.runtime.segments import SegmentStore
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.layers import list_layers
from xsheet.schemas.sets import check_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

XSHEET = (sys.executable, "-c", "from xsheet.cli import main; main()")
FILMS, SEED, SIZE = 3, 79, 256  # two that talk and one without sound, all shorter than 5 s
RECORDED = ("grid-bbaf2n.mpg", "grid-brbk7n.mpg")  # 3 s each, two people
STEPS = 3
QUICK = tuple(
    f"--set={one}"
    for one in (
        "curate.face.min_height_px=50", "curate.export.pose=null", "annotate.motion.min_face_px=60",
        "split.val=0", "split.test=0", "train.cache.picture.frame_counts=[17]", "train.loop.save_every=1",
        "train.loader.batch_size=1", "train.compute.micro_batch_size=1", "train.compute.threads=1",
        f"train.stages.stage1.steps={STEPS}", "train.stages.stage1.optim.warmup_steps=1",
        f"train.stages.stage2.steps={STEPS}", "train.stages.stage2.optim.warmup_steps=1",
    )
)  # fmt: skip
WRITTEN = ("*/part-*.parquet", "media/*/*.mp4", "train/*/*.safetensors")
BY_TRAINING = ("splits/", "features/", "cache/", "train/")
SAVED = "train/{0}/checkpoints/step-00000001*"  # also while it is being written
MOMENTS = {
    "curate": (".commits/analysis/*.seg", "measures/part-*"),
    "annotate": (".commits/annotate/scratch/*", "annotations/part-raw-*"),
    "audit": ("findings/part-*", "audit.html"),
    "cache": (".commits/cache/*.seg", "features/part-*"),
    "stage1": (SAVED.format("stage1"), "train/stage1/weights.safetensors"),
    "stage2": (SAVED.format("stage2"), "train/stage2/weights.safetensors"),
}
"""By part: what is there when it is half done, and what only its end leaves."""
SHEET = "base: A person speaks to the camera.\nphases: [{start_s: 0.2, end_s: 1.0, text: nods twice}]\n"


@dataclass(frozen=True)
class WorkflowRun:
    """Videos, the set that was made of them, and the summary."""

    videos: tuple[Path, ...]
    folder: Path
    summary: dict


def summary_of(*arguments):
    """What a command that ends well prints."""
    ran = subprocess.run([*XSHEET, *map(str, arguments), "--json"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


def run(videos, folder, *, until="train", jobs=1):
    """Arguments of the path."""
    return "run", *videos, "--out", folder, "--until", until, "--jobs", jobs, *QUICK


def written(folder):
    """Hashes of everything that the path promises to the byte."""
    paths = (path for pattern in WRITTEN for path in folder.glob(pattern))
    return {str(path.relative_to(folder)): file_sha256(path) for path in paths} | {
        f"{store.relative_to(folder)}/{key}": SegmentStore(store).read(key)
        for store in folder.glob("cache/*-*")
        for key, _ in SegmentStore(store).records()
    }


@pytest.fixture(scope="module")
def puppet(build_once):
    """To be read only."""

    def build(films):
        make_corpus(films, films=FILMS, seed=SEED, height_px=SIZE, execution=Execution(jobs=1))
        videos, folder = tuple(sorted((films / "videos").iterdir())), films / "set"
        summary = summary_of(*run(videos, folder))
        return videos, folder, summary  # plain values: the class of a test module cannot be pickled

    return WorkflowRun(*build_once("workflow", build))


@pytest.fixture(scope="module")
def recorded(shared, tmp_path_factory):
    videos = tuple(shared / "data/videos" / name for name in RECORDED)
    folder = tmp_path_factory.mktemp("recorded") / "set"
    return WorkflowRun(videos, folder, summary_of(*run(videos, folder)))


@pytest.fixture(params=["puppet", pytest.param("recorded", marks=pytest.mark.nightly)])
def path(request):
    """The path over films of the puppet, and over recordings of people."""
    return request.getfixturevalue(request.param)


def test_a_film_without_a_voice_is_left_out_and_the_others_are_clips(puppet):
    assert puppet.summary["rejected_files"] == {"no_voice": 1}
    assert (puppet.summary["counts"]["sources"], puppet.summary["counts"]["clips"]) == (3, 2)


@pytest.mark.nightly
def test_recordings_are_kept(recorded):
    assert (recorded.summary["rejected_files"], recorded.summary["reject_reasons"]) == ({}, {})
    assert recorded.summary["counts"]["clips"] == recorded.summary["counts"]["sources"] == len(RECORDED)


def test_the_tables_hold_what_the_summary_says(path):
    checked = check_set(path.folder, media=True)
    rows, summary = checked.rows, path.summary
    assert not checked.violations
    assert rows["sources"] == summary["counts"]["sources"]
    assert {rows[name] for name in ("clips", "signals", "splits", "features")} == {summary["counts"]["clips"]}
    count = {one.layer: len(list(one.read())) for one in list_layers(path.folder)}
    clips = summary["annotated"]["clips"]
    assert count == {"raw": clips, "normalised": clips, "consensus": clips, "accepted": summary["audited"]["accepted"]}


def test_each_stage_leaves_a_checkpoint_and_weights_and_the_second_goes_on_from_the_first(path):
    ended = {stage["stage"]: (stage["steps"], stage["checkpoint"]) for stage in path.summary["trained"]["stages"]}
    assert ended == dict.fromkeys(("stage1", "stage2"), (STEPS, f"step-{STEPS:08d}"))
    first, second = (load_file(path.folder / "train" / stage / "weights.safetensors") for stage in ended)
    assert all(weights.isfinite().all() for weights in second.values())
    assert first.keys() < second.keys()
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_a_sample_has_pictures_as_long_as_its_audio(path, tmp_path):
    (tmp_path / "sheet.yaml").write_text(SHEET)
    source, out = path.videos[0], tmp_path / "sample.mp4"
    arguments = (
        "train", "sample", path.folder / "train", "--portrait", source, "--audio", source,
        "--script", tmp_path / "sheet.yaml", "--out", out, "--set", "steps=2",
    )  # fmt: skip
    sampled = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)  # libraries are loaded here
    assert sampled.exit_code == 0
    with av.open(str(out)) as film:
        pictures = list(film.decode(video=0))
        film.seek(0)
        samples = sum(sound.samples for sound in film.decode(audio=0))
        assert film.streams.video[0].average_rate == 25
        assert len(pictures) > 43  # more than the 17 frames at 10 fps that training showed
        assert samples / film.streams.audio[0].rate == pytest.approx(len(pictures) / 25, abs=0.1)  # AAC fills blocks
    assert pictures[0].to_ndarray(format="gray").std() > 0


@pytest.mark.nightly
def test_ray_writes_the_same_tables_and_clips(puppet, tmp_path):
    summary_of(*run(puppet.videos, tmp_path / "set", until="audit", jobs=2), "--ray", "local")
    here = {name: digest for name, digest in written(puppet.folder).items() if not name.startswith(BY_TRAINING)}
    assert written(tmp_path / "set") == here


def kill_within(part, command, folder):
    """Start a command in a process group of its own, and kill it in the middle of a part."""
    moment, end = MOMENTS[part]
    running = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        while not any(folder.glob(moment)):
            assert running.poll() is None, f"it ended before {part}"
            time.sleep(0.005)
    finally:
        if running.returncode is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert not any(folder.glob(end)), f"{part} was over"


@pytest.mark.nightly
def test_killed_in_the_middle_of_every_part_it_goes_on_to_the_same_tables_and_weights(puppet, tmp_path):
    folder = tmp_path / "set"
    command = [*XSHEET, *map(str, run(puppet.videos, folder)), "--json"]
    for part in MOMENTS:
        kill_within(part, command, folder)
    finished = [*folder.glob(".commits/*/*.seg"), *folder.glob("train/stage1/checkpoints/*/*")]
    before = {file: file.stat().st_mtime_ns for file in finished}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert written(folder) == written(puppet.folder)
    assert {file: file.stat().st_mtime_ns for file in before} == before
