"""The motion prior from signals to a preview."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import wavfile
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.time import FrameRate
from xsheet.train.data.cache.build import build_cache
from xsheet.train.data.conditioning import DRIVING_SERIES
from xsheet.train.evaluate.evaluate import EvaluationSettings, evaluate
from xsheet.train.evaluate.validation import ValidationCallback, ValidationSettings
from xsheet.train.launch import WorkerSettings
from xsheet.train.prior import prior_settings
from xsheet.train.prior.motion import load_prior, prior_spreads, sample_motion
from xsheet.train.prior.preview import write_preview
from xsheet.train.run import WeightedSet, train_stages
from xsheet.train.sample.driver import motion_of_prior
from xsheet.train.sample.sampler import SampleSettings
from xsheet.train.sample.script import ActionScript, ScriptPhase

pytestmark = pytest.mark.slow
SMALL = (
    "cache.text.layer=gold", "cache.picture.frame_counts=[21, 33]", "stages.prior.steps=2", "loader.batch_size=2",
    "compute.micro_batch_size=2", "compute.threads=1", "loop.log_every=1", "loop.validate_every=1",
)  # fmt: skip
SCRIPT = ActionScript(
    base="A person speaks to the camera.", phases=(ScriptPhase(start_s=0.4, end_s=1.2, text="nods </script> twice"),)
)


@pytest.fixture(scope="session")
def prior_set(pristine_set, tmp_path_factory):
    """The set with a head that nods in every clip."""
    import shutil

    folder = tmp_path_factory.mktemp("prior") / "set"
    shutil.copytree(pristine_set, folder)
    nodding = [
        replace(one, **{
            name: tuple(np.sin(np.arange(one.frames) / 3).tolist()) for name in ("pitch_deg", "mouth_open", "yaw_deg")
        })
        for one in tables.iter_records(folder, tables.SIGNALS)
    ]  # fmt: skip
    tables.write_table(folder, tables.SIGNALS, nodding)
    return folder


@pytest.fixture(scope="session")
def prior_run(prior_set, tmp_path_factory):
    out, settings = tmp_path_factory.mktemp("run"), prior_settings(SMALL)
    build_cache(prior_set, settings.cache, execution=Execution(), shows_progress=False)
    validation = ValidationCallback(ValidationSettings(max_clips=2))
    train_stages([WeightedSet(prior_set)], settings, out=out, workers=WorkerSettings(), validation=validation)
    return out


def test_motion_is_as_long_as_its_audio_also_over_several_windows(prior_run):
    trained, settings = load_prior(prior_run), SampleSettings(steps=2)
    audio = np.random.default_rng(0).normal(0, 0.1, 70 * 640).astype(np.float32)
    signals = sample_motion(trained, SCRIPT, audio, settings)
    assert signals.frames == len(signals.yaw_deg) == 69  # whole latent frames, in windows of 33
    assert np.isfinite(signals.pitch_deg).all()
    again = sample_motion(trained, SCRIPT, audio, settings)
    assert again == signals


def test_a_prior_is_evaluated_by_its_own_series(prior_run, prior_set):
    done = evaluate(
        prior_run, [prior_set], EvaluationSettings(split="val", max_clips=2, sample=SampleSettings(steps=2))
    )
    (ceiling,) = done.ceiling
    assert ceiling.mouth.pearson_r == pytest.approx(1, abs=0.01)  # its own motion through the codec
    assert ceiling.colour_drift is None
    assert "colour drift" not in done.table()


def test_text_on_the_preview_stays_text(prior_run, tmp_path):
    trained = load_prior(prior_run)
    audio = np.zeros(33 * 640, np.float32)
    signals = sample_motion(trained, SCRIPT, audio, SampleSettings(steps=1))
    write_preview(signals, SCRIPT, audio, tmp_path / "p.html", spreads=prior_spreads(trained))
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert data["phases"][0]["text"] == "nods </script> twice"
    assert data["frames"] == 33 and set(map(len, data["series"].values())) == {33}
    assert "nods </script>" not in page


def test_the_commands_train_and_preview(prior_set, tmp_path):
    run, out, script = tmp_path / "run", tmp_path / "p.html", tmp_path / "s.yaml"
    wavfile.write(tmp_path / "a.wav", 16000, np.zeros(25 * 640, np.int16))
    script.write_text("base: A person speaks to the camera.\nphases: [{start_s: 0.1, end_s: 0.6, text: nods twice}]\n")
    overrides = [part for one in SMALL for part in ("--set", one)]
    trained = CliRunner().invoke(app, ["train", "prior", str(prior_set), "--out", str(run), "-q", *overrides])
    assert trained.exit_code == 0, trained.output
    arguments = ["train", "preview", str(run), "--audio", str(tmp_path / "a.wav"), "--script", str(script)]
    shown = CliRunner().invoke(app, [*arguments, "--out", str(out), "--set", "steps=2", "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["frames"] == 25 and out.is_file()


def test_a_prior_drives_at_the_rate_of_the_sample_and_not_after_the_audio(prior_run):
    audio = np.random.default_rng(0).normal(0, 0.1, 33 * 640).astype(np.float32)
    motion_TS = motion_of_prior(load_prior(prior_run), SCRIPT, audio, 17, rate=FrameRate(10)).numpy()
    assert motion_TS.shape == (17, len(DRIVING_SERIES))
    assert motion_TS[1:13].any(axis=1).all() and not motion_TS[14:].any()  # 1.32 s are 14 frames of 100 ms


def test_a_run_of_pictures_is_no_prior(trained_run):
    with pytest.raises(ConfigError, match="train prior"):
        load_prior(trained_run)
