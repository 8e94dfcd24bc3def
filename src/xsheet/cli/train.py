"""`xsheet train`: an accepted layer to a model, in the stages of the settings."""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli import trained
from xsheet.cli.options import AsJson, Config, DryRun, Jobs, Quiet, Ray, RetryFailed, Set, SetFolder, cpu_count
from xsheet.cli.trained import log_training_to_stderr, show_settings

if TYPE_CHECKING:
    from xsheet.schemas.settings import SettingsSection
    from xsheet.train.settings import TrainSettings
    from xsheet.train.stage_summary import FirstLast

app = typer.Typer(help="An accepted layer to a talking avatar, in stages.", no_args_is_help=True)

PresetName = Annotated[str, typer.Option("--size", "-s", help="Preset: tiny (a CPU) or wan2.2-ti2v-5b (GPUs).")]
GpusOption = Annotated[bool, typer.Option("--gpus", help="A GPU for each worker.")]
MODEL_MEMORY_MB = 1 << 20  # encoders of the real size take what memory there is


@app.command()
def cache(
    folder: SetFolder,
    size: PresetName = "tiny",
    config: Config = None,
    set_: Set = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N clips.")] = None,
    jobs: Jobs = None,
    ray: Ray = None,
    gpus: GpusOption = False,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Encode the clips of a set once: latents, text, sound, masks. A stopped run goes on where it was.

    Exit 1 when a clip failed.

    Example: xsheet train cache my-set --size tiny
    """
    settings = preset_settings(size, config, set_)
    if dry_run:
        show_settings(settings)
        return
    from xsheet.cli.show import console, print_json, print_table
    from xsheet.runtime.executor import Execution
    from xsheet.schemas.sets import open_set
    from xsheet.train.data.cache.build import build_cache

    open_set(folder)
    how = Execution(
        jobs=jobs or (1 if gpus else cpu_count()),
        ray=ray,
        gpus_per_worker=float(gpus),
        memory_mb=MODEL_MEMORY_MB if gpus else 8192,
    )
    built = build_cache(
        folder, settings.cache, execution=how, device="cuda" if gpus else "cpu", limit=limit, retry_failed=retry_failed,
        shows_progress=not (quiet or as_json),
    )  # fmt: skip
    buckets = {f"{b.frames} × {b.height} × {b.width}": count for b, count in built.buckets.items()}
    if as_json:
        print_json({
            "set": str(folder), "fingerprint": built.spec.fingerprint, "clips": built.clip_count,
            "annotated": built.annotated_count, "buckets": buckets, "rejected": dict(built.rejected_by_reason),
            "failed": built.failed_count, "psnr_db": list(built.psnr_db), "seconds": round(built.seconds, 2),
        })  # fmt: skip
        raise typer.Exit(1 if built.failed_count else 0)
    print_table("stretches of clips, frames × height × width", ("size", "count"), list(buckets.items()))
    left = ", ".join(f"{count} left out: {reason}" for reason, count in sorted(built.rejected_by_reason.items()))
    psnr = f"decoded again at {min(built.psnr_db):.1f} dB or better; " if built.psnr_db else ""
    console().print(
        f"{built.clip_count} clips, {built.annotated_count} with phases, {built.failed_count} "
        f"failed{'; ' + left if left else ''}\n"
        f"{psnr}{built.seconds:.0f} s. next: xsheet train run {folder} --out RUN",
        markup=False,
    )
    raise typer.Exit(1 if built.failed_count else 0)


@app.command("run")
def run_(
    folder: SetFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoints, metrics, weights.")],
    stages: Annotated[
        str | None, typer.Option("--stages", metavar="NAME,NAME", help="Stages of the settings (default: all).")
    ] = None,
    size: PresetName = "tiny",
    config: Config = None,
    set_: Set = None,
    workers: Annotated[
        int, typer.Option("--workers", "-w", min=0, help="0 = in this process; else Ray Train workers.")
    ] = 0,
    gpus: GpusOption = False,
    ray: Annotated[str | None, typer.Option("--ray", metavar="ADDRESS", help="Ray cluster of the workers.")] = None,
    no_watch: Annotated[
        bool, typer.Option("--no-watch", help="No held-out loss and no pictures of samples on the way.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train the stages of the settings on the cache of a set.

    A stopped run goes on from its last checkpoint, to the same bits; a finished stage is not run again.

    Example: xsheet train run my-set --out my-run
    """
    settings = preset_settings(size, config, set_)
    names = settings.select_stages(None if stages is None else stages.split(","))
    if dry_run:
        show_settings(settings)
        return
    from xsheet.schemas.sets import open_set
    from xsheet.train.evaluate.validation import ValidationCallback, ValidationSettings
    from xsheet.train.launch import WorkerSettings
    from xsheet.train.run import train_stages

    open_set(folder)
    if not (quiet or as_json):
        log_training_to_stderr()
    watch = None if no_watch else ValidationCallback(ValidationSettings())
    how, began = WorkerSettings(count=workers, use_gpu=gpus, ray_address=ray), time.monotonic()
    try:
        train_stages(folder, settings, stages=names, out=out, workers=how, validation=watch)
    except KeyboardInterrupt:
        _print_checkpoint(out, names)
        raise
    _print_summary(out, names, folder, seconds=time.monotonic() - began, as_json=as_json)


app.add_typer(trained.app)  # sample, evaluate, export


def preset_settings(
    preset_name: str, config: "Path | SettingsSection | None", overrides: list[str] | None
) -> "TrainSettings":
    """Settings of a run from the preset of a size, a file and single values."""
    from importlib.resources import files

    from xsheet.schemas.errors import ConfigError
    from xsheet.schemas.settings import load_settings
    from xsheet.train.settings import TrainSettings

    folder = files("xsheet.train") / "presets"
    known = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    if preset_name not in known:
        raise ConfigError(
            where="--size", expected=f"one of {', '.join(known)}", got=repr(preset_name), hint="use --config for a file"
        )
    return load_settings(TrainSettings, preset=folder / f"{preset_name}.yaml", config=config, overrides=overrides or ())


def _print_summary(out: Path, names: Sequence[str], folder: Path, *, seconds: float, as_json: bool) -> None:
    """The summary of a run, on one screen."""
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table
    from xsheet.train.stage_summary import stage_summary

    ended = [stage_summary(out, name) for name in names]
    if as_json:
        print_json({"out": str(out), "stages": [asdict(one) for one in ended], "seconds": round(seconds, 2)})
        return
    heads = ("stage", "steps", "skipped", "loss", "held-out loss", "checkpoint")
    rows = [
        (
            one.stage,
            one.steps,
            one.skipped_steps,
            _format_change(one.loss),
            _format_change(one.held_out_loss),
            one.checkpoint,
        )
        for one in ended
    ]
    print_table(f"trained in {timedelta(seconds=round(seconds))}", heads, rows)
    console().print(
        f"weights, metrics, TensorBoard and pictures of samples: {out}\n"
        f"next: xsheet train sample {out} --portrait P --sound S --sheet SHEET --out O.mp4, "
        f"xsheet train evaluate {out} {folder}",
        markup=False,
    )


def _print_checkpoint(out: Path, names: Sequence[str]) -> None:
    from xsheet.train.stage_summary import latest_checkpoint

    saved = [f"{name}, {step}" for name in names if (step := latest_checkpoint(out, name)) is not None]
    typer.echo(f"last checkpoint: {saved[-1] if saved else 'none yet'}", err=True)


def _format_change(values: "FirstLast | None") -> str | None:
    return None if values is None else f"{values[0]:.3f} → {values[1]:.3f}"
