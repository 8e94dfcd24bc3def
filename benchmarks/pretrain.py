"""Train the base of the tiny size, which the package ships: python benchmarks/pretrain.py FOLDER [--write]

Drawn people perform every action that a picture of a head shows, at any time, size and pace (`EVERY_HEAD_ACT`); their
layer is the truth. The base learns faces, mouth and times from them, so that no user of the preset `tiny` starts from
noise, as users of the 5B start from Wan. People, voices and actions come from a seed that nothing else uses. FOLDER
keeps all work: a stopped run continues. Hours on two cores.

The table is of people outside the training set. `--write` copies the weights in bfloat16 into the package, with a card:
train/weights/tiny-base.safetensors and .md.
"""

import argparse
import json
import logging
from pathlib import Path

import torch
from learn import learn, settings_of
from puppet_set import EVERY_HEAD_ACT, make_set
from safetensors.torch import load_file, save_file

from xsheet.runtime.executor import Execution
from xsheet.schemas.files import atomic_path, write_text
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.settings import load_settings
from xsheet.train.data.cache.build import build_cache
from xsheet.train.evaluate.evaluate import EvaluationSettings, evaluate
from xsheet.train.evaluate.summary import Evaluation
from xsheet.train.launch import WorkerSettings
from xsheet.train.loop.stage_weights import EMA_WEIGHTS_FILE
from xsheet.train.settings import TrainSettings

SEED = 29
SAMPLING = ("sample.steps=25", "sample.guidance.scale=5", "max_clips=40")
"""The scale was chosen on the validation clips: less gives cleaner pictures and fewer actions
(docs/log/train.md#base)."""
BASE_FILE = Path(__file__).resolve().parent.parent / "train" / "weights" / "tiny-base.safetensors"


def base_settings(steps: int, *, initial: str | None = None) -> TrainSettings:
    """The preset `tiny` with one stage, which trains every part on timed blocks, from noise or from an avatar."""
    stage = {
        "name": "base",
        "dataset": {"text": "blocks"},
        "trainable_parts": ["backbone", "audio", "phases", "text"],
        "steps": steps,
        "optim": {
            "lr": 2e-3 if initial is None else 1.5e-3, "warmup_steps": 100, "lr_schedule": "cosine",
            "final_lr_fraction": 0.02, "beta2": 0.99, "weight_decay": 0.0, "ema_decay": 0.998,
        },
    }  # fmt: skip
    return settings_of(["compute.threads=1", f"pretrained_avatar={initial or 'null'}", f"stages=[{json.dumps(stage)}]"])


def write_base(folder: Path, evaluated: Evaluation, settings: TrainSettings, *, films: int) -> None:
    """Write weights and card into the package."""
    weights = load_file(folder / "run" / "base" / EMA_WEIGHTS_FILE)
    BASE_FILE.parent.mkdir(exist_ok=True)
    with atomic_path(BASE_FILE) as temporary:
        save_file({key: tensor.to(torch.bfloat16) for key, tensor in sorted(weights.items())}, temporary)
    (stage,) = settings.stages
    facts = (
        f"{sum(tensor.numel() for tensor in weights.values()) / 1e6:.2f} million weights, bfloat16; SHA-256 "
        f"`{file_sha256(BASE_FILE)}`. Trained from {settings.pretrained_avatar or 'noise'} for "
        f"{stage.steps:,} steps of {settings.loader.batch_size} on "
        f"{films:,} drawn films of seed {SEED} (`EVERY_HEAD_ACT`) by `benchmarks/pretrain.py`; license as the project."
    )
    write_text(
        BASE_FILE.with_suffix(".md"),
        f"# Base of the tiny size\n\n{facts}\n\n"
        "On drawn people outside its training set (mean and 95 % interval over clips; "
        "the ceiling is the reading of the\nreal clip through the codec):\n\n" + evaluated.table() + "\n",
    )


def main() -> None:
    """Make the set, train, evaluate, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--initial", metavar="AVATAR", help="train on from these weights, e.g. tiny-base")
    parser.add_argument("--write", action="store_true", help="write the weights into the package")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    folder, settings = given.folder, base_settings(given.steps, initial=given.initial)
    make_set(folder / "set", train=given.films, held_out=given.held_out, seed=SEED, mix=EVERY_HEAD_ACT)
    build_cache(folder / "set", settings.cache, execution=Execution(jobs=2), shows_progress=False)
    learn(folder / "set", folder / "run", settings, stages=None, how=WorkerSettings(), watches=False)
    done = evaluate(
        folder / "run",
        [folder / "set"],
        load_settings(EvaluationSettings, overrides=list(SAMPLING)),
        parts_file=folder / "parts.jsonl",
    )
    done.write(folder / "run" / "evaluation.json")
    print(done.table())
    if given.write:
        write_base(folder, done, settings, films=given.films)


if __name__ == "__main__":
    main()
