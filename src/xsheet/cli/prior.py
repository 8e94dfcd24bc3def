"""`xsheet train prior` and `preview`: motion of a script without a picture."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from xsheet.cli.options import LOCAL_PATH, AsJson, Config, DryRun, Jobs, Quiet, Set, SetFolders, cpu_count
from xsheet.cli.trained import DeviceOption, SampleSetOption, find_device, log_training_to_stderr, show_settings

app = typer.Typer()


@app.command("prior")
def prior_(
    folders: SetFolders,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoints, metrics, weights.", **LOCAL_PATH)],
    config: Config = None,
    set_: Set = None,
    jobs: Jobs = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a prior of motion on the measured series of the sets: minutes on a CPU, no pictures.

    It encodes what is not encoded yet and trains; the same command continues a stopped run. The prior previews a script
    (`train preview`) and drives a sample of the variant actalker (`train sample --prior`).

    Example: xsheet train prior my-set --out my-prior
    """
    from xsheet.train.prior import prior_settings

    settings = prior_settings(set_ or (), config)
    if dry_run:
        show_settings(settings, as_json=as_json)
        return
    from xsheet.cli.show import console, print_json
    from xsheet.runtime.executor import Execution
    from xsheet.schemas.sets import open_set
    from xsheet.train.data.cache.build import build_cache
    from xsheet.train.evaluate.validation import ValidationCallback, ValidationSettings
    from xsheet.train.launch import WorkerSettings
    from xsheet.train.run import WeightedSet, train_stages

    for folder in folders:
        open_set(folder)
    shows_progress = not (quiet or as_json)
    if shows_progress:
        log_training_to_stderr()
    started_s = time.monotonic()
    execution = Execution(jobs=jobs or cpu_count())
    clips = sum(
        build_cache(folder, settings.cache, execution=execution, shows_progress=shows_progress).clip_count
        for folder in folders
    )
    train_stages(
        [WeightedSet(folder) for folder in folders], settings, out=out, workers=WorkerSettings(),
        validation=ValidationCallback(ValidationSettings()),
    )  # fmt: skip
    seconds = time.monotonic() - started_s
    if as_json:
        print_json({"out": str(out), "clips": clips, "seconds": round(seconds, 2)})
    else:
        console().print(
            f"trained on {clips} clips in {timedelta(seconds=round(seconds))}: {out}\n"
            f"next: xsheet train preview {out} --audio A --script S --out preview.html, "
            f"xsheet train evaluate {out} {folders[0]}",
            markup=False,
        )


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
    """Write a page that plays the motion of a script over its audio as a schematic face, before any picture is drawn.

    Example: xsheet train preview my-prior --audio ada.wav --script nod.yaml --out preview.html
    """
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.settings import load_settings
    from xsheet.train.prior.motion import load_prior, sample_motion
    from xsheet.train.prior.preview import write_preview
    from xsheet.train.sample.sample import read_audio
    from xsheet.train.sample.sampler import SampleSettings
    from xsheet.train.sample.script_sources import read_script

    settings = load_settings(SampleSettings, config=config, overrides=["steps=25", *(set_ or ())])
    requested, waveform = read_script(script, clip=None, layer=None, caption=None), read_audio(audio)
    trained = load_prior(run, device=find_device(device))
    started_s = time.monotonic()
    signals = sample_motion(trained, requested, waveform, settings)
    seconds = time.monotonic() - started_s
    write_preview(signals, requested, waveform, out, spreads=trained.encoders.video.spreads)
    if as_json:
        print_json({"out": str(out), "frames": signals.frames, "sampling_seconds": round(seconds, 3)})
    else:
        console().print(f"{signals.frames / 25:.1f} s of motion, sampled in {seconds:.1f} s: {out}", markup=False)
