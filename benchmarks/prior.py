"""Train the motion prior on drawn people and evaluate actions on held-out scripts: python benchmarks/prior.py FOLDER

Signals are the planted ones, so the ceiling is what the motion annotator finds in the truth. FOLDER/set is that of
`pretrain.py`, made if it is not there. Prints the table for docs/log/train.md, and how the motion of generated speech
is distributed beside the real one: speed of the head and of the mouth, and the spread over seeds.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
from learn import learn
from numpy.typing import NDArray
from pretrain import SEED
from puppet_set import EVERY_HEAD_ACT, make_set

from xsheet.model.encoders.motion import SPREADS
from xsheet.runtime.executor import Execution
from xsheet.schemas.settings import load_settings
from xsheet.train.data.cache.build import build_cache
from xsheet.train.evaluate.evaluate import (
    EvaluationSettings,
    evaluate,
    open_training_cache,
    sample_request,
)
from xsheet.train.evaluate.held_out import held_out_clips
from xsheet.train.launch import WorkerSettings
from xsheet.train.prior import prior_settings
from xsheet.train.prior.motion import PRIOR_SAMPLING
from xsheet.train.sample.sampler import SampleSettings, load_trained

PLANTED = (
    "cache.text.layer=gold",
    "cache.encoders.motion_spreads={mouth_open: 0.45, mouth_wide: 0.42, smile: 0.17, brow_raise: 0.2, "
    "eye_left_open: 0.19, eye_right_open: 0.19}",
)
"""Overrides of the preset for planted signals: their layer and units."""
SAMPLING = (*(f"sample.{one}" for one in PRIOR_SAMPLING), "max_clips=96")
_SHOWN = ("yaw_deg", "pitch_deg", "mouth_open")


def speeds(motion_NTS: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Quartiles of the speed of a series, per second."""
    place = list(SPREADS).index(name)
    return np.percentile(np.abs(np.diff(motion_NTS[:, :, place], axis=1)) * 25, (25, 50, 75, 95))


def main() -> None:
    """Make the set, train, evaluate, and compare distributions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument("--run", default="prior", help="folder name of the run")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    settings, run, folder = prior_settings([*PLANTED, *given.overrides]), given.folder / given.run, given.folder / "set"
    make_set(folder, train=given.films, held_out=given.held_out, seed=SEED, mix=EVERY_HEAD_ACT)
    build_cache(folder, settings.cache, execution=Execution(jobs=2), shows_progress=False)
    seconds = learn(folder, run, settings, stages=None, how=WorkerSettings(), watches=False)
    done = evaluate(run, [folder], load_settings(EvaluationSettings, overrides=list(SAMPLING)))
    done.write(run / "evaluation.json")
    print(done.table())
    print(f"\ntrained in {seconds:.0f} s")
    trained = load_trained(run)
    clips = list(held_out_clips(open_training_cache(trained, folder), split="test", limit=16))
    requests = [sample_request(clip, clip.annotation, trained) for clip in clips]
    settings_of_seed = [load_settings(SampleSettings, overrides=[*PRIOR_SAMPLING, f"seed={k}"]) for k in range(3)]
    seeds = [trained.sample(requests, one).astype(np.float64) for one in settings_of_seed]
    real = np.stack([trained.decode(clip.latent_CFHW) for clip in clips]).astype(np.float64)
    print(
        "\n| speed per second: quartiles, 95 % | real | generated | spread over seeds by the real |\n|---|---|---|---|"
    )
    for name in _SHOWN:
        place = list(SPREADS).index(name)
        rows = [", ".join(f"{value:.2f}" for value in speeds(motion, name)) for motion in (real, np.concatenate(seeds))]
        spread = np.std([one[:, :, place] for one in seeds], axis=0).mean() / real[:, :, place].std()
        print(f"| {name} | {rows[0]} | {rows[1]} | {spread:.2f} |")


if __name__ == "__main__":
    main()
