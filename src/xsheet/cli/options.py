"""Flags that several verbs share, said once."""

import os
from pathlib import Path
from typing import Annotated

import typer

Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Workers side by side; all cores if left out.")]
Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="auto|local|ADDRESS", help="Run on Ray instead of processes of this machine."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Preset = Annotated[str, typer.Option("--preset", help="Limits to start from: keep, train or stage2_motion.")]
Config = Annotated[Path | None, typer.Option("--config", help="YAML file with settings; wins over the preset.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. sync.lips.min_confidence=3.")
]
Models = Annotated[
    Path | None,
    typer.Option("--models", envvar="XSHEET_MODELS", help="Folder of model files; the bundled ones serve without it."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N inputs.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try those again that had failed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
SetFolder = Annotated[Path, typer.Argument(metavar="SET", help="Folder of the set.")]


def cpu_count() -> int:
    """Cores this process may use, which in a container is fewer than the machine has."""
    return len(os.sched_getaffinity(0))
