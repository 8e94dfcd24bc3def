"""`xsheet train` on a finished run: what it says, what it writes, what it refuses."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import to_yaml
from xsheet.schemas.source import Split


def stdout_of(*arguments):
    """What a verb prints; its error is raised."""
    return CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False).stdout


def json_of(*arguments):
    return json.loads(stdout_of(*arguments, "--json"))


@pytest.fixture
def config(plan, tmp_path):
    """The settings of the run as a file."""
    file = tmp_path / "plan.yaml"
    file.write_text(to_yaml(plan))
    return file


@pytest.fixture
def run_copy(trained_run, tmp_path):
    """For a test that writes."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


@pytest.fixture
def wished(built_set, tmp_path):
    """Options of a sample: a film as portrait and sound, and a sheet."""
    film, sheet = built_set[0] / "media/clip_a.mp4", tmp_path / "sheet.yaml"
    sheet.write_text("base: A person speaks to the camera.\nphases: [{start_s: 0.1, end_s: 0.6, text: nods twice}]\n")
    quick = ("--set", "steps=2", "--set", "guidance.scale=2")
    return "--portrait", film, "--audio", film, "--script", sheet, "--out", tmp_path / "out.mp4", *quick


@pytest.mark.slow
def test_a_run_ends_in_its_losses_its_checkpoints_and_the_next_command(run_copy, built_copy, config):
    ran = ("run", built_copy, "--out", run_copy, "--config", config)
    for stage in json_of(*ran, "--no-validation")["stages"]:
        assert (stage["steps"], stage["skipped_steps"], stage["checkpoint"]) == (2, 0, "step-00000002")
        assert len(stage["loss"]) == len(stage["held_out_loss"]) == 2
    shown = stdout_of(*ran, "--no-validation", "--quiet")
    assert f"next: xsheet train sample {run_copy}" in " ".join(shown.split())


@pytest.mark.slow
def test_ctrl_c_names_the_checkpoint_that_the_same_command_goes_on_from(built_copy, config, tmp_path):
    more = ("--set", "stages.stage1.steps=1000", "--set", "loop.save_every=1", "--stages", "stage1", "--no-validation")
    command = [sys.executable, "-c", "from xsheet.cli import main; main()", "train", "run", str(built_copy)]
    where = ("--out", str(tmp_path / "new"), "--config", str(config))
    running = subprocess.Popen([*command, *where, *more], stderr=subprocess.PIPE, text=True)
    until, latest = time.monotonic() + 200, tmp_path / "new/stage1/checkpoints/LATEST"
    while not latest.exists() and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    stderr = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert f"last checkpoint: stage1, {latest.read_text()}" in stderr
    assert "run the same command again to continue" in stderr
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_a_set_that_holds_nothing_out_is_trained_unwatched(run_copy, built_copy, config, tmp_path, caplog):
    rows = [
        Split(
            clip_id=row["clip_id"],
            source_id=row["source_id"],
            cluster=row["cluster"],
            identity_by="source",
            split="train",
        )
        for row in tables.read_table(built_copy, tables.SPLITS).to_pylist()
    ]
    tables.write_table(built_copy, tables.SPLITS, rows)
    ran = json_of("run", built_copy, "--out", tmp_path / "new", "--config", config, "--stages", "stage1")
    assert ran["stages"][0]["held_out_loss"] is None
    assert "stage1 is not validated: val clips of" in caplog.text


@pytest.mark.slow
def test_a_sample_is_written_by_the_last_stage_that_ended(run_copy, wished, tmp_path):
    assert json_of("sample", run_copy, *wished) == {
        "out": str(tmp_path / "out.mp4"), "stage": "stage2", "frames": 41, "seconds": 1.64
    }  # fmt: skip
    assert (tmp_path / "out.mp4").stat().st_size > 1000
    shutil.rmtree(run_copy / "stage2")
    assert json_of("sample", run_copy, *wished)["stage"] == "stage1"
    with pytest.raises(ConfigError, match="the weights of stage2, got none; run stage2 first"):
        stdout_of("sample", run_copy, *wished, "--stage", "stage2")


@pytest.mark.slow
def test_an_evaluation_prints_its_table_and_keeps_every_score(run_copy, built_copy):
    few = ("split=val", "max_clips=2", "sample.steps=1", "fitted_reader.steps=2", "edit_actions=false")
    shown = stdout_of("evaluate", run_copy, built_copy, "--quiet", *(word for one in few for word in ("--set", one)))
    assert "| class accuracy |" in shown
    scores = json.loads((run_copy / "stage2/evaluation.json").read_text())
    assert [clip["clip_id"] for clip in scores["samples"]] == ["clip_d"]


@pytest.mark.slow
def test_an_export_says_how_to_load_it(trained_run, tmp_path):
    shown = " ".join(stdout_of("export", trained_run, "--out", tmp_path / "model").split())
    assert "WanTransformer3DModel.from_pretrained(" in shown
    assert (tmp_path / "model/transformer/config.json").is_file()


@pytest.mark.slow
def test_an_export_is_sampled_like_a_run(trained_run, wished, tmp_path):
    stdout_of("export", trained_run, "--out", tmp_path / "model")
    from_run, film = json_of("sample", trained_run, *wished), tmp_path / "out.mp4"
    drawn = film.read_bytes()
    assert json_of("sample", tmp_path / "model", *wished) == from_run
    assert film.read_bytes() == drawn
    with pytest.raises(ConfigError, match="stage2, the stage of this export"):
        stdout_of("sample", tmp_path / "model", *wished, "--stage", "stage1")


@pytest.mark.parametrize("verb", [("sample",), ("evaluate",), ("export",)])
def test_a_folder_without_a_run_says_what_to_give(verb, wished, built_set, tmp_path):
    rest = {"sample": wished, "evaluate": (built_set[0],), "export": ("--out", tmp_path / "model")}[verb[0]]
    with pytest.raises(ConfigError, match="the folder that the run was given as --out"):
        stdout_of(*verb, tmp_path / "nowhere", *rest)


@pytest.mark.slow
def test_a_device_that_is_not_there_is_named_with_those_that_are(wished, trained_run):
    with pytest.raises(ConfigError, match=r"--device: expected one of cpu.*'cuda:99'"):
        stdout_of("sample", trained_run, *wished, "--device", "cuda:99")


def test_a_dry_run_shows_settings_and_draws_nothing(wished, tmp_path):
    assert "steps: 2\n" in stdout_of("sample", tmp_path / "nowhere", *wished, "--dry-run")
    assert not (tmp_path / "out.mp4").exists()
