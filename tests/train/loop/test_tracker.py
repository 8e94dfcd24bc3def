"""Trackers beside TensorBoard, through their own libraries; skipped where they are not installed."""

import pytest

from xsheet.schemas.errors import ConfigError
from xsheet.train.loop.metrics import Tracker, TrackerSettings


def test_a_library_that_is_not_installed_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)  # as Python marks what cannot be imported
    with pytest.raises(ConfigError, match="pip install wandb"):
        Tracker(TrackerSettings(library="wandb"), tmp_path / "run" / "stage1", config={})


@pytest.mark.parametrize("project", ["../../elsewhere", "/root", "", ".", "a/b"])
def test_a_project_is_a_name_and_no_path(project):
    with pytest.raises(ValueError, match="project"):
        TrackerSettings(library="trackio", project=project)


@pytest.mark.slow
def test_trackio_keeps_the_numbers_of_a_stage_in_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    settings = TrackerSettings(library="trackio", project="numbers")
    for step in (1, 2):  # the second is a resumed stage
        tracker = Tracker(settings, tmp_path / "my-run" / "stage1", config={"seed": 0})
        tracker.log(step, {"loss": 1 / step})
        tracker.close()
    (run,) = SQLiteStorage.get_runs("numbers")
    assert [row["loss"] for row in SQLiteStorage.get_logs("numbers", run)] == [1, 0.5]


@pytest.mark.slow
def test_wandb_keeps_the_numbers_of_a_stage(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    tracker = Tracker(TrackerSettings(library="wandb"), tmp_path / "my-run" / "stage1", config={"seed": 0})
    tracker.log(1, {"loss": 0.5})
    tracker.close()
    (offline,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert b"loss" in offline.read_bytes()
