"""Inputs in object stores: described when a run starts, fetched by the worker that reads them."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from xsheet.curate.manifest import TABLE_SUFFIXES, ManifestEntry, read_manifest
from xsheet.runtime.storage.fetched import FetchCache
from xsheet.runtime.storage.stores import RemoteObject, read_object
from xsheet.schemas.errors import ConfigError, MediaError

MAX_MANIFEST_BYTES = 1 << 30


def remote_manifest(url: str, columns: Mapping[str, str]) -> list[ManifestEntry] | None:
    """The entries of a manifest at a URL; None if the URL names no table.

    Raises:
        ConfigError: it cannot be read, or is no manifest.
    """
    name = PurePosixPath(url).name
    if PurePosixPath(name).suffix.lower() not in TABLE_SUFFIXES or "*" in url:
        return None
    data = read_object(url, max_bytes=MAX_MANIFEST_BYTES)
    if data is None:
        raise ConfigError(where=url, expected="a manifest", got="no such object", hint="check the URL")
    with tempfile.TemporaryDirectory(prefix="xsheet-manifest-") as folder:
        table = Path(folder) / name
        table.write_bytes(data)
        try:
            return read_manifest(table, columns)
        except ConfigError as error:
            error.where = error.where.replace(str(table), url)
            raise


@contextmanager
def fetched(remote: RemoteObject, *, sha256: str | None, on_progress: Callable[[], None]) -> Iterator[Path]:
    """The local file of a remote input while the block runs; errors name the URL.

    Raises:
        MediaError: fetch_failed, or one of the block.
    """
    with FetchCache().file(remote, sha256=sha256, on_progress=on_progress) as path:
        try:
            yield path
        except MediaError as error:
            error.where = remote.url
            raise
