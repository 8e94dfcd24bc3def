"""Results are kept by the version of the task that made them, not by that of the package."""

import logging
from pathlib import Path

from xsheet.curate.discover import InputFile
from xsheet.curate.items import analysis_items
from xsheet.curate.pipeline import redecide, task_versions
from xsheet.curate.settings import AnalysisSettings, CurateSettings
from xsheet.curate.tasks.analyse import AnalysisTask
from xsheet.schemas.sets import RunManifest, build_manifest, create_set
from xsheet.schemas.source import SourceVideo


def analysis_key() -> str:
    source = SourceVideo(source_id="src_1", path="a.mp4", sha256="ab" * 32, status="ok")
    inputs = [InputFile(path="a.mp4", root=Path("/"))]
    (item,) = analysis_items(inputs, [source], AnalysisSettings(), set_folder=Path("set"), models=None)
    return item.key


def test_a_release_measures_nothing_again_and_a_changed_task_does(monkeypatch):
    before = analysis_key()
    monkeypatch.setattr("xsheet.__version__", "9.9.9")
    assert analysis_key() == before
    monkeypatch.setattr(AnalysisTask, "VERSION", AnalysisTask.VERSION + 1)
    assert analysis_key() != before


def write_run(folder: Path, versions: dict[str, str]) -> None:
    from datetime import UTC, datetime

    manifest: RunManifest = build_manifest(
        "curate run", arguments={}, settings=CurateSettings(), distributions=(), started=datetime.now(UTC), counts={},
        seconds={},
    )  # fmt: skip
    manifest.model_copy(update={"versions": versions}).write(folder)


def test_a_set_of_an_older_task_is_named(tmp_path, caplog):
    create_set(tmp_path / "set", "s")
    write_run(tmp_path / "set", task_versions())
    with caplog.at_level(logging.WARNING):
        redecide(tmp_path / "set", CurateSettings())
        assert not caplog.records
        write_run(tmp_path / "set", task_versions() | {"xsheet task analysis": "0"})
        redecide(tmp_path / "set", CurateSettings())
    (record,) = caplog.records
    assert "xsheet task analysis version 0 wrote this set" in record.getMessage()
