"""Train both stages of the tiny model on puppets and evaluate actions on held-out annotations.

    python benchmarks/learn.py FOLDER [--clips 480] [--held-out 120] [--set stages.stage2.steps=1200 ...]

Prints the table for docs/log/ and the time of the stages. A stopped run continues. The goal on two cores: both stages
within 15 minutes, mouth correlation at least .6, class accuracy at least .7 of the ceiling.
"""

import argparse
import json
import logging
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from puppet_set import make_set

from xsheet.runtime.executor import Execution
from xsheet.schemas.settings import load_settings
from xsheet.train.data.cache.build import build_cache
from xsheet.train.evaluate.evaluate import EvaluationSettings, evaluate
from xsheet.train.evaluate.summary import Evaluation
from xsheet.train.evaluate.validation import ValidationCallback, ValidationSettings
from xsheet.train.launch import WorkerSettings
from xsheet.train.run import WeightedSet, train_stages
from xsheet.train.settings import TrainSettings

PUPPETS = ("cache.text.layer=gold",)
"""Overrides of the preset: the layer of the puppet set is the truth."""
SAMPLING = ("sample.steps=25", "sample.guidance.scale=3", "sample.guidance.audio_scale=7", "max_clips=96")
"""Fewer sampling steps and lower guidance than the paper's 40 and 5, which are for 5 billion weights; more guidance for
audio than for text, chosen on the validation clips of both seeds (docs/log/train.md#tiny)."""


def settings_of(overrides: Sequence[str]) -> TrainSettings:
    """The preset `tiny` for the puppet set."""
    return load_settings(
        TrainSettings, preset=files("xsheet.train") / "presets" / "tiny.yaml", overrides=[*PUPPETS, *overrides]
    )


def learn(
    set_folder: Path,
    run: Path,
    settings: TrainSettings,
    *,
    stages: Sequence[str] | None,
    how: WorkerSettings,
    watches: bool,
) -> float:
    """Train or continue; returns the seconds of this call."""
    began = time.perf_counter()
    watch = ValidationCallback(ValidationSettings()) if watches else None
    train_stages([WeightedSet(set_folder)], settings, stages=stages, out=run, workers=how, validation=watch)
    return time.perf_counter() - began


def main() -> None:
    """Make the set, train and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", default="run", help="folder name of the run")
    parser.add_argument("--clips", type=int, default=480)
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--sample", action="append", default=[], help="settings of the evaluation")
    parser.add_argument(
        "--workers", type=int, default=0, help="two processes with one thread each are a third faster than one with two"
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    settings, run = settings_of(given.overrides), given.folder / given.run
    set_folder = make_set(given.folder / "set", train=given.clips, held_out=given.held_out, seed=0)
    build_cache(set_folder, settings.cache, execution=Execution(jobs=2), shows_progress=False)
    how = WorkerSettings(count=given.workers)
    seconds = learn(set_folder, run, settings, stages=None, how=how, watches=True)
    done: Evaluation = evaluate(
        run, [set_folder], load_settings(EvaluationSettings, overrides=[*SAMPLING, *given.sample])
    )
    done.write(run / "evaluation.json")
    print(done.table())
    print(f"\n{json.dumps(given.overrides)}: stages took {seconds:.0f} s")


if __name__ == "__main__":
    main()
