"""The output folder of an export: check it, describe its content, continue or clean up an earlier run.

OUT/export.json   kind, layer, settings, counts; "complete" is false until everything is written
OUT/SHA256SUMS    hash of every file, for `sha256sum --check`
OUT/.commits/     videos that are finished; the same command continues a stopped export
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

from xsheet import __version__
from xsheet.export.media import SHARD_PREFIX, ExportedFile
from xsheet.export.settings import ExportSettings
from xsheet.runtime.lock import check_new_folder
from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.files import decode_json, remove_temporary_files, write_text
from xsheet.schemas.ids import checksum_lines
from xsheet.schemas.source import SplitName

DESCRIPTION, CHECKSUMS = "export.json", "SHA256SUMS"


def check_output(out: Path, settings: ExportSettings, *, layer: str) -> None:
    """Check that a folder may hold this export: it is new, empty, or holds the same export.

    Raises:
        ConfigError: the folder has other content or another export; nothing was changed.
    """
    description = out / DESCRIPTION
    if not description.exists():
        check_new_folder(out)
        return
    try:
        before = decode_json(description.read_text(encoding="utf-8"))
        wanted = export_identity(settings, layer=layer)
        same = {name: before[name] for name in wanted} == wanted
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            where=str(out), expected="a new or empty folder, or an export", got="a folder with other content",
            hint="choose another folder; nothing was changed",
        ) from None  # fmt: skip
    if not same:
        raise ConfigError(
            where=str(out), expected="an export with the same layer and settings",
            got=f"{before['kind']} of {before['layer']} with other settings",
            hint="choose another folder; nothing was changed",
        )  # fmt: skip


def describe(out: Path, settings: ExportSettings, *, layer: str, facts: Mapping[str, Any], complete: bool) -> None:
    """Write export.json."""
    description = export_identity(settings, layer=layer) | {"xsheet": __version__, "complete": complete} | dict(facts)
    write_text(out / DESCRIPTION, json.dumps(description, indent=2, ensure_ascii=False) + "\n")


def export_identity(settings: ExportSettings, *, layer: str) -> dict[str, Any]:
    """What two runs over one folder must agree about, as export.json states it."""
    return {"kind": settings.kind, "layer": layer, "settings": settings.model_dump(mode="json")}


@contextmanager
def swept(out: Path) -> Iterator[None]:
    """Remove what killed writers left in an export, before the block and after it, even if it fails."""
    _remove_leftovers(out)
    try:
        yield
    finally:
        with suppress(OSError):  # what ended the command is what to report
            _remove_leftovers(out)


def _remove_leftovers(out: Path) -> None:
    for folder in (out, *(out / split for split in get_args(SplitName))):
        if folder.resolve().parent in (out.resolve(), out.resolve().parent):  # a link leads out of the export
            remove_temporary_files(folder)
    for folder in out.glob(f"{SHARD_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def check_files(out: Path, files: Sequence[ExportedFile]) -> None:
    """Check that files of an earlier run are still there.

    Raises:
        RunError: one is missing or has another size.
    """
    for row in files:
        path = out / row.file
        if not path.is_file() or path.stat().st_size != row.size_bytes:
            raise RunError(
                where=str(path), expected=f"the file of {row.size_bytes} bytes that an earlier run wrote",
                got="another file" if path.exists() else "no file",
                hint=f"remove the folder {out / '.commits'} and run again",
            )  # fmt: skip


def write_checksums(out: Path, files: Sequence[ExportedFile]) -> None:
    """Write SHA256SUMS and remove the files of an earlier run that are no longer part of the export."""
    path = out / CHECKSUMS
    current = {row.file: row.sha256 for row in files}
    earlier = listed_checksums(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else {}
    write_text(path, checksum_lines(current))
    for file in sorted(set(earlier) - set(current)):
        stale = out / file
        if stale.resolve().is_relative_to(out.resolve()) and stale.is_file():
            stale.unlink()


def listed_checksums(text: str) -> dict[str, str]:
    """{file: hash} of the lines of SHA256SUMS."""
    rows = (line.partition("  ") for line in text.splitlines())
    return {name: sha256 for sha256, _, name in rows if name}
