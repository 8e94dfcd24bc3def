"""`xsheet train` with a trained model: sample, write-script, preview, evaluate, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import LOCAL_PATH, AsJson, Config, DryRun, Quiet, SetFolders

if TYPE_CHECKING:
    from xsheet.schemas.settings import StrictModel

app = typer.Typer()

RunOrExport = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of the run (--out of `train run`), or of an export.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run (--out of `train run`).")]
StageOption = Annotated[
    str | None, typer.Option("--stage", metavar="NAME", help="Stage whose weights to use (default: last finished).")
]
SampleSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one setting: steps, shift, seed, guidance.* or window.*; may be repeated.",
    ),
]
EvaluateSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one setting, e.g. max_clips=64 or sample.guidance.scale=3; may be repeated.",
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda or cuda:N (default: the GPU if there is one).")
]


@app.command("sample")
def sample_(
    run: RunOrExport,
    portrait: Annotated[Path, typer.Option("--portrait", help="PNG or JPEG image, or a video (its first frame).")],
    audio: Annotated[Path, typer.Option("--audio", help="WAV file, or a video with audio.")],
    script: Annotated[
        Path,
        typer.Option(
            "--script", help="Base caption and timed actions: YAML or JSON; ELAN, CSV or WebVTT; or a set (--clip)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="MP4 file to write.", **LOCAL_PATH)],
    driver: Annotated[
        Path | None,
        typer.Option(
            "--driver",
            metavar="VIDEO",
            help="Video whose upper face (above the mouth) drives the sample (variant actalker).",
        ),
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option(
            "--prior", metavar="RUN", help="Motion prior that drives the sample from the script, instead of --driver."
        ),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option("--clip", metavar="ID", help="Clip to sample, if --script is a set or a table of several clips."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", "-l", help="Layer, if --script is a set (default: accepted); annotator, if it is a file."
        ),
    ] = None,
    caption: Annotated[
        str | None, typer.Option("--caption", metavar="TEXT", help="Base caption, instead of the script's.")
    ] = None,
    stage: StageOption = None,
    device: DeviceOption = None,
    config: Config = None,
    set_: SampleSetOption = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Sample a video of a portrait that speaks the audio and performs the timed actions of a script.

    Example: xsheet train sample my-run --portrait ada.png --audio ada.wav --script nod.yaml --out ada.mp4
    """
    from xsheet.schemas.settings import load_settings
    from xsheet.train.sample.sampler import SampleSettings

    settings = load_settings(SampleSettings, config=config, overrides=set_ or ())
    if dry_run:
        show_settings(settings, as_json=as_json)
        return
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.time import CLIP_RATE
    from xsheet.train.exported.load import load_run_or_export
    from xsheet.train.sample.sample import SampleFiles, sample
    from xsheet.train.sample.script_sources import read_script

    if not (quiet or as_json):
        log_training_to_stderr()
    requested = read_script(script, clip=clip, layer=layer, caption=caption)
    files = SampleFiles(portrait=portrait, audio=audio, script=requested, out=out, driver=driver, prior=prior)
    trained = load_run_or_export(run, stage=stage, device=find_device(device))
    written = sample(trained, files, settings)
    seconds = written.frames / CLIP_RATE.num
    if as_json:
        print_json({"out": str(out), "stage": trained.stage, "frames": written.frames, "seconds": round(seconds, 2)})
    else:
        console().print(f"{seconds:.1f} s of video with audio, sampled by {trained.stage}: {out}", markup=False)


@app.command("write-script")
def write_script(
    run: RunOrExport,
    portrait: Annotated[Path, typer.Option("--portrait", help="PNG or JPEG image, or a video (its first frame).")],
    audio: Annotated[Path, typer.Option("--audio", help="WAV file, or a video with audio.")],
    script: Annotated[Path, typer.Option("--script", help="YAML file to write; opened if it exists.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the samples (default: beside the script, NAME-samples).")
    ] = None,
    caption: Annotated[
        str | None, typer.Option("--caption", metavar="TEXT", help="Base caption of a new script.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    stage: StageOption = None,
    device: DeviceOption = None,
    config: Config = None,
    set_: SampleSetOption = None,
    as_json: AsJson = False,
) -> None:
    """Serve a page on localhost until Ctrl-C: draw the timed actions of a script over its audio, and sample it.

    Example: xsheet train write-script my-run --portrait ada.png --audio ada.wav --script nod.yaml
    """
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.settings import load_settings
    from xsheet.train.exported.load import check_stage
    from xsheet.train.sample.sampler import SampleSettings
    from xsheet.train.script_page.server import ScriptPage, serve
    from xsheet.train.script_page.worker import SamplingJob

    job = SamplingJob(
        run=run.absolute(), stage=check_stage(run, stage), device=find_device(device), portrait=portrait.absolute(),
        audio=audio.absolute(), settings=load_settings(SampleSettings, config=config, overrides=set_ or ()),
    )  # fmt: skip

    def show_address(address: str) -> None:
        if as_json:
            print_json({"address": address})
        else:
            console().print(address, markup=False, soft_wrap=True)

    folder = out or script.with_name(f"{script.stem}-samples")
    with ScriptPage(job, script=script, samples=folder, base=caption) as page:
        serve(page, on_ready=show_address, port=port)


@app.command("preview")
def preview_(
    run: Annotated[Path, typer.Argument(metavar="PRIOR", help="Folder of the run (--out of `train prior`).")],
    audio: Annotated[Path, typer.Option("--audio", help="WAV file, or a video with audio.")],
    script: Annotated[Path, typer.Option("--script", help="Base caption and timed actions: YAML or JSON.")],
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.", **LOCAL_PATH)],
    device: DeviceOption = None,
    config: Config = None,
    set_: SampleSetOption = None,
    as_json: AsJson = False,
) -> None:
    """Write a page that plays the motion of a script over its audio as a schematic face, without sampling a video.

    Example: xsheet train preview my-prior --audio ada.wav --script nod.yaml --out preview.html
    """
    import time

    from xsheet.cli.show import console, print_json
    from xsheet.schemas.settings import load_settings
    from xsheet.train.prior.motion import PRIOR_SAMPLING, load_prior, prior_spreads, sample_motion
    from xsheet.train.prior.preview import write_preview
    from xsheet.train.sample.sample import read_audio
    from xsheet.train.sample.sampler import SampleSettings
    from xsheet.train.sample.script_sources import read_script

    settings = load_settings(SampleSettings, config=config, overrides=[*PRIOR_SAMPLING, *(set_ or ())])
    requested, waveform = read_script(script, clip=None, layer=None, caption=None), read_audio(audio)
    trained = load_prior(run, device=find_device(device))
    started_s = time.monotonic()
    signals = sample_motion(trained, requested, waveform, settings)
    seconds = time.monotonic() - started_s
    write_preview(signals, requested, waveform, out, spreads=prior_spreads(trained))
    if as_json:
        print_json({"out": str(out), "frames": signals.frames, "sampling_seconds": round(seconds, 3)})
    else:
        console().print(f"{signals.frames / 25:.1f} s of motion, sampled in {seconds:.1f} s: {out}", markup=False)


@app.command("evaluate")
def evaluate_(
    run: RunFolder,
    folders: SetFolders,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="JSON file of all scores (default: RUN/STAGE/evaluation.json).", **LOCAL_PATH),
    ] = None,
    stage: StageOption = None,
    device: DeviceOption = None,
    config: Config = None,
    set_: EvaluateSetOption = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Sample the held-out clips, measure faces and actions in them, and score them against the real clips.

    The same command continues a stopped evaluation; finished clips are not sampled again.

    Examples: xsheet train evaluate my-run my-set --set max_clips=64

    xsheet train evaluate my-run talks interviews
    """
    from xsheet.schemas.settings import load_settings
    from xsheet.train.evaluate.evaluate import EvaluationSettings, evaluate

    settings = load_settings(EvaluationSettings, config=config, overrides=set_ or ())
    if dry_run:
        show_settings(settings, as_json=as_json)
        return
    from xsheet.cli.show import console, print_json
    from xsheet.runtime.lock import write_lock
    from xsheet.schemas.files import read_json
    from xsheet.schemas.sets import open_set
    from xsheet.train.loop.step import explain_out_of_memory

    for folder in folders:
        open_set(folder)
    if not (quiet or as_json):
        log_training_to_stderr()
    name = _stage(run, stage)
    contents = f"{settings.batch_size} samples"
    out = out or run / name / "evaluation.json"
    with (
        write_lock(run / name),  # not that of the run, which may train its next stage
        explain_out_of_memory(where="evaluation", contents=contents, hint="use --set batch_size=1"),
    ):
        evaluation = evaluate(
            run, folders, settings, stage=name, device=find_device(device),
            parts_file=run / name / "evaluation-parts.jsonl",
        )  # fmt: skip
        evaluation.write(out)
    if as_json:
        print_json(
            {
                "out": str(out),
                "stage": name,
                "clips": len(evaluation.samples),
                "numbers": read_json(out)["numbers"],
            }
        )
        return
    console().print(evaluation.table(), markup=False, soft_wrap=True)
    console().print(
        f"{len(evaluation.samples)} clips of {settings.split}, sampled by {name}; all scores: {out}", markup=False
    )


@app.command("export")
def export_(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="New folder for the weights.", **LOCAL_PATH)],
    stage: StageOption = None,
    merge_lora: Annotated[
        bool,
        typer.Option(
            "--merge-lora", help="Merge low-rank updates into the weights instead of writing them separately."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Export a trained model for diffusers: backbone, complete avatar with its pipeline, low-rank updates, model card.

    Example: xsheet train export my-run --out my-model
    """
    from xsheet.cli.show import print_json
    from xsheet.train.export import export
    from xsheet.train.exported.card import backbone_lines, pipeline_lines

    name = _stage(run, stage)
    export(run, out, stage=name, merge_lora=merge_lora)
    if as_json:
        print_json({"out": str(out), "stage": name})
        return
    at = out.absolute()
    typer.echo(
        f"# {name} is in {out}. The backbone, with diffusers alone:\n{backbone_lines(at)}\n"
        f"# The avatar, with xsheet; then pipe(portrait=..., audio=..., script=..., out=...):\n{pipeline_lines(at)}\n"
        f"# In a shell: xsheet train sample {out} --portrait P --audio A --script S --out O.mp4",
    )


def show_settings(settings: "StrictModel", *, as_json: bool) -> None:
    """Print all settings of a dry run, as YAML or JSON."""
    from xsheet.cli.show import print_json
    from xsheet.schemas.settings import to_yaml

    if as_json:
        print_json(settings.model_dump(mode="json"))
    else:
        typer.echo(to_yaml(settings))


def log_training_to_stderr() -> None:
    """Print the log of training on stderr."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("xsheet.train")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _stage(run: Path, requested: str | None) -> str:
    """The requested stage, else the last finished one."""
    from xsheet.train.sample.sampler import last_finished_stage, run_settings

    settings = run_settings(run)
    return last_finished_stage(run, settings) if requested is None else settings.stage(requested).name


def find_device(requested: str | None) -> str:
    """Name of the torch device; ConfigError if this machine does not have it."""
    import torch

    from xsheet.schemas.errors import ConfigError

    gpus = torch.cuda.device_count()
    known = ("cpu", *(("cuda",) if gpus else ()), *(f"cuda:{k}" for k in range(gpus)))
    if requested is not None and requested not in known:
        raise ConfigError(
            where="--device",
            expected=f"one of {', '.join(known)}",
            got=repr(requested),
            hint="choose one, or omit --device",
        )
    return requested or ("cuda" if gpus else "cpu")
