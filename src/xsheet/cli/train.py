"""`xsheet train`: encode the clips of a set, train the model in stages."""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli import trained
from xsheet.cli.options import (
    LOCAL_PATH,
    AsJson,
    Config,
    DryRun,
    Gpus,
    Jobs,
    Quiet,
    Ray,
    RetryFailed,
    Set,
    SetFolders,
    cpu_count,
    find_preset,
)
from xsheet.cli.trained import log_training_to_stderr, show_settings

if TYPE_CHECKING:
    from xsheet.schemas.settings import SettingsSection
    from xsheet.train.data.cache.build import CacheBuildResult
    from xsheet.train.settings import TrainSettings
    from xsheet.train.stage_summary import FirstLast

app = typer.Typer(
    help="Train a talking avatar on an accepted layer, in stages; sample, evaluate, export.", no_args_is_help=True
)

Preset = Annotated[
    str,
    typer.Option(
        "--preset", "-p", metavar="NAME", help="Model and schedule: tiny (CPU), wan2.2-ti2v-5b or actavatar (GPUs)."
    ),
]
MODEL_MEMORY_MB = 1 << 20  # in effect no limit: the encoders of the full-size model need most of the memory


@app.command()
def cache(
    folders: SetFolders,
    preset: Preset = "tiny",
    config: Config = None,
    set_: Set = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Encode only the first N clips of a set.")] = None,
    jobs: Jobs = None,
    ray: Ray = None,
    gpus: Gpus = 0.0,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Encode the clips of each set once: latents, text, audio, masks. The same command continues a stopped run.

    Exit 1 when a clip failed.

    Example: xsheet train cache my-set --preset tiny
    """
    settings = preset_settings(preset, config, set_)
    if dry_run:
        show_settings(settings, as_json=as_json)
        return
    from xsheet.cli.show import console, print_json
    from xsheet.runtime.executor import Execution
    from xsheet.runtime.lock import write_locks
    from xsheet.schemas.sets import open_set
    from xsheet.train.data.cache.build import build_cache

    for folder in folders:
        open_set(folder)
    execution = Execution(
        jobs=jobs or (1 if gpus else cpu_count()),
        ray=ray,
        gpus_per_worker=gpus,
        memory_mb=MODEL_MEMORY_MB if gpus else 8192,
    )
    documents, failed = [], 0
    with write_locks(folders):
        for folder in folders:
            built = build_cache(
                folder, settings.cache, execution=execution, device="cuda" if gpus else "cpu", limit=limit,
                retry_failed=retry_failed, shows_progress=not (quiet or as_json),
            )  # fmt: skip
            failed += built.failed_count
            documents.append(_cache_json(folder, built))
            if not as_json:
                _show_cache(folder, built)
    if as_json:
        print_json(documents[0] if len(documents) == 1 else {"sets": documents})
    else:
        console().print(f"next: xsheet train run {' '.join(map(str, folders))} --out RUN", markup=False)
    raise typer.Exit(1 if failed else 0)


@app.command("run")
def run_(
    folders: SetFolders,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoints, metrics, weights.", **LOCAL_PATH)],
    stages: Annotated[
        str | None,
        typer.Option(
            "--stages", metavar="NAME,NAME", help="Stages to train, by their names in the settings (default: all)."
        ),
    ] = None,
    preset: Preset = "tiny",
    config: Config = None,
    set_: Set = None,
    workers: Annotated[
        int,
        typer.Option("--workers", "-w", min=0, help="Training ranks, as Ray Train workers; 0 trains in this process."),
    ] = 0,
    gpus: Annotated[
        int, typer.Option("--gpus", min=0, max=1, metavar="N", help="GPUs per worker (0 or 1); needs --workers.")
    ] = 0,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="auto|ADDRESS", help="Ray cluster to start the workers on.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="W,W,...",
            help="How often an epoch repeats the clips of each set, in the order of SET... (default: 1).",
        ),
    ] = None,
    no_validation: Annotated[
        bool, typer.Option("--no-validation", help="Skip the held-out loss and the sample images during training.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train the stages of the settings on the caches of one or several sets.

    The same command continues a stopped run from its last checkpoint, bit for bit; a finished stage is skipped.

    Examples: xsheet train run my-set --out my-run

    xsheet train run talks interviews --weights 1,0.5 --out my-run
    """
    settings = preset_settings(preset, config, set_)
    names = settings.select_stages(None if stages is None else stages.split(","))
    parsed_weights = _parse_weights(weights, len(folders))
    if dry_run:
        show_settings(settings, as_json=as_json)
        return
    from xsheet.schemas.sets import open_set
    from xsheet.train.evaluate.validation import ValidationCallback, ValidationSettings
    from xsheet.train.launch import WorkerSettings
    from xsheet.train.run import WeightedSet, train_stages

    for folder in folders:
        open_set(folder)
    sets = [WeightedSet(folder, weight) for folder, weight in zip(folders, parsed_weights, strict=True)]
    if not (quiet or as_json):
        log_training_to_stderr()
    validation = None if no_validation else ValidationCallback(ValidationSettings())
    ranks = WorkerSettings(count=workers, use_gpu=bool(gpus), ray_address=ray)
    started_s = time.monotonic()
    try:
        train_stages(sets, settings, stages=names, out=out, workers=ranks, validation=validation)
    except KeyboardInterrupt:
        _print_checkpoint(out, names)
        raise
    _print_summary(out, names, folders[0], seconds=time.monotonic() - started_s, as_json=as_json)


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
    """Train a motion prior on the measured motion curves of the sets; it takes minutes on a CPU and uses no pixels.

    Clips that are not cached yet are encoded first. The same command continues a stopped run. The prior previews a
    script (`train preview`) and drives samples of the variant actalker (`train sample --prior`).

    Example: xsheet train prior my-set --out my-prior
    """
    from xsheet.train.prior import prior_settings

    settings = prior_settings(set_ or (), config)
    if dry_run:
        show_settings(settings, as_json=as_json)
        return
    from xsheet.cli.show import console, print_json
    from xsheet.runtime.executor import Execution
    from xsheet.runtime.lock import write_locks
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
    with write_locks([*folders, out]):
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


app.add_typer(trained.app)  # sample, write-script, preview, evaluate, export


def preset_settings(
    preset: str, config: "Path | SettingsSection | None", overrides: list[str] | None
) -> "TrainSettings":
    """Settings of a run from a preset, a file and overrides."""
    from xsheet.schemas.settings import load_settings
    from xsheet.train.settings import TrainSettings

    file = find_preset("xsheet.train", preset)
    return load_settings(TrainSettings, preset=file, config=config, overrides=overrides or ())


def _parse_weights(text: str | None, count: int) -> list[float]:
    """Weights of the sets from `1,0.5`.

    Raises:
        ConfigError: not numbers, or not one per set.
    """
    from xsheet.schemas.errors import ConfigError

    if text is None:
        return [1.0] * count
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count:
        raise ConfigError(
            where="--weights", expected=f"{count} numbers, one per set", got=repr(text[:80]),
            hint="write e.g. --weights 1,0.5",
        )  # fmt: skip
    return found


def _cache_json(folder: Path, built: "CacheBuildResult") -> dict[str, object]:
    return {
        "set": str(folder), "fingerprint": built.spec.fingerprint, "clips": built.clip_count,
        "annotated": built.annotated_count, "hidden_phases": built.hidden_phase_count,
        "buckets": _bucket_counts(built),
        "rejected": dict(built.rejected_by_reason), "failed": built.failed_count, "psnr_db": list(built.psnr_db),
        "seconds": round(built.seconds, 2),
    }  # fmt: skip


def _bucket_counts(built: "CacheBuildResult") -> dict[str, int]:
    return {f"{b.frames} × {b.height} × {b.width}": count for b, count in built.buckets.items()}


def _show_cache(folder: Path, built: "CacheBuildResult") -> None:
    """Print the summary of a built cache."""
    from xsheet.cli.show import console, print_table

    print_table(
        f"cached windows of {folder}", ("frames × height × width", "count"), list(_bucket_counts(built).items())
    )
    rejected = ", ".join(f"{count} rejected: {reason}" for reason, count in sorted(built.rejected_by_reason.items()))
    psnr = f"reconstruction PSNR at least {min(built.psnr_db):.1f} dB; " if built.psnr_db else ""
    hidden = (
        f"{built.hidden_phase_count} phases of arms and shoulders are outside the crops: their texts leave them out\n"
        if built.hidden_phase_count
        else ""
    )
    console().print(
        f"{built.clip_count} clips, {built.annotated_count} with phases, {built.failed_count} "
        f"failed{'; ' + rejected if rejected else ''}\n"
        f"{hidden}{psnr}{built.seconds:.0f} s",
        markup=False,
    )


def _print_summary(out: Path, names: Sequence[str], folder: Path, *, seconds: float, as_json: bool) -> None:
    """Print the summary of a run."""
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table
    from xsheet.train.stage_summary import stage_summary

    summaries = [stage_summary(out, name) for name in names]
    if as_json:
        print_json({"out": str(out), "stages": [asdict(one) for one in summaries], "seconds": round(seconds, 2)})
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
        for one in summaries
    ]
    print_table(f"trained in {timedelta(seconds=round(seconds))}", heads, rows)
    console().print(
        f"weights, metrics, TensorBoard logs and sample images: {out}\n"
        f"next: xsheet train sample {out} --portrait P --audio A --script S --out O.mp4, "
        f"xsheet train evaluate {out} {folder}",
        markup=False,
    )


def _print_checkpoint(out: Path, names: Sequence[str]) -> None:
    from xsheet.train.stage_summary import latest_checkpoint

    saved = [f"{name}, {step}" for name in names if (step := latest_checkpoint(out, name)) is not None]
    typer.echo(f"last checkpoint: {saved[-1] if saved else 'none'}", err=True)


def _format_change(values: "FirstLast | None") -> str | None:
    return None if values is None else f"{values[0]:.3f} → {values[1]:.3f}"
