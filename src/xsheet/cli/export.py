"""`xsheet export`: the clips of a set with captions for another trainer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from xsheet.cli.options import (
    AsJson,
    Config,
    DryRun,
    Jobs,
    Quiet,
    Ray,
    Set,
    SetFolder,
    cpu_count,
    path_or_url,
)

if TYPE_CHECKING:
    from xsheet.export.pipeline import ExportPlan, ExportSummary


def export(
    folder: SetFolder,
    out: Annotated[
        Path,
        typer.Option("--out", help="New or empty folder for the export, or its URL.", parser=path_or_url),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="KIND",
            help="folder, hf, webdataset, musubi, diffsynth, ltx, diffusion-pipe, simpletuner, finetrainers or tie.",
        ),
    ],
    layer: Annotated[
        str, typer.Option("--layer", "-l", help="Layer name; add @RUN or @MODEL if several runs wrote it.")
    ] = "accepted",
    captions: Annotated[
        str, typer.Option("--captions", metavar="base|timed|prose", help="Whole clip, with timed phases, or prose.")
    ] = "timed",
    fps: Annotated[
        int | None, typer.Option("--fps", help="Frame rate of the model (default: 25, as in the set).")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", help="Frames per video, cut from the start (default: the whole clip).")
    ] = None,
    splits: Annotated[
        str | None, typer.Option("--splits", metavar="NAME,NAME", help="Splits to export (default: train,val,test).")
    ] = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="Add a mirrored copy of each training clip, captions included.")
    ] = False,
    config: Config = None,
    set_: Set = None,
    jobs: Jobs = None,
    ray: Ray = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the clips of a set with captions for another trainer. The same command continues a stopped export.

    Example: xsheet export my-set --out my-export --to musubi --fps 16 --frames 49
    """
    from xsheet.cli.show import console, format_size
    from xsheet.export.pipeline import export_set, plan_export
    from xsheet.export.settings import ExportKind, ExportSettings
    from xsheet.runtime.executor import Execution
    from xsheet.schemas.errors import ConfigError
    from xsheet.schemas.settings import load_settings

    if to not in get_args(ExportKind):
        expected = f"one of {', '.join(get_args(ExportKind))}"
        raise ConfigError(where="--to", expected=expected, got=repr(to), hint="see docs/export.md")
    overrides = [f"kind={to}", f"layer={layer}", f"captions={captions}", f"mirrored={str(mirrored).lower()}"]
    overrides += [f"fps={fps}"] if fps is not None else []
    overrides += [f"frames={frames}"] if frames is not None else []
    overrides += [f"splits=[{splits}]"] if splits is not None else []
    settings = load_settings(ExportSettings, config=config, overrides=[*overrides, *(set_ or ())])
    if dry_run:
        _show_plan(plan_export(folder, settings), out, as_json=as_json)
        return
    execution = Execution(jobs=jobs or cpu_count(), ray=ray)
    summary = export_set(folder, out, settings, execution=execution, shows_progress=not (quiet or as_json))
    if as_json:
        _show_summary_json(summary, out)
        return
    _show_left_out(summary.plan)
    counts = ", ".join(f"{count} {name}" for name, count in summary.plan.counts().items())
    console().print(
        f"{counts}: {summary.plan.hours:.2f} hours, {summary.files} files, {format_size(summary.bytes)} in {out}\n"
        f"next: {summary.next_step}",
        markup=False,
    )


def _show_plan(plan: "ExportPlan", out: Path, *, as_json: bool) -> None:
    from xsheet.cli.show import console, format_size, print_json

    if as_json:
        print_json(_plan_json(plan, out))
        return
    _show_left_out(plan)
    counts = ", ".join(f"{count} {name}" for name, count in plan.counts().items())
    about = "about " if plan.encoded else ""
    console().print(
        f"{counts} from {plan.layer}: {plan.hours:.2f} hours, {about}{format_size(plan.estimated_bytes)}, "
        f"{plan.encoded} videos to encode, {len(plan.samples) - plan.encoded} to copy to {out}; nothing was written",
        markup=False,
    )


def _show_left_out(plan: "ExportPlan") -> None:
    from xsheet.cli.show import print_table

    if plan.left_out:
        print_table("clips left out", ("reason", "clips"), sorted(plan.left_out.items()))


def _plan_json(plan: "ExportPlan", out: Path) -> dict[str, object]:
    return {
        "out": str(out), "layer": plan.layer, "samples": plan.counts(), "left_out": dict(plan.left_out),
        "hours": round(plan.hours, 4), "estimated_bytes": plan.estimated_bytes, "encoded": plan.encoded,
    }  # fmt: skip


def _show_summary_json(summary: "ExportSummary", out: Path) -> None:
    from xsheet.cli.show import print_json

    print_json(
        _plan_json(summary.plan, out)
        | {"files": summary.files, "bytes": summary.bytes, "written": summary.written, "next": summary.next_step}
    )
