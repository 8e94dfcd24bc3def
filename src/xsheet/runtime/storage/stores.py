"""Objects of a store: list, describe, read, fetch, write, delete.

Credentials are those of the store's own tools (environment, configuration files, roles); xsheet does not handle them.
An object appears only when its upload is complete, also a multipart upload; leftovers of a failed upload are removed.
Failed requests are retried a few times.
"""

import fnmatch
import glob
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar

from pyarrow import fs

from xsheet.runtime.storage.attempts import NOTHING, nothing_hint, tried
from xsheet.runtime.storage.clients import open_store
from xsheet.runtime.storage.hub import commit
from xsheet.schemas.errors import ConfigError, RunError

CHUNK_BYTES = 8 << 20
TRANSFERS = 8  # at a time
COMMIT_FILES = 1000  # of one commit at the Hub, which takes minutes for more

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteObject:
    """One object as its store lists it."""

    url: str
    size_bytes: int
    version: str  # changes when the object is replaced: the time of that


def list_objects(url: str) -> list[RemoteObject]:
    """The object at a URL, all objects below a folder, or those that match a pattern with * or **; sorted by URL.

    Raises:
        ConfigError: nothing found, no access, or no answer.
    """
    store, path = open_store(url)
    fixed = _fixed_part(path)

    def find() -> list[fs.FileInfo]:
        info = store.get_file_info(fixed)
        if info.type == fs.FileType.File:
            return [info]
        return list(store.get_file_info(fs.FileSelector(fixed, recursive=True, allow_not_found=True)))

    found = [info for info in tried(find, url, is_first=True) if info.type == fs.FileType.File]
    objects = [_described(url, info) for info in found if fixed == path or _matches(info.path, path)]
    if not objects:
        raise ConfigError(
            where=url, expected="an object, a folder or a pattern", got=NOTHING,
            hint=nothing_hint(url),
        )  # fmt: skip
    return sorted(objects, key=lambda one: one.url)


def describe_objects(urls: Iterable[str]) -> dict[str, RemoteObject]:
    """Metadata of single objects by URL; absent objects, and URLs that can name none, have no entry.

    Raises:
        ConfigError: no access, or no answer.
    """
    by_bucket: dict[str, list[str]] = {}
    for url in filter(_can_name_an_object, urls):
        by_bucket.setdefault("/".join(url.split("/")[:3]), []).append(url)
    found: dict[str, RemoteObject] = {}
    for bucket, members in by_bucket.items():
        store, _ = open_store(members[0])
        paths = [_path_of(url) for url in members]
        for url, info in zip(members, tried(partial(store.get_file_info, paths), bucket), strict=True):
            if info.type == fs.FileType.File:
                found[url] = _described(url, info)
    return found


def read_object(url: str, *, max_bytes: int) -> bytes | None:
    """The bytes of a small object; None if there is none.

    Raises:
        ConfigError: it is larger, or cannot be read.
    """
    store, path = open_store(url)

    def read() -> bytes | None:
        info = store.get_file_info(path)
        if info.type != fs.FileType.File:
            return None
        if info.size > max_bytes:
            raise ConfigError(where=url, expected=f"at most {max_bytes} bytes", got=f"{info.size}", hint="shorten it")
        with store.open_input_stream(path) as stream:
            data: bytes = stream.read()
        if len(data) != info.size:
            raise ConnectionError(f"{len(data)} of {info.size} bytes")
        return data

    return tried(read, url, is_first=True)


def fetch(remote: RemoteObject, file: BinaryIO, *, on_progress: Callable[[], None] = lambda: None) -> None:
    """Write an object to an open file, from its start; `on_progress` is called after every chunk.

    Raises:
        ConfigError: no such object, no access, or the transfer is incomplete.
    """
    store, path = open_store(remote.url)

    def copy() -> None:
        file.seek(0)
        file.truncate()
        with store.open_input_stream(path) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                file.write(chunk)
                on_progress()
        file.flush()
        if file.tell() != remote.size_bytes:
            raise ConnectionError(f"{file.tell()} of {remote.size_bytes} bytes")

    tried(copy, remote.url)


def upload(file: Path, url: str) -> None:
    """Upload a file to a new object; a partial object is removed.

    Raises:
        RunError: it did not arrive whole.
    """
    size = file.stat().st_size

    def copy(stream: Any) -> None:
        with file.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                stream.write(chunk)

    _write(url, size, copy, in_parts=True)


def write_object(url: str, data: bytes) -> None:
    """Create or replace an object of a few MB in one request; readers see the old or the new content.

    Raises:
        RunError: it did not arrive whole.
    """
    _write(url, len(data), lambda stream: stream.write(data), in_parts=False)


def upload_files(files: Mapping[str, Path], *, on_arrival: Callable[[str], None] = lambda url: None) -> None:
    """Upload local files to objects of one store, several at a time; of the Hub, many in one commit.

    Args:
        files: by URL.
        on_arrival: called with each URL whose file has arrived, from several threads.

    Raises:
        RunError: one did not arrive whole.
    """

    def upload_one(url: str) -> None:
        upload(files[url], url)
        on_arrival(url)

    if not _is_hub(files):
        each_at_a_time(upload_one, files)
        return
    urls = sorted(files)
    for k in range(0, len(urls), COMMIT_FILES):
        some = urls[k : k + COMMIT_FILES]
        store, _ = open_store(some[0])
        try:
            tried(partial(commit, store, added={_path_of(url): files[url] for url in some}), some[0])
        except ConfigError as error:
            raise _not_arrived(some[0], f"{len(some)} objects", error) from error
        for url in some:
            on_arrival(url)


def delete_objects(urls: Sequence[str]) -> None:
    """Delete objects of one store; those that are gone already are passed over.

    Raises:
        ConfigError: no access, or no answer.
    """
    if _is_hub(urls):
        store, _ = open_store(urls[0])
        there = [_path_of(url) for url in describe_objects(urls)]
        tried(partial(commit, store, added={}, removed=there), urls[0])
        return
    for url in urls:
        store, path = open_store(url)

        if tried(partial(store.get_file_info, path), url).type == fs.FileType.File:
            tried(partial(store.delete_file, path), url)


def each_at_a_time(step: Callable[[T], None], values: Iterable[T]) -> None:
    """Call a function for each value, several at a time; the first error ends it."""
    with ThreadPoolExecutor(TRANSFERS) as pool:
        try:
            for _ in pool.map(step, values):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write(url: str, size: int, copy: Callable[[Any], object], *, in_parts: bool) -> None:
    store, path = open_store(url)

    def write() -> None:
        try:
            with store.open_output_stream(path) as stream:
                copy(stream)
        except Exception:
            # pyarrow cannot abort an upload: closing the stream completes the object from the uploaded parts.
            if in_parts:
                with suppress(Exception):
                    if store.get_file_info(path).size != size:
                        store.delete_file(path)
            raise
        if (found := store.get_file_info(path).size) != size:
            raise ConnectionError(f"{found} of {size} bytes")

    try:
        tried(write, url)
    except ConfigError as error:
        raise _not_arrived(url, f"an object of {size} bytes", error) from error


def _not_arrived(url: str, expected: str, error: ConfigError) -> RunError:
    if error.got == NOTHING:
        top = "/".join(url.split("/")[: 5 if url.startswith("hf://") else 3])
        return RunError(
            where=url, expected=f"{top}, which you can write to", got=NOTHING,
            hint="create it, or log in, with the store's own tools, then run again",
        )  # fmt: skip
    hint = "check network and access, then run the same command again; what arrived is kept"
    return RunError(where=url, expected=expected, got=error.got, hint=hint)


def _is_hub(urls: Iterable[str]) -> bool:
    return next(iter(urls), "").startswith("hf://")


def _can_name_an_object(url: str) -> bool:
    """Whether the clients accept the path: a bucket, no empty parts, and only whole characters."""
    path = _path_of(url)
    return all(path.split("/")) and "\0" not in path and path.encode("utf-8", "replace").decode() == path


def _path_of(url: str) -> str:
    return url.partition("://")[2].rstrip("/")


def _described(url: str, info: fs.FileInfo) -> RemoteObject:
    return RemoteObject(
        url=f"{url.partition('://')[0]}://{info.path}", size_bytes=info.size or 0, version=str(info.mtime_ns or "")
    )


def _fixed_part(path: str) -> str:
    """Leading folders of a pattern without wildcards; the whole path if it has none."""
    parts = path.split("/")
    magic = next((k for k, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return "/".join(parts[:magic])


def _matches(name: str, pattern: str) -> bool:
    """Match as in a shell: * does not cross folders, ** does."""
    names, parts = PurePosixPath(name).parts, PurePosixPath(pattern).parts

    def rest(n: int, p: int) -> bool:
        if p == len(parts):
            return n == len(names)
        if parts[p] == "**":
            return any(rest(k, p + 1) for k in range(n, len(names) + 1))
        return n < len(names) and fnmatch.fnmatchcase(names[n], parts[p]) and rest(n + 1, p + 1)

    return rest(0, 0)
