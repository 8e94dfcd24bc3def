"""Verbs of `xsheet train` for what training left behind: sample, evaluate, export."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import AsJson, Config, DryRun, Quiet, SetFolder

if TYPE_CHECKING:
    from xsheet.schemas.settings import StrictModel

app = typer.Typer()

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run, its --out.")]
StageOption = Annotated[
    str | None, typer.Option("--stage", metavar="NAME", help="Stage whose weights to use (default: last finished).")
]
SampleSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One of steps, shift, seed, guidance.scale, guidance.audio_scale."),
]
EvaluateSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. clips=64 or sample.guidance.scale=3."),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N; the GPU if there is one.")]


@app.command("sample")
def sample_(
    run: RunFolder,
    portrait: Annotated[Path, typer.Option("--portrait", help="PNG or JPEG, or a video for its first frame.")],
    sound: Annotated[Path, typer.Option("--sound", help="WAV, or a video with sound.")],
    sheet: Annotated[Path, typer.Option("--sheet", help="YAML or JSON: what holds throughout, what happens when.")],
    out: Annotated[Path, typer.Option("--out", help="The video, .mp4.")],
    stage: StageOption = None,
    device: DeviceOption = None,
    config: Config = None,
    set_: SampleSetOption = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """A portrait that says a sound and does what a sheet says, when it says so.

    Example: xsheet train sample my-run --portrait ada.png --sound ada.wav --sheet nod.yaml --out ada.mp4
    """
    from xsheet.schemas.settings import load_settings
    from xsheet.train.sample.sampler import SampleSettings

    settings = load_settings(SampleSettings, config=config, overrides=set_ or ())
    if dry_run:
        show_settings(settings)
        return
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.time import CLIP_RATE
    from xsheet.train.sample.sample import SampleFiles, sample

    if not (quiet or as_json):
        log_training_to_stderr()
    files = SampleFiles(portrait=portrait, audio=sound, script=sheet, out=out)
    name = _stage(run, stage)
    written = sample(run, files, settings, stage=name, device=_device(device))
    seconds = written.frames / CLIP_RATE.num
    if as_json:
        print_json({"out": str(out), "stage": name, "frames": written.frames, "seconds": round(seconds, 2)})
    else:
        console().print(f"{seconds:.1f} s with sound, drawn by {name}: {out}", markup=False)


@app.command("evaluate")
def evaluate_(
    run: RunFolder,
    folder: SetFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="JSON of every score; RUN/STAGE/evaluation.json if left out.")
    ] = None,
    stage: StageOption = None,
    device: DeviceOption = None,
    config: Config = None,
    set_: EvaluateSetOption = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw held-out clips anew, read them as real ones are read, and score them beside what real clips get.

    Example: xsheet train evaluate my-run my-set --set clips=64
    """
    from xsheet.schemas.settings import load_settings
    from xsheet.train.evaluate.evaluate import EvaluationSettings, evaluate

    settings = load_settings(EvaluationSettings, config=config, overrides=set_ or ())
    if dry_run:
        show_settings(settings)
        return
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.sets import open_set
    from xsheet.train.loop.step import explain_out_of_memory

    open_set(folder)
    if not (quiet or as_json):
        log_training_to_stderr()
    name = _stage(run, stage)
    with explain_out_of_memory(where="evaluation", contents=f"{settings.batch_size} samples", hint="say --set batch=1"):
        done = evaluate(run, folder, settings, stage=name, device=_device(device))
    out = out or run / name / "evaluation.json"
    done.write(out)
    if as_json:
        print_json(
            {
                "out": str(out),
                "stage": name,
                "clips": len(done.samples),
                "numbers": json.loads(out.read_bytes())["numbers"],
            }
        )
        return
    console().print(done.table(), markup=False, soft_wrap=True)
    console().print(f"{len(done.samples)} clips of {settings.split}, drawn by {name}; every score: {out}", markup=False)


@app.command("export")
def export_(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder.")],
    stage: StageOption = None,
    as_json: AsJson = False,
) -> None:
    """A trained model as a folder: the base for plain diffusers, the whole avatar, the learned text encoder.

    Example: xsheet train export my-run my-model
    """
    from xsheet.cli.show import console, print_json
    from xsheet.train.export import export

    name = _stage(run, stage)
    export(run, out, stage=name)
    if as_json:
        print_json({"out": str(out), "stage": name})
    else:
        console().print(
            f"{name} in {out}\n"
            f"diffusers: WanTransformer3DModel.from_pretrained('{out / 'transformer'}'), without phases and sound\n"
            f"xsheet: xsheet.model.weights.load('{out / 'avatar'}')",
            markup=False,
        )


def show_settings(settings: "StrictModel") -> None:
    """What a dry run shows."""
    from xsheet.schemas.settings import to_yaml

    typer.echo(to_yaml(settings))


def log_training_to_stderr() -> None:
    """Let what training says of itself appear on stderr."""
    import logging

    telling = logging.StreamHandler()
    telling.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("xsheet.train")
    ours.addHandler(telling)
    ours.setLevel(logging.INFO)


def _stage(run: Path, requested: str | None) -> str:
    """The requested stage, else the last finished one."""
    from xsheet.train.sample.sampler import last_finished_stage, run_settings

    settings = run_settings(run)
    return last_finished_stage(run, settings) if requested is None else settings.stage(requested).name


def _device(requested: str | None) -> str:
    """As torch names it; ConfigError if this machine has none of that name."""
    import torch

    from xsheet.schemas.errors import ConfigError

    gpus = torch.cuda.device_count()
    known = ("cpu", *(("cuda",) if gpus else ()), *(f"cuda:{k}" for k in range(gpus)))
    if requested is not None and requested not in known:
        raise ConfigError(
            where="--device", expected=f"one of {', '.join(known)}", got=repr(requested), hint="choose one, or none"
        )
    return requested or ("cuda" if gpus else "cpu")
