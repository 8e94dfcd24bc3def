"""Cache of fetched objects in a local folder of bounded size; the least recently used are removed first."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from xsheet.runtime.storage.place import cache_folder
from xsheet.runtime.storage.stores import RemoteObject, fetch
from xsheet.schemas.errors import ConfigError, MediaError
from xsheet.schemas.ids import content_key, file_sha256

MAX_FETCHED_BYTES = 20 << 30
"""Size limit in bytes of the fetched files of one machine; a worker waits until others release theirs."""
_WAIT_S = 0.2
_SUFFIX_CHARS = 8


class FetchCache:
    """Fetched objects, one file each. Readers hold a shared lock on the file; locked files are not removed.

    The name of a file contains the size of its object. A file of that size is complete, and the names add up to the
    space that all files need, including those that are being fetched.
    """

    def __init__(self, folder: Path | None = None, *, max_bytes: int = MAX_FETCHED_BYTES) -> None:
        self.folder = folder or cache_folder() / "fetched"
        self.max_bytes = max_bytes

    @contextmanager
    def file(
        self, remote: RemoteObject, *, sha256: str | None = None, on_progress: Callable[[], None] = lambda: None
    ) -> Iterator[Path]:
        """The local file of an object while the block runs; fetched if it is not there.

        Args:
            remote: the object.
            sha256: hash that the file must have.
            on_progress: called after every chunk, and while waiting for space.

        Raises:
            MediaError: fetch_failed: absent, no access, truncated, wrong size or hash, or larger than the cache.
        """
        if remote.size_bytes > self.max_bytes:
            raise _error(remote, f"at most {self.max_bytes} bytes", f"{remote.size_bytes}", "cut the video")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        suffix = PurePosixPath(remote.url).suffix[:_SUFFIX_CHARS]
        path = self.folder / f"{content_key('fetched', remote.url, remote.version)}-{remote.size_bytes}{suffix}"
        while True:
            handle = self._reserve(path, remote.size_bytes, on_progress)
            try:
                fcntl.flock(handle, fcntl.LOCK_SH)
                if _is_linked(path, handle) and os.fstat(handle).st_size == remote.size_bytes:
                    os.utime(path)
                    yield path
                    return
                fcntl.flock(handle, fcntl.LOCK_EX)
                if _is_linked(path, handle) and os.fstat(handle).st_size != remote.size_bytes:
                    _fetch(remote, path, sha256, on_progress)
            finally:
                os.close(handle)  # and look again: between two locks another one may have removed it

    def _reserve(self, path: Path, size_bytes: int, on_progress: Callable[[], None]) -> int:
        """Wait until there is space for the file, then open it; from then on its size counts."""
        while True:
            with (self.folder / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists() or self._make_room(size_bytes):
                    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            on_progress()
            time.sleep(_WAIT_S)

    def _make_room(self, needed: int) -> bool:
        files = {path: path.stat().st_mtime for path in self.folder.glob("*-*")}
        total = sum(_object_bytes(path) for path in files)
        for path in sorted(files, key=lambda one: files[one]):
            if total + needed <= self.max_bytes:
                break
            if _remove_unused(path):
                total -= _object_bytes(path)
        return total + needed <= self.max_bytes


def _object_bytes(path: Path) -> int:
    return int(path.name.split("-")[1].split(".")[0])


def _is_linked(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _remove_unused(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink()
    return True


def _fetch(remote: RemoteObject, path: Path, sha256: str | None, on_progress: Callable[[], None]) -> None:
    try:
        with path.open("r+b") as file:
            fetch(remote, file, on_progress=on_progress)
        if sha256 is not None and file_sha256(path) != sha256:
            raise _error(remote, "the bytes that were probed", "other bytes", "run again: the object was replaced")
    except ConfigError as error:
        path.unlink()
        hint = "check network and access, then run again with --retry-failed"
        raise _error(remote, f"{remote.size_bytes} bytes", error.got, hint) from error
    except BaseException:
        path.unlink()
        raise


def _error(remote: RemoteObject, expected: str, got: str, hint: str) -> MediaError:
    return MediaError(reason="fetch_failed", where=remote.url, expected=expected, got=got, hint=hint)
