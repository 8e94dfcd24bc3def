"""Several audio tracks of which no flag names one."""

from pathlib import Path

import numpy as np
import pytest

from xsheet.curate.media.reader import probe
from xsheet.curate.settings import AnalysisSettings
from xsheet.curate.tasks import analyse
from xsheet.curate.tasks.analyse import AnalysisJob, AnalysisTask
from xsheet.curate.tasks.probe import SourcePath
from xsheet.demo.film.voice import synthesise_speech
from xsheet.runtime.executor import Item
from xsheet.schemas.source import SourceVideo

SPEECH = synthesise_speech(np.random.default_rng(8), 100).sound
HUM = np.asarray(0.1 * np.sin(np.arange(len(SPEECH)) * 0.05), np.float32)


@pytest.fixture
def analysed(tmp_path: Path):
    def rows(path: Path):
        settings = AnalysisSettings()
        task = AnalysisTask(settings.decode, sync=settings.sync, models=None)
        task.open()
        job = AnalysisJob(
            source_path=SourcePath(path=str(path), root=path.parent), source=probe(path, root=path.parent),
            set_folder=tmp_path / "set",
        )  # fmt: skip
        return task(Item(key="ab" * 8, name=path.name, payload=job))

    return rows


@pytest.mark.slow
@pytest.mark.parametrize(("sounds", "track"), [([HUM, SPEECH, HUM], 1), ([SPEECH, HUM], 0)])
def test_the_first_track_with_a_voice_is_used_and_only_it_is_measured_in_full(
    sounds, track, film_with_tracks, analysed, monkeypatch
):
    measured = []
    monkeypatch.setattr(analyse, "audio_features", counting(analyse.audio_features, measured))
    (source,) = [row for row in analysed(film_with_tracks(sounds)) if isinstance(row, SourceVideo)]
    assert source.audio_track == track
    assert len(measured) == 1


def counting(function, calls: list):
    """The function itself; `calls` grows with each call."""

    def called(*arguments, **keywords):
        calls.append(arguments)
        return function(*arguments, **keywords)

    return called
