"""Nothing that was put into a file of a set, a run, a cache, an export or a stored result is run when it is read."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.demo.corpus import make_corpus
from xsheet.runtime.executor import Execution
from xsheet.schemas.errors import XsheetError

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

FEW_STEPS = tuple(
    f"--set=train.{one}"
    for one in (
        "stages.stage1.steps=2", "stages.stage2.steps=2",
        "stages.stage1.optim.warmup_steps=1", "stages.stage2.optim.warmup_steps=1",
        "loader.batch_size=1", "compute.micro_batch_size=1", "compute.threads=1",
    )
)  # fmt: skip
FEW_CLIPS = ("--set=curate.export.pose=null", "--set=split.val=0", "--set=split.test=0")

PLACES = (
    "set.json", "sources/*", "measures/*", "clips/*", "signals/*", "annotations/*", "findings/*", "runs/*", "splits/*",
    "features/*", "manifests/*", "media/*/*.mp4", "cache/*.json", "cache/*/*.seg", "cache/*/index", ".commits/*/*.seg",
    ".commits/*/index", ".commits/lock", "train/*.json", "train/*/checkpoints/*/*", "train/*/*.safetensors",
    "train/*/*.json*", "../export/**/*",
)  # fmt: skip
"""Every kind of file below a finished set, its training run and an export."""


class Payload:
    """Leaves a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def xsheet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def resume(films, folder):
    return ("run", films, "--out", folder, "--jobs", 1, "--until", "train", *FEW_STEPS, *FEW_CLIPS)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    make_corpus(folder, films=2, seed=0, height_px=384, execution=Execution(jobs=1))
    return folder / "videos"


@pytest.fixture(scope="module")
def finished(films, tmp_path_factory):
    """A folder with a set that was trained on, and an export of it."""
    folder = tmp_path_factory.mktemp("finished")
    for verb in (resume(films, folder / "set"), ("export", folder / "set", "--out", folder / "export", "--to", "hf")):
        ran = xsheet(*verb)
        assert ran.exit_code == 0, (ran.output, ran.exception)
    return folder


def test_the_payload_would_run(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("place", PLACES)
def test_a_pickle_in_the_place_of_a_file_never_runs_and_ends_no_verb_with_a_fault_of_ours(
    films, finished, tmp_path, place
):
    shutil.copytree(finished, tmp_path / "copy")
    folder, marker = tmp_path / "copy/set", tmp_path / "ran"
    victims = [path for path in folder.glob(place) if path.is_file()]
    assert victims, "no such file is written any more"
    for path in victims:
        path.write_bytes(pickle.dumps(Payload(marker)))
    for verb in (
        ("schemas", "check", folder, "--hash-media"),
        ("set", "check", folder),
        ("audit", "run", folder, "--jobs", 1),
        ("train", "export", folder / "train", "--out", tmp_path / "model"),
        ("train", "evaluate", folder / "train", "--limit", 1),
        ("export", folder, "--out", folder / "../export", "--to", "hf"),
        resume(films, folder),
    ):
        ran = xsheet(*verb)
        assert not marker.exists(), verb
        assert ran.exit_code in (0, 1, 2)
        assert ran.exception is None or isinstance(ran.exception, (SystemExit, XsheetError, OSError)), (
            verb,
            ran.exception,
        )
