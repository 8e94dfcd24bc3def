"""A folder at a URL with a copy on this machine: fetch updates, change the copy, publish it atomically.

    URL/manifest.json              names the list of files: {"files_sha256": hash}
    URL/objects/ab/<sha256>.json   that list: {"files": {path: {"bytes": n, "sha256": hash}}}
    URL/objects/ab/<sha256>.ext    their contents
    CACHE/folders/<key>/copy/NAME/ the copy
    CACHE/folders/<key>/state.json the list that the copy began with, and times of its files

Contents are uploaded first, then the list, then the manifest (a few bytes): a reader sees either the old or the new
folder. Contents that neither the new nor the previous list names are deleted, so a reader can finish fetching until the
next publication. Another writer could publish between the last check of the manifest and its upload, and would be
overwritten: stores have no lock, so users must allow one writer at a time.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from xsheet.runtime.lock import LOCK_FILE, write_lock
from xsheet.runtime.storage.attempts import NOTHING
from xsheet.runtime.storage.place import cache_folder
from xsheet.runtime.storage.stores import (
    RemoteObject,
    delete_objects,
    each_at_a_time,
    fetch,
    list_objects,
    read_object,
    upload,
    upload_files,
    write_object,
)
from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.files import atomic_path, decode_json, write_text
from xsheet.schemas.ids import content_key, file_sha256

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4096
MAX_LIST_BYTES = 1 << 30
_SHA256 = re.compile("[0-9a-f]{64}")
_SCRATCH = "scratch"  # of live workers
_NO_FILES = '{"files": {}}'


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file of the folder."""

    bytes: int
    sha256: str


@dataclass(slots=True)
class Mirror:
    """A local copy of a folder at a URL; the caller holds its lock."""

    url: str
    folder: Path
    _state_file: Path
    _published: str = _NO_FILES  # the list that the copy began with
    _times: dict[str, int] = field(default_factory=dict)  # of the files that are as published, in ns
    _is_unfinished: bool = False  # the last command over the copy did not publish it

    @property
    def has_files(self) -> bool:
        """Whether the folder has any file."""
        return bool(_files(self.folder))

    def update(self) -> None:
        """Fetch what is new at the URL. Files of an unfinished command stay, so that it can continue.

        Raises:
            ConfigError: no access, not a published folder, or both the URL and the copy have changed.
            RunError: a fetched file does not match its hash in the manifest.
        """
        self._load_state()
        head = _read_head(self.url)
        text = self._published if head == _text_sha256(self._published) else self._read_list(head)
        before, after = _entries(self.url, self._published), _entries(self.url, text)
        local = {name: self._entry(name, before) for name in _files(self.folder)}
        if text != self._published:
            changed = [name for name, entry in local.items() if entry not in (before.get(name), after.get(name))]
            if changed:
                raise ConfigError(
                    where=self.url, expected=f"the version that {self.folder} was copied from", got="a later version",
                    hint=f"{len(changed)} files were changed here and not published: copy them elsewhere if you need "
                    f"them, delete {self._state_file.parent}, and run again",
                )  # fmt: skip
            for name in set(local) - set(after):
                (self.folder / name).unlink()
            wanted = [name for name, entry in after.items() if local.get(name) != entry]
        else:
            # Without an unfinished command, xsheet did not remove a missing file: fetch it again.
            wanted = [] if self._is_unfinished else [name for name in after if name not in local]
        self._fetch(after, wanted)
        same = [*wanted, *(name for name, entry in local.items() if after.get(name) == entry)]
        self._save_state(text, same, is_unfinished=True)

    def publish(self) -> tuple[int, int]:
        """Upload what is new in the copy; returns the number of files and bytes.

        Raises:
            RunError: another writer has published meanwhile, or an upload failed; the folder at the URL is unchanged.
        """
        before = _entries(self.url, self._published)
        entries = {name: self._entry(name, before) for name in _files(self.folder)}
        if entries == before:
            self._save_state(self._published, entries, is_unfinished=False)
            return 0, 0
        if _read_head(self.url) != _text_sha256(self._published):
            raise RunError(
                where=self.url, expected="no other writer", got="a folder that another command has published since",
                hint=f"the results are in {self.folder}: copy them elsewhere, then delete {self._state_file.parent}",
            )  # fmt: skip
        known = {self._object(name, entry) for name, entry in before.items()}
        files = {self._object(name, entry): name for name, entry in entries.items()}
        new = {url: name for url, name in files.items() if url not in known}
        upload_files({url: self.folder / name for url, name in new.items()})
        text = _list_text(entries)
        head = _text_sha256(text)
        with tempfile.TemporaryDirectory(dir=self._state_file.parent) as scratch:
            (Path(scratch) / "list").write_text(text, encoding="utf-8")
            upload(Path(scratch) / "list", self._list_url(head))
        write_object(f"{self.url}/{MANIFEST}", json.dumps({"files_sha256": head}).encode())
        lists = (self._list_url(_text_sha256(one)) for one in (self._published, text))
        self._remove_unnamed({*known, *files, *lists})
        self._save_state(text, entries, is_unfinished=False)
        return len(new), sum(entries[name].bytes for name in new.values())

    def _fetch(self, entries: Mapping[str, _Entry], names: Iterable[str]) -> None:
        def fetch_one(name: str) -> None:
            entry = entries[name]
            remote = RemoteObject(url=self._object(name, entry), size_bytes=entry.bytes, version="")
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                with temporary.open("w+b") as file:
                    fetch(remote, file)
                if file_sha256(temporary) != entry.sha256:
                    raise RunError(
                        where=remote.url, expected="the bytes that the manifest names", got="other bytes",
                        hint="run again; if the error persists, publish the folder again from where it was written",
                    )  # fmt: skip

        each_at_a_time(fetch_one, names)

    def _remove_unnamed(self, named: Collection[str]) -> None:
        delete_objects([one.url for one in list_objects(f"{self.url}/objects") if one.url not in named])

    def _read_list(self, head: str) -> str:
        if head == _text_sha256(_NO_FILES):
            return _NO_FILES
        data = read_object(self._list_url(head), max_bytes=MAX_LIST_BYTES)
        if data is None or hashlib.sha256(data).hexdigest() != head:
            raise RunError(
                where=self._list_url(head), expected="the list that the manifest names",
                got="nothing" if data is None else "other bytes", hint="run again: it may have been published just now",
            )  # fmt: skip
        return data.decode("utf-8", "replace")

    def _list_url(self, head: str) -> str:
        return f"{self.url}/objects/{head[:2]}/{head}.json"

    def _entry(self, name: str, before: Mapping[str, _Entry]) -> _Entry:
        """Size and hash of a file; taken from the published list if its size and time did not change."""
        stat = (self.folder / name).stat()
        known = before.get(name)
        if known is not None and known.bytes == stat.st_size and self._times.get(name) == stat.st_mtime_ns:
            return known
        return _Entry(stat.st_size, file_sha256(self.folder / name))

    def _object(self, name: str, entry: _Entry) -> str:
        return f"{self.url}/objects/{entry.sha256[:2]}/{entry.sha256}{PurePosixPath(name).suffix}"

    def _load_state(self) -> None:
        try:
            state = decode_json(self._state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        self._published, self._times = state["published"], state["times"]
        self._is_unfinished = state["is_unfinished"]

    def _save_state(self, published: str, same: Iterable[str], *, is_unfinished: bool) -> None:
        """Save the state; `same` are the files of the copy that equal the published ones."""
        self._published, self._is_unfinished = published, is_unfinished
        self._times = {name: (self.folder / name).stat().st_mtime_ns for name in same}
        state = {"published": published, "times": self._times, "is_unfinished": is_unfinished}
        write_text(self._state_file, json.dumps(state))


@contextmanager
def open_mirror(url: str) -> Iterator[Mirror]:
    """The up-to-date copy of a folder at a URL, locked while the block runs; the caller publishes it.

    Raises:
        ConfigError, RunError: as `Mirror.update`; or another command on this machine uses the copy.
    """
    url = url.rstrip("/")
    top = cache_folder() / "folders" / content_key("folder", url)[:20]
    folder = top / "copy" / PurePosixPath(url).name  # the name of a new set is that of its folder
    folder.mkdir(parents=True, exist_ok=True)
    with write_lock(top):
        mirror = Mirror(url, folder, top / "state.json")
        mirror.update()
        yield mirror


def _read_head(url: str) -> str:
    """Hash of the list that the manifest names; if there is no manifest, the hash of an empty list."""
    data = read_object(f"{url}/{MANIFEST}", max_bytes=MAX_MANIFEST_BYTES)
    if data is not None:
        try:
            head = str(decode_json(data)["files_sha256"])
            if _SHA256.fullmatch(head) is None:
                raise ValueError("no hash")
        except (ValueError, KeyError, TypeError) as error:
            raise _no_manifest(url, error) from error
        return head
    try:
        found = [one for one in list_objects(url) if not one.url.startswith(f"{url}/objects/")]
    except ConfigError as error:
        if error.got != NOTHING:
            raise
        found = []
    if found:
        raise ConfigError(
            where=url, expected="a folder that xsheet published, or nothing", got=f"{len(found)} other objects",
            hint="choose another URL; nothing was changed",
        )  # fmt: skip
    return _text_sha256(_NO_FILES)


def _no_manifest(url: str, error: Exception) -> ConfigError:
    got = " ".join(str(error).split())[:100]
    return ConfigError(where=f"{url}/{MANIFEST}", expected="a manifest of xsheet", got=got, hint="choose another URL")


def _entries(url: str, text: str) -> dict[str, _Entry]:
    try:
        files: dict[str, Any] = decode_json(text)["files"]
        entries = {name: _Entry(int(one["bytes"]), str(one["sha256"])) for name, one in files.items()}
        if not all(_is_safe(name) and _SHA256.fullmatch(one.sha256) for name, one in entries.items()):
            raise ValueError("a path outside the folder, or no hash")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_manifest(url, error) from error
    return entries


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    return all(part not in ("", ".", "..") and part.isprintable() for part in parts) and Path(name) != LOCK_FILE


def _list_text(entries: Mapping[str, _Entry]) -> str:
    files = {name: {"bytes": one.bytes, "sha256": one.sha256} for name, one in sorted(entries.items())}
    return json.dumps({"files": files}, indent=0) + "\n"


def _files(folder: Path) -> list[str]:
    """Files of the copy to publish: all except locks, scratch folders and temporary files."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != _SCRATCH]
        found += [str((Path(parent) / name).relative_to(folder)) for name in names if ".tmp" not in name]
    return sorted(name for name in found if Path(name) != LOCK_FILE)


def _text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
