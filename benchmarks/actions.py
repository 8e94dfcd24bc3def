"""The ablation on drawn puppets: effect of the bindings of times, of the depth schedule and of the two stages.

    python benchmarks/actions.py FOLDER [--seeds 3] [--steps 1500] [--only interval-1 table-2 ...]
    python benchmarks/actions.py FOLDER --table | --draw PNG [--clip 3]

As in the paper, all arms start from one pretrained backbone that was trained on pictures without audio and actions, and
all have the same number of steps. The scripts ask for times: two to four actions of .4 to 2 s that start anywhere and
overlap on two tracks (`puppet_set.ANYWHERE`). Each (arm, seed) is a separate run below FOLDER; finished runs are not
repeated, so the hours can be split. The table includes the ceiling: the reader on real clips.

    words             text blocks with times; equal audio scale in all blocks, one stage
    table             + a vector per phase: the paper's
    interval          + the rotation of queries and keys by their times
    interval+clock    + times added to keys and values
    depth             + the depth schedule of the audio residual
    stages            + a first stage on audio and appearance with brief captions
"""

import argparse
import json
import logging
import statistics
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from learn import learn, settings_of
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from puppet_set import ANYWHERE, make_set
from pydantic import TypeAdapter

from xsheet.runtime.executor import Execution
from xsheet.schemas.settings import load_settings
from xsheet.train.data.cache.build import build_cache
from xsheet.train.evaluate.evaluate import EvaluationSettings, evaluate, open_training_cache, sample_request
from xsheet.train.evaluate.held_out import held_out_clips
from xsheet.train.evaluate.scores import ClipScore
from xsheet.train.evaluate.summary import Evaluation
from xsheet.train.export import export
from xsheet.train.launch import WorkerSettings
from xsheet.train.sample.sampler import SampleSettings, load_trained
from xsheet.train.settings import TrainSettings

ALL = "[backbone, audio, phases, text]"
FORMS = ("cache.text.forms=[brief, plain, blocks]", "cache.text.blocks={layout: phases, max_blocks: 6}")
LABEL_PX = 96  # width of the names of the arms beside their pictures
FIRST_SHARE = 0.28  # share of the steps of the first stage in the arm `stages`, about that of the preset
SAMPLING = ("sample.steps=16", "sample.guidance.scale=3", "max_clips=96", "reader=drawn")
"""One guidance scale for text and audio, so that no arm gets extra guidance where it is weak."""
UNIFORM = ("stages.stage1.dataset.text=blocks", "audio_depth_schedule=uniform")
ARMS: dict[str, tuple[str, ...]] = {
    "words": (*UNIFORM, "phase_binding=[]"),
    "table": (*UNIFORM, "phase_binding=[table]"),
    "interval": (*UNIFORM, "phase_binding=[table,interval]"),
    "interval+clock": (*UNIFORM, "phase_binding=[table,interval,clock]"),
    "depth": ("stages.stage1.dataset.text=blocks", "phase_binding=[table,interval,clock]"),
    "stages": ("phase_binding=[table,interval,clock]",),
}
COMPUTE = ("compute.threads=1", "compute.micro_batch_size=8", "loader.batch_size=8")
"""Runs stand side by side, a thread each; eight clips a step, so that three seeds of every arm fit into a day."""
SHOWN = (
    "class accuracy",
    "hit (H@S)",
    "tIoU of hits",
    "start error of hits, s",
    "position baseline: start error of hits, s",
    "end error of hits, s",
    "start within .2 s",
    "unrequested actions per second",
    "mouth correlation",
    "swapped: class accuracy",
    "not swapped: class accuracy",
    "replaced: class accuracy",
    "not replaced: class accuracy",
)
"""Columns of the table, one row per arm. "Not swapped" and "not replaced" score the video of the unedited script
against the edited one: what habit alone gives. The position baseline is the video of another script."""


def base_of(folder: Path, *, steps: int, overrides: Sequence[str]) -> Path:
    """Initial weights of all arms, trained once: pictures from brief captions, without audio."""
    weights = folder / "base-weights"
    if not (weights / "training.json").is_file():
        settings = settings_of(
            [
                *FORMS,
                *COMPUTE,
                f"stages.stage1.steps={steps}",
                "stages.stage1.trainable_parts=[backbone, text]",
                *overrides,
            ]
        )
        learn(folder / "set", folder / "base", settings, stages=("stage1",), how=WorkerSettings(), watches=False)
        export(folder / "base", weights, stage="stage1")
    return weights / "transformer"


def plan(
    arm: str, seed: int, *, base: Path, steps: int, overrides: Sequence[str]
) -> tuple[TrainSettings, tuple[str, ...]]:
    """Settings of one run, and its stages; an arm with one stage trains everything in it."""
    own = [*FORMS, *COMPUTE, f"pretrained_backbone={base}", f"seed={seed}", *ARMS[arm], *overrides]
    if arm == "stages":
        first = round(FIRST_SHARE * steps)
        own += [f"stages.stage1.steps={first}", f"stages.stage2.steps={steps - first}"]
        return settings_of(own), ("stage1", "stage2")
    own += [
        f"stages.stage1.steps={steps}",
        f"stages.stage1.trainable_parts={ALL}",
        "stages.stage1.optim.final_lr_fraction=0.05",
    ]
    return settings_of(own), ("stage1",)


def finish(folder: Path, arm: str, seed: int, *, base: Path, given: argparse.Namespace) -> None:
    """Train and evaluate one run, unless it is finished."""
    run = folder / f"{arm}-{seed}"
    settings, stages = plan(arm, seed, base=base, steps=given.steps, overrides=given.overrides)
    if (run / "evaluation.json").is_file():
        return
    learn(folder / "set", run, settings, stages=stages, how=WorkerSettings(), watches=False)
    how = load_settings(EvaluationSettings, overrides=[*SAMPLING, *given.sample])
    evaluate(run, [folder / "set"], how, stage=stages[-1]).write(run / "evaluation.json")


def rows(folder: Path, seeds: int) -> Iterator[str]:
    """The table of the finished runs: means with 95 % bootstrap intervals over the clips of all seeds."""
    yield f"| arm | seeds | median start error of hits, s | {' | '.join(SHOWN)} |"
    yield f"|---|---|---|{'---|' * len(SHOWN)}"
    ceiling: tuple[ClipScore, ...] = ()
    for arm in ARMS:
        files = [folder / f"{arm}-{seed}" / "evaluation.json" for seed in range(1, seeds + 1)]
        evaluations = [read(file) for file in files if file.is_file()]
        pooled = Evaluation(
            samples=tuple(chain.from_iterable(one.samples for one in evaluations)),
            ceiling=(),
            swaps=tuple(chain.from_iterable(one.swaps for one in evaluations)),
            replacements=tuple(chain.from_iterable(one.replacements for one in evaluations)),
            position_baseline=tuple(chain.from_iterable(one.position_baseline for one in evaluations)),
        )
        ceiling = ceiling or tuple(chain.from_iterable(one.ceiling for one in evaluations[:1]))  # equal for all runs
        yield _row(arm, len(evaluations), pooled)
    yield _row("ceiling", None, Evaluation(samples=ceiling, ceiling=()))


def read(file: Path) -> Evaluation:
    """The evaluation that `write` stored."""
    document = json.loads(file.read_text())
    del document["numbers"]
    return TypeAdapter(Evaluation).validate_python(document)


def _row(arm: str, seeds: int | None, done: Evaluation) -> str:
    numbers = [done.summary()[name][0] for name in SHOWN]
    cells = ["" if one is None else f"{one.mean:.2f} ({one.low:.2f}..{one.high:.2f})" for one in numbers]
    starts = [p.start_error_s for one in done.samples for p in one.phases if p.start_error_s is not None]
    median = f"{statistics.median(starts):.2f}" if starts else ""
    return f"| {arm} | {'' if seeds is None else seeds} | {median} | {' | '.join(cells)} |"


def draw(folder: Path, file: Path, *, clip: int) -> None:
    """Draw one script by every arm of the first seed, below the real clip: every fourth frame, at twice the size."""
    strips: list[tuple[str, NDArray[np.uint8]]] = []
    script = ""
    for arm in ARMS:
        run = folder / f"{arm}-1"
        if not (run / "evaluation.json").is_file():
            continue
        trained = load_trained(run)
        clips = held_out_clips(open_training_cache(trained, folder / "set"), split="test", limit=clip + 1)
        shown = list(clips)[clip]
        if not strips:
            script = "; ".join(
                f"{p.start_us / 1e6:.1f} to {p.end_us / 1e6:.1f} s: {p.text}" for p in shown.annotation.phases
            )
            strips.append(("real", trained.enlarge(trained.decode(shown.latent_CFHW))))
        how = load_settings(SampleSettings, overrides=[one.removeprefix("sample.") for one in SAMPLING[:2]])
        pictures = trained.sample([sample_request(shown, shown.annotation, trained)], how)[0]
        strips.append((arm, trained.enlarge(pictures)))
    rows = [np.concatenate(list(pictures[::4]), axis=1) for _, pictures in strips]
    sheet = Image.new("RGB", (rows[0].shape[1] + LABEL_PX, sum(len(row) for row in rows)), "white")
    for k, ((arm, _), row) in enumerate(zip(strips, rows, strict=True)):
        sheet.paste(Image.fromarray(row), (LABEL_PX, k * len(row)))
        ImageDraw.Draw(sheet).text((4, (k + 0.45) * len(row)), arm, fill="black")
    sheet.save(file)
    print(f"{file}: {script}")


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500, help="steps of each run, all stages together")
    parser.add_argument("--base-steps", type=int, default=700, help="steps of the common initial weights")
    parser.add_argument("--clips", type=int, default=480)
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument("--only", nargs="*", help="runs such as table-2; default: all")
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.add_argument("--draw", type=Path, metavar="PNG", help="only draw one script by every arm of seed 1")
    parser.add_argument("--clip", type=int, default=0, help="which of the test clips to draw")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--sample", action="append", default=[], help="settings of the evaluation")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if given.draw is not None:
        draw(given.folder, given.draw, clip=given.clip)
        return
    if not given.table:
        make_set(given.folder / "set", train=given.clips, held_out=given.held_out, seed=0, mix=ANYWHERE)
        build_cache(given.folder / "set", settings_of(FORMS).cache, execution=Execution(jobs=2), shows_progress=False)
        base = base_of(given.folder, steps=given.base_steps, overrides=given.overrides)
        for seed in range(1, given.seeds + 1):  # seed by seed, so that a stopped benchmark can compare arms
            for arm in ARMS:
                if not given.only or f"{arm}-{seed}" in given.only:
                    finish(given.folder, arm, seed, base=base, given=given)
    print("\n".join(rows(given.folder, given.seeds)))


if __name__ == "__main__":
    main()
