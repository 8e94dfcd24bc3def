"""One short run of both stages, watched, for all tests of what comes after training; they only read it."""

from pathlib import Path

import pytest

from xsheet.model.conditioning import GuidanceSettings
from xsheet.train.data.settings import LoaderSettings, StageDatasetSettings
from xsheet.train.evaluate.validation import ValidationCallback, ValidationSettings
from xsheet.train.launch import WorkerSettings
from xsheet.train.loop.loop import LoopSettings
from xsheet.train.loop.optim import OptimSettings
from xsheet.train.loop.step import ComputeSettings
from xsheet.train.run import WeightedSet, train_stages
from xsheet.train.sample.sampler import SampleSettings, load_trained
from xsheet.train.settings import TrainSettings
from xsheet.train.stages import StageSettings

OPTIM = OptimSettings(lr=1e-2, warmup_steps=0, ema_decay=0.9)


@pytest.fixture(scope="session")
def quick() -> SampleSettings:
    """Three steps of Euler."""
    return SampleSettings(steps=3, guidance=GuidanceSettings(scale=2))


@pytest.fixture(scope="session")
def plan(settings):
    """Two steps a stage."""
    return TrainSettings(
        cache=settings,
        loader=LoaderSettings(batch_size=2),
        compute=ComputeSettings(dtype="float32", gradient_checkpointing=False, micro_batch_size=2, threads=1),
        loop=LoopSettings(log_every=1, save_every=2, validate_every=1),
        stages=(
            StageSettings(
                name="stage1",
                dataset=StageDatasetSettings(text="brief"),
                trainable_parts=("backbone", "audio", "text"),
                steps=2,
                optim=OPTIM,
            ),
            StageSettings(
                name="stage2",
                dataset=StageDatasetSettings(text="blocks"),
                trainable_parts=("backbone", "audio", "phases", "text"),
                steps=2,
                optim=OPTIM,
            ),
        ),
    )


@pytest.fixture(scope="session")
def trained_run(built_set, plan, quick, build_once) -> Path:
    """The folder of a run that is validated after each step; to be read only."""

    def build(out: Path) -> Path:
        validation = ValidationCallback(ValidationSettings(max_clips=2, samples=1, grid_columns=3, sample=quick))
        train_stages([WeightedSet(built_set[0])], plan, out=out, workers=WorkerSettings(), validation=validation)
        return out

    return build_once("trained-run", build)


@pytest.fixture(scope="session")
def trained(trained_run):
    """What stage 2 left."""
    return load_trained(trained_run)
