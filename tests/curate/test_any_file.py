"""Whole runs over small drawn films that look like what people bring."""

import os
from pathlib import Path

import numpy as np
import pytest

from xsheet.cli.curate.inputs import with_earlier_sources
from xsheet.curate.discover import InputFile, discover
from xsheet.curate.pipeline import RunContext, curate
from xsheet.curate.report.applied_limits import limits_of_verdicts
from xsheet.curate.settings import CurateSettings
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.sets import create_set
from xsheet.schemas.settings import load_settings
from xsheet.schemas.source import SourceVideo


def settings(*overrides: str) -> CurateSettings:
    """No limits: every part of a film becomes a clip, also without a face."""
    return load_settings(CurateSettings, overrides=["analysis.min_voiced_s=0", "export.pose=null", *overrides])


def run(inputs, out: Path, *overrides: str):
    context = RunContext(set_folder=out, execution=Execution(jobs=1), shows_progress=False)
    return curate(inputs, settings(*overrides), context)


def texture(index: int, size: tuple[int, int]) -> np.ndarray:
    """The same noise in every frame: one shot."""
    return np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)


@pytest.fixture
def rows(tmp_path):
    return lambda table: list(tables.iter_records(tmp_path / "set", table))


def source(path: Path, **fields) -> SourceVideo:
    return SourceVideo(source_id=f"src_{path.name}", path=str(path), status="ok", **fields)


@pytest.mark.slow
def test_a_raised_limit_holds_in_every_step_and_odd_names_end_as_rows(film, tmp_path, rows):
    (tmp_path / "videos").mkdir()
    film(
        "videos/dubs.mkv", container="matroska", picture=texture, sound=np.full(16_000, 0.1, np.float32), more_audio=17
    )
    film("videos/x.mp4", picture=texture).rename(os.fsdecode(os.fsencode(tmp_path) + b"/videos/-caf\xe9.mp4"))
    film("videos/short.mp4", frames=5)
    result = run(discover([str(tmp_path / "videos")]), tmp_path / "set", "analysis.media.max_streams=32")
    ended = {Path(row.path).name: (row.status, row.reason) for row in rows(tables.SOURCES)}
    assert ended == {
        "dubs.mkv": ("ok", None), r"-caf\xe9.mp4": ("ok", None), "short.mp4": ("rejected", "too_short")
    }  # fmt: skip
    assert (result.counts["clips"], result.failed_clips) == (2, [])
    assert limits_of_verdicts(tmp_path / "set") == settings().limits


def test_an_input_inside_the_set_is_refused(film, tmp_path):
    create_set(tmp_path / "set", "s")
    (tmp_path / "set" / "media").mkdir()
    path = film("set/media/clip.mp4")
    with pytest.raises(ConfigError, match="a video outside the set"):
        run([InputFile(path=str(path), root=path.parent)], tmp_path / "set")


def test_sources_leave_a_set_only_when_somebody_decided(film, tmp_path):
    create_set(tmp_path / "set", "s")
    old, new = film("old.mp4"), film("new.mp4")
    tables.write_table(tmp_path / "set", tables.SOURCES, [source(old), source(new)])
    named = discover([str(new)])
    with pytest.raises(ConfigError, match=r"of them: .*old\.mp4; --add keeps them, --replace removes"):
        with_earlier_sources(named, tmp_path / "set", keeps_earlier=None)
    assert with_earlier_sources(named, tmp_path / "set", keeps_earlier=False) == named
    both = with_earlier_sources(named, tmp_path / "set", keeps_earlier=True)
    assert [file.path for file in both] == [str(new), str(old)]
    old.unlink()
    with pytest.raises(ConfigError, match=r"got no .*old\.mp4 \(1 missing\)"):
        with_earlier_sources(named, tmp_path / "set", keeps_earlier=True)
