"""One writer per folder: a lock that a command holds from its first write to its last.

    SET/.commits/lock    held by the writer; names its process, machine and start

The kernel releases the lock when the process ends, even if it is killed. Readers take no lock. The lock is flock(2). On
NFS, Linux asks the server, so it also excludes writers on other machines, unless the mount has the option `nolock` or
`local_lock`: then each machine sees only its own locks, and a warning is logged.
"""

import fcntl
import fnmatch
import json
import logging
import os
import shutil
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from xsheet.runtime.result_store import output_error
from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.files import decode_json, remove_temporary_files
from xsheet.schemas.sets import SET_FILE
from xsheet.schemas.tables import TABLES

log = logging.getLogger(__name__)

LOCK_FILE = Path(".commits") / "lock"
_UNFINISHED = LOCK_FILE.with_name("unfinished")  # there while a new folder is being filled
_MAX_HOLDER_BYTES = 4096
_SWEPT_FOLDERS = (*(table.name for table in TABLES), "cache", "manifests", "media")  # filled by the writer alone

# Folders that the current chain of calls has locked. A command locks its set from start to end; the functions that it
# calls request the same lock, because each can also be called alone.
_HELD: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


@contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Hold the write lock of a folder; nested calls for the same folder share the outermost lock.

    The outermost call also removes the temporary files that killed writers left in the tables, clips and caches: those
    of earlier commands at its start, those of its own workers at its end, even if it fails.

    Raises:
        RunError: another process holds it (the error names it), the folder cannot be written, or its file system has
            no locks.
    """
    path = folder.resolve()
    if path in _HELD.get():
        yield
        return
    with _open_lock_file(path) as file:
        _acquire(file, path)
        token = _HELD.set(_HELD.get() | {path})
        try:
            _remove_leftovers(path)
            yield
        finally:
            with suppress(OSError):  # what ended the command is what to report; the next one tries again
                _remove_leftovers(path)
            _HELD.reset(token)
            os.ftruncate(file.fileno(), 0)


@contextmanager
def write_locks(folders: Iterable[Path]) -> Iterator[None]:
    """Hold the write locks of several folders, all of them from the start; raises like `write_lock`."""
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(write_lock(folder))
        yield


@contextmanager
def new_folder_lock(folder: Path, *, content: Collection[str]) -> Iterator[None]:
    """Hold the write lock of a folder that is new or empty, while the block fills it.

    After an error, and when the next command begins after one that was killed, what was written is removed, so that the
    same command can run again.

    Args:
        folder: the folder.
        content: names, or patterns of names, of the files and folders that the block writes.

    Raises:
        ConfigError: the folder has other content; nothing was changed.
        RunError: as `write_lock`.
    """
    check_new_folder(folder, content=content)
    with write_lock(folder):
        check_new_folder(folder, content=content)  # another command may have filled it meanwhile
        unfinished = folder / _UNFINISHED
        if unfinished.exists():
            _remove_content(folder, content)
        unfinished.touch()
        try:
            yield
        except BaseException:
            _remove_content(folder, content)
            raise
        finally:
            unfinished.unlink(missing_ok=True)


def check_new_folder(folder: Path, *, content: Collection[str] = ()) -> None:
    """ConfigError unless a folder is missing, empty, or holds nothing but what a killed command left.

    A folder inside a set is refused, too: it would be published and packed with the set.

    Args:
        folder: the folder.
        content: what `new_folder_lock` with the same content may have left.
    """
    holder = next((parent for parent in folder.resolve().parents if (parent / SET_FILE).is_file()), None)
    if holder is not None:
        raise ConfigError(
            where=str(folder), expected="a folder outside of sets", got=f"one inside {holder}",
            hint="choose another folder; nothing was changed",
        )  # fmt: skip
    if not folder.exists():
        return
    if not folder.is_dir():
        raise _other_content(folder)
    commits = folder / LOCK_FILE.parent
    left = _content(folder, content) if (folder / _UNFINISHED).exists() else set()
    if not _names(folder) <= {commits.name} | left:
        raise _other_content(folder)
    if commits.exists() and not (commits.is_dir() and _names(commits) <= {LOCK_FILE.name, _UNFINISHED.name}):
        raise _other_content(folder)


def _content(folder: Path, patterns: Collection[str]) -> set[str]:
    return {name for name in _names(folder) if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}


def _remove_content(folder: Path, patterns: Collection[str]) -> None:
    for path in (folder / name for name in _content(folder, patterns)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _other_content(folder: Path) -> ConfigError:
    return ConfigError(
        where=str(folder), expected="a new or empty folder", got="a folder with other content",
        hint="choose another folder; nothing was changed",
    )  # fmt: skip


def _open_lock_file(folder: Path) -> BinaryIO:
    try:
        (folder / LOCK_FILE).parent.mkdir(parents=True, exist_ok=True)
        return (folder / LOCK_FILE).open("a+b", buffering=0)
    except OSError as error:
        raise output_error(folder, error) from error


def _acquire(file: BinaryIO, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(
            where=str(folder), expected="no other writer", got=_holder(file),
            hint="wait until it ends, or choose another output; reading is not blocked",
        ) from error  # fmt: skip
    except OSError as error:  # ENOLCK, EOPNOTSUPP: a file system without locks
        raise RunError(
            where=str(folder), expected="a file system with locks", got=error.strerror or str(error),
            hint="enable locking of the file system, or write to another one and copy the result",
        ) from error  # fmt: skip
    if has_local_locks_only(folder, mounts=Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")):
        log.warning("%s: locks on this NFS mount work on this machine only; do not write from another one", folder)
    about = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        os.ftruncate(file.fileno(), 0)
        file.write(json.dumps(about).encode())
    except OSError as error:
        raise output_error(folder, error) from error


def _holder(file: BinaryIO) -> str:
    """Describe the process that holds the lock, as the lock file states it."""
    try:
        file.seek(0)
        about = decode_json(file.read(_MAX_HOLDER_BYTES))
        pid, host = int(about["pid"]), "".join(c for c in str(about["host"]) if c.isprintable())[:64]
        since = datetime.fromisoformat(about["since"]).astimezone(UTC)
    except (OSError, ValueError, KeyError, TypeError):
        return "another process that has just begun"
    return f"process {pid} on {host}, writing since {since:%Y-%m-%d %H:%M:%S} UTC"


def has_local_locks_only(folder: Path, *, mounts: str) -> bool:
    """Whether `folder` is on an NFS mount with machine-local locks; `mounts` is the text of /proc/self/mounts."""
    best, options, kind = "", "", ""
    for line in mounts.splitlines():
        _, point, fs_type, fs_options, *_ = [*line.split(" "), "", "", "", ""]
        point = point.encode().decode("unicode_escape")  # a space is \040
        if folder.is_relative_to(point) and len(point) >= len(best):
            best, kind, options = point, fs_type, fs_options
    local = {"nolock", "local_lock=all", "local_lock=flock"}
    return kind.startswith("nfs") and bool(local & set(options.split(",")))


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files from the folders that only the lock holder writes; a run cleans up its own commits."""
    for name in _SWEPT_FOLDERS:
        if not (folder / name).resolve().is_relative_to(folder):  # a link: what it leads to is no litter of this set
            continue
        for parent, _, files in os.walk(folder / name):
            if any(file.startswith(".") and ".tmp" in file for file in files):
                remove_temporary_files(Path(parent))
