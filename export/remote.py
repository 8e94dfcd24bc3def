"""An export at a URL: written to a local copy, then uploaded under its file names, the description last.

    URL/export.json    "complete" is false while anything else is uploaded, and true at the end
    CACHE/exports/<key>/copy/    the export on this machine; the same command continues it
    CACHE/exports/<key>/uploaded    hash and name of every uploaded file

Trainers read an export by its file names, so unlike a set it is not replaced atomically: a reader that begins while
"complete" is false may find new captions beside old ones.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xsheet.export.folder import CHECKSUMS, DESCRIPTION, export_identity, listed_checksums
from xsheet.export.settings import ExportSettings
from xsheet.runtime.lock import write_lock
from xsheet.runtime.storage.attempts import NOTHING
from xsheet.runtime.storage.place import cache_folder
from xsheet.runtime.storage.stores import (
    delete_objects,
    list_objects,
    read_object,
    upload,
    upload_files,
    write_object,
)
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import decode_json
from xsheet.schemas.ids import content_key

MAX_DESCRIPTION_BYTES, MAX_CHECKSUM_BYTES = 16 << 20, 1 << 30


@contextmanager
def open_export_copy(url: str, settings: ExportSettings, *, layer: str) -> Iterator[Path]:
    """The local folder in which the export for a URL is written, locked while the block runs.

    Raises:
        ConfigError: other content or another export at the URL, or no access.
        RunError: another command of this machine writes the same export.
    """
    identity = export_identity(settings, layer=layer)
    _check_url(url, identity)
    folder = _top(url, identity) / "copy"
    folder.mkdir(parents=True, exist_ok=True)
    with write_lock(_top(url, identity)):
        yield folder


def upload_export(folder: Path, url: str) -> int:
    """Upload the missing files of a finished export and remove stale ones; returns the number of uploaded files.

    Raises:
        ConfigError: no access, or no answer.
        RunError: an upload failed; the same command uploads the remaining files.
    """
    description = (folder / DESCRIPTION).read_bytes()
    new = listed_checksums((folder / CHECKSUMS).read_text(encoding="utf-8"))
    published = read_object(f"{url}/{CHECKSUMS}", max_bytes=MAX_CHECKSUM_BYTES) or b""
    earlier, journal = listed_checksums(published.decode(errors="replace")), folder.parent / "uploaded"
    noted = journal.read_text(encoding="utf-8", errors="replace") if journal.exists() else ""
    arrived = earlier | listed_checksums(noted)
    sizes = {one.url.removeprefix(f"{url}/"): one.size_bytes for one in _listed(url)}
    missing = [
        name
        for name, sha256 in new.items()
        if arrived.get(name) != sha256 or sizes.get(name) != (folder / name).stat().st_size
    ]
    if (
        not missing
        and earlier == new
        and read_object(f"{url}/{DESCRIPTION}", max_bytes=MAX_DESCRIPTION_BYTES) == (description)
    ):
        return 0
    write_object(f"{url}/{DESCRIPTION}", json.dumps(decode_json(description) | {"complete": False}).encode())

    def note(arrived_url: str) -> None:
        name = arrived_url.removeprefix(f"{url}/")
        with journal.open("a", encoding="utf-8") as lines:
            lines.write(f"{new[name]}  {name}\n")

    upload_files({f"{url}/{name}": folder / name for name in missing}, on_arrival=note)
    stale = set(earlier) - set(new)
    delete_objects([f"{url}/{name}" for name in sorted(stale) if name in sizes])
    upload(folder / CHECKSUMS, f"{url}/{CHECKSUMS}")
    write_object(f"{url}/{DESCRIPTION}", description)
    return len(missing)


def _check_url(url: str, identity: Mapping[str, Any]) -> None:
    """Raise ConfigError unless there is nothing at the URL, or this export."""
    data = read_object(f"{url}/{DESCRIPTION}", max_bytes=MAX_DESCRIPTION_BYTES)
    try:
        before = None if data is None else decode_json(data)
        same = before is not None and {name: before[name] for name in identity} == identity
    except (ValueError, KeyError, TypeError):
        same = False
    found = [] if same else _listed(url)
    if found:
        raise ConfigError(
            where=url, expected="nothing, or an export with the same layer and settings",
            got="another export" if data is not None else f"{len(found)} other objects",
            hint="choose another URL; nothing was changed",
        )  # fmt: skip


def _listed(url: str) -> list[Any]:
    try:
        return list(list_objects(url))
    except ConfigError as error:
        if error.got != NOTHING:
            raise
        return []


def _top(url: str, identity: Mapping[str, Any]) -> Path:
    return cache_folder() / "exports" / content_key("export", url, identity)[:20]
