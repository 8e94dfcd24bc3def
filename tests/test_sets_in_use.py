"""A set after its run: in a folder with an odd name, moved to another one, on a disk that is full or read-only."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.demo.corpus import make_corpus
from xsheet.runtime.executor import Execution
from xsheet.schemas.errors import XsheetError
from xsheet.schemas.layers import find_layer

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]  # a whole run is made once

ODD = "Über uns & \"co\" 'x' [1]"
CHEAP = ("--set=curate.export.pose=null",)  # a clip then costs a tenth
ANY_SHARE = ("--set=audit.gate.max_missed_motion_share=1",)  # what share of the movement is annotated matters elsewhere
FEW_STEPS = tuple(
    f"--set=train.{one}"
    for one in (
        "stages.stage1.steps=2", "stages.stage2.steps=2",
        "stages.stage1.optim.warmup_steps=1", "stages.stage2.optim.warmup_steps=1",
        "loader.batch_size=1", "compute.micro_batch_size=1", "compute.threads=1",
    )
)  # fmt: skip
PARTS = ("--set=split.val=0", "--set=split.test=0")


def xsheet(*arguments):
    """Run a command in this process; what it ended with."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments):
    """Standard output of a command that ends well."""
    ran = xsheet(*arguments)
    assert ran.exit_code == 0, (arguments, ran.output, ran.exception)
    return ran.stdout


def walk(films, folder, *more):
    return xsheet("run", films, "--out", folder, "--jobs", 1, "--json", *CHEAP, *ANY_SHARE, *more)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder with two films, one of them with a name that asks for trouble."""
    folder = tmp_path_factory.mktemp(f"films of {ODD}".replace("/", "-"))
    make_corpus(folder, films=2, seed=0, height_px=384, execution=Execution(jobs=1))
    first = min((folder / "videos").iterdir())
    first.rename(first.with_name(f"{ODD}.mp4"))
    return folder / "videos"


@pytest.fixture(scope="module")
def home(films, tmp_path_factory):
    """A set that went all the way, in a folder with an odd name."""
    folder = tmp_path_factory.mktemp("sets") / ODD
    ran = walk(films, folder, "--until", "train", *FEW_STEPS, *PARTS)
    assert ran.exit_code == 0, (ran.output, ran.exception)
    return folder


@pytest.fixture
def moved(home, tmp_path):
    """The set as it would be after `mv`, with nothing left where it was made."""
    folder = tmp_path / "another place" / "sét"
    shutil.copytree(home, folder, copy_function=shutil.copy2)
    home.rename(home.with_name("gone"))
    yield folder
    home.with_name("gone").rename(home)


def reading(folder, out):
    """Commands that leave a set as it is."""
    annotation = next(iter(find_layer(folder, "consensus").read()))
    clip = annotation.clip_id
    return [
        ("schemas", "check", folder, "--hash-media"),
        ("curate", "inspect", folder, clip),
        ("annotate", "show", folder, clip),
        ("audit", "sample", folder),
        ("curate", "sweep", folder, "--over", "face.min_height_px=25:75:25"),
        ("curate", "report", folder, "--out", out / "report.html"),
        ("annotate", "training-text", folder, clip),
        ("annotate", "export-sft", folder, "--layer", "consensus", "--out", out / "sft.jsonl"),
        ("audit", "explain", folder, annotation.annotation_id),
        ("audit", "agree", folder, "consensus", "accepted"),
        ("audit", "export", folder, "--out", out / "elan"),
        ("train", "export", folder / "train", "--out", out / "model"),
    ]


def test_every_verb_goes_on_with_a_set_that_was_moved(films, moved, tmp_path):
    for verb in reading(moved, tmp_path / "out"):
        done(*verb)
    cheap = [one.replace("curate.", "") for one in CHEAP]
    done("curate", "run", films, "--out", moved, "--jobs", 1, *cheap)
    done("curate", "decide", moved, *cheap)
    done("curate", "report", moved)
    done("annotate", "run", moved, "--jobs", 1)
    done("annotate", "consensus", moved)
    any_share = [one.replace("audit.", "") for one in ANY_SHARE]
    done("audit", "run", moved, "--jobs", 1, *any_share)
    done("audit", "accept", moved, *any_share)
    done("train", "cache", moved, "--jobs", 1)


def test_a_second_run_of_a_moved_set_makes_nothing_again(films, moved):
    kept = [*moved.glob("media/*/*.mp4"), *moved.glob("cache/clips-*/*"), *moved.glob("train/*/checkpoints/step-*/*")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    again = walk(films, moved, "--until", "train", *FEW_STEPS, *PARTS)
    assert again.exit_code == 0
    assert len({path.relative_to(moved).parts[0] for path in before}) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_read_only_set_can_be_read_and_refuses_the_rest_in_a_line(films, home, disk, tmp_path):
    folder = disk.path / "set"
    shutil.copytree(home, folder, ignore=shutil.ignore_patterns("checkpoints"))  # which are large
    disk.make_read_only()
    for verb in reading(folder, tmp_path / "out"):
        done(*verb)
    for verb in (
        ("run", films, "--out", folder),
        ("annotate", "run", folder),
        ("audit", "run", folder),
        ("curate", "report", folder),
        ("train", "cache", folder),
    ):
        ran = xsheet(*verb)
        assert isinstance(ran.exception, (XsheetError, OSError)), (verb, ran.output)
        assert "Read-only file system" in str(ran.exception)


def test_a_disk_that_fills_up_while_clips_are_written_ends_the_run_which_then_goes_on(films, disk):
    folder = disk.path / "set"
    assert walk(films, folder, "--until", "curate", "--set=curate.face.min_height_px=2000").exit_code == 0  # keeps none
    disk.fill(but_bytes=60_000)
    full = walk(films, folder, "--until", "curate")
    assert isinstance(full.exception, (XsheetError, OSError))
    assert "No space left on device" in str(full.exception)
    assert not list(folder.rglob("*.tmp*"))
    disk.empty()
    counts = json.loads(walk(films, folder, "--until", "curate").stdout)["counts"]
    assert counts["clips"] == counts["kept"] > 0
    assert (counts["clips_failed"], counts["sources_failed"]) == (0, 0)
    done("schemas", "check", folder, "--hash-media")
