"""Options that several commands share, and the lookup of a named preset."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xsheet.runtime.storage.place import SCHEMES, is_other_url, is_url

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def path_or_url(text: str) -> Path | str:
    """A URL of a store as it is, any other text as a path.

    Raises:
        ConfigError: the URL of something else, which as a path would become a folder named e.g. `https:`.
    """
    if is_other_url(text):
        from xsheet.schemas.errors import ConfigError

        scheme = text.partition("://")[0]
        stores = ", ".join(f"{one}://" for one in SCHEMES)
        hint = "mount it, or copy it with its own tools"
        raise ConfigError(where=text, expected=f"a path, or a URL with {stores}", got=f"{scheme}://", hint=hint)
    return text if is_url(text) else Path(text)


def local_path(value: str | Path) -> Path:
    """The path of an option that does not accept URLs. Typer also passes default values, which are paths already.

    Raises:
        ConfigError: the value is a URL.
    """
    text = str(value)
    if isinstance(path_or_url(text), str):
        from xsheet.schemas.errors import ConfigError

        hint = "give a local path, then copy the result with the tools of the store"
        raise ConfigError(where="--out", expected="a folder or file on this machine", got=text, hint=hint)
    return Path(text)


LOCAL_PATH: dict[str, Any] = {"parser": local_path, "metavar": "PATH"}
"""Arguments of typer.Option for a path that must be local."""


def folder_at(*, exists: bool) -> "Callable[[typer.Context, Any], Any]":
    """Callback of a folder option (one or several): replaces a URL by a local copy, which is published on success."""

    def resolve(context: typer.Context, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [resolve(context, one) for one in value]
        return context.with_resource(_published(value, exists=exists)) if isinstance(value, str) else value

    return resolve


@contextmanager
def _published(url: str, *, exists: bool) -> Iterator[Path]:
    """The copy of a folder at a URL. A verb that ends with exit code 0 or 1 leaves a whole set, which is published."""
    from xsheet.cli.show import console
    from xsheet.runtime.storage.mirror import open_mirror
    from xsheet.schemas.errors import ConfigError

    with open_mirror(url) as mirror:
        if exists and not mirror.has_files:
            raise ConfigError(where=url, expected="a set", got="nothing", hint="check the URL")
        stopped: typer.Exit | None = None
        try:
            yield mirror.folder
        except typer.Exit as stop:
            if stop.exit_code not in (0, 1):
                raise
            stopped = stop
        files, size_bytes = mirror.publish()
        if files:
            text = f"published {url}: {files} files, {size_bytes / 1e6:.1f} MB"
            console(err=True).print(text, markup=False, soft_wrap=True)
        if stopped is not None:
            raise stopped


Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Worker processes for items (default: all CPU cores).")
]
StallTimeout = Annotated[
    float,
    typer.Option(
        "--stall-timeout",
        min=1,
        metavar="SECONDS",
        help="Fail an item without progress for this long; no other time limit exists.",
    ),
]
Gpus = Annotated[float, typer.Option("--gpus", min=0, metavar="N", help="GPUs per worker; 0 reserves none.")]
Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="auto|local|ADDRESS", help="Run on Ray instead of local processes."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")]
Config = Annotated[Path | None, typer.Option("--config", help="YAML file with settings; --set overrides it.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting; may be repeated.")
]
Models = Annotated[
    Path | None,
    typer.Option("--models", envvar="XSHEET_MODELS", help="Folder of model files (default: the bundled models)."),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="NAME=COLUMN,...", help="Columns of the manifest, e.g. path=video,start_s=start."
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Process only the first N inputs.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Process failed items again.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Hide progress.")]
URL_OF_A_SET: dict[str, Any] = {"parser": path_or_url, "callback": folder_at(exists=True)}
SetFolder = Annotated[Path, typer.Argument(metavar="SET", help="Folder of the set, or its URL.", **URL_OF_A_SET)]
SetFolders = Annotated[
    list[Path],
    typer.Argument(metavar="SET...", help="Folder or URL of each set; several are read as one.", **URL_OF_A_SET),
]
OutSet = Annotated[
    Path,
    typer.Option(
        "--out", metavar="SET", help="Folder of the set, or its URL.",
        parser=path_or_url, callback=folder_at(exists=False),
    ),
]  # fmt: skip
CuratePreset = Annotated[
    str, typer.Option("--preset", "-p", metavar="NAME", help="Limits to start from: keep, train, stage2_motion or all.")
]
Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--root", metavar="FOLDER", help="Another folder into which symbolic links are followed; may be repeated."
    ),
]
KeepsEarlier = Annotated[
    bool | None,
    typer.Option(
        "--add/--replace",
        help="Keep or remove the sources of the set that VIDEOS does not name (default: ask).",
        show_default=False,
    ),
]


def cpu_count() -> int:
    """CPU cores this process may use; in a container fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def find_preset(package: str, name: str) -> "Traversable":
    """The preset file `name`.yaml of a package.

    Raises:
        ConfigError: no such preset; the error lists the names.
    """
    from importlib.resources import files

    from xsheet.schemas.errors import ConfigError

    folder = files(package) / "presets"
    known = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    if name not in known:
        raise ConfigError(
            where="--preset", expected=f"one of {', '.join(known)}", got=repr(name), hint="use --config for a file"
        )
    return folder / f"{name}.yaml"


def parse_part_presets(values: Sequence[str], defaults: dict[str, str]) -> dict[str, str]:
    """Preset of each part from `PART=NAME` values; parts without a value keep their default.

    Raises:
        ConfigError: no `=`, or an unknown part.
    """
    from xsheet.schemas.errors import ConfigError

    presets = dict(defaults)
    for text in values:
        part, separator, name = text.partition("=")
        if not separator or part not in defaults:
            raise ConfigError(
                where="--preset",
                expected=f"PART=NAME with PART one of {', '.join(defaults)}",
                got=repr(text),
                hint="write e.g. --preset curate=train",
            )
        presets[part] = name
    return presets
