"""Train the motion prior and evaluate it on held-out people, who are drawn or real.

    python benchmarks/prior.py FOLDER [--real SET]

Without SET people are drawn and signals are the planted ones, so the ceiling is what the motion annotator finds in the
truth; FOLDER/set is that of `pretrain.py`, made if it is not there. SET is a curated set of real clips with an
annotated layer and a split by person. Prints the table of actions for docs/log/train.md, and how generated motion is
distributed beside that of the clips: speeds, the spectrum of the movement, and the spread over seeds.
"""

import argparse
import logging
from itertools import pairwise
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
from xsheet.train.sample.sampler import SampleSettings, TrainedModel, load_trained

PLANTED = (
    "cache.text.layer=gold",
    "cache.encoders.motion_spreads={mouth_open: 0.45, mouth_wide: 0.42, smile: 0.17, brow_raise: 0.2, "
    "eye_left_open: 0.19, eye_right_open: 0.19}",
)
"""Overrides of the preset for planted signals: their layer and units."""
SAMPLING = (*(f"sample.{one}" for one in PRIOR_SAMPLING), "max_clips=96")
_SHOWN = ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "brow_raise", "gaze_x")
_SEEDS = 3
_BAND_EDGES_HZ = (0.0, 1.0, 2.0, 4.0, 12.5)


def speeds(series_NT: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quartiles and 95th percentile of the speed of a series, per second."""
    return np.asarray(np.percentile(np.abs(np.diff(series_NT, axis=1)) * 25, (25, 50, 75, 95)), np.float64)


def band_shares(series_NT: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of the power of a series' speed in the bands of _BAND_EDGES_HZ, mean over clips that move."""
    speed_NT = np.diff(series_NT, axis=1)
    power_NF = np.abs(np.fft.rfft(speed_NT * np.hanning(speed_NT.shape[1]), axis=1)) ** 2
    hz_F = np.fft.rfftfreq(speed_NT.shape[1], 1 / 25)
    moving = power_NF.sum(1) > 0
    power_NF = power_NF[moving] / power_NF[moving].sum(1, keepdims=True)
    bands = [(low <= hz_F) & (hz_F < high) for low, high in pairwise(_BAND_EDGES_HZ)]
    bands[-1] |= hz_F == _BAND_EDGES_HZ[-1]
    return np.array([power_NF[:, band].sum(1).mean() for band in bands])


def distributions(trained: TrainedModel, set_folder: Path, *, clip_count: int) -> str:
    """Table of the speeds, bands and spread of generated motion beside those of held-out clips."""
    clips = list(held_out_clips(open_training_cache(trained, set_folder), split="test", limit=clip_count))
    requests = [sample_request(clip, clip.annotation, trained) for clip in clips]
    seeds = [load_settings(SampleSettings, overrides=[*PRIOR_SAMPLING, f"seed={seed}"]) for seed in range(_SEEDS)]
    generated_KNTS = np.stack([trained.sample(requests, one).astype(np.float64) for one in seeds])
    real_NTS = np.stack([trained.decode(clip.latent_CFHW) for clip in clips]).astype(np.float64)
    lines = [
        f"| of {len(clips)} held-out clips | speed per second, quartiles and 95 %: clips | generated "
        "| power in 0-1, 1-2, 2-4, above 4 Hz: clips | generated | spread over seeds, times that of the clips |",
        "|---|---|---|---|---|---|",
    ]
    for name in _SHOWN:
        place = list(SPREADS).index(name)
        real_NT, generated_KNT = real_NTS[..., place], generated_KNTS[..., place]
        both = (real_NT, generated_KNT.reshape(-1, real_NT.shape[1]))
        speed = [", ".join(f"{value:.3g}" for value in speeds(series)) for series in both]
        bands = [", ".join(f"{share:.2f}" for share in band_shares(series)) for series in both]
        spread = generated_KNT.std(0).mean() / real_NT.std()
        lines.append(f"| {name} | {speed[0]} | {speed[1]} | {bands[0]} | {bands[1]} | {spread:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Make the set, train, evaluate, and compare distributions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument("--run", default="prior", help="folder name of the run")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--real", type=Path, metavar="SET", help="a set of real clips instead of drawn people")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    settings = prior_settings([*(() if given.real else PLANTED), *given.overrides])
    run, set_folder = given.folder / given.run, given.real or given.folder / "set"
    if not given.real:
        make_set(set_folder, train=given.films, held_out=given.held_out, seed=SEED, mix=EVERY_HEAD_ACT)
    build_cache(set_folder, settings.cache, execution=Execution(jobs=2), shows_progress=False)
    seconds = learn(set_folder, run, settings, stages=None, how=WorkerSettings(), watches=False)
    done = evaluate(run, [set_folder], load_settings(EvaluationSettings, overrides=list(SAMPLING)))
    done.write(run / "evaluation.json")
    print(done.table())
    print(f"\n{distributions(load_trained(run), set_folder, clip_count=16)}\n\nTrained in {seconds:.0f} s.")


if __name__ == "__main__":
    main()
