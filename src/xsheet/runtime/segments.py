"""Append-only files of records, each with a checksum, and the index that finds a record by its key.

    FOLDER/000001-<writer>.seg    records, one after the other: a header line, then the body
    FOLDER/index                  positions of the records; derived from the segments, rebuilt if it is missing

A header is the byte 0x1E, the SHA-256 of the body, its number of bytes, the key, and a line end. Each writer appends to
its own segments, so writers need no lock against each other. A record is complete or ignored: readers skip a partial
record, which a killed writer leaves, and the next writer of that segment truncates it. If several records have one key,
the latest counts. `compact` merges small segments; call it while no process writes.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from xsheet.schemas.files import atomic_path, decode_json, sync_to_disk, write_bytes

log = logging.getLogger(__name__)

MAX_SEGMENT_BYTES = 64 << 20
"""Size in bytes at which a segment is full: hundreds of clips, or thousands of short outcomes."""

MAX_TENSOR_SEGMENT_BYTES = 4 << 30
"""The same for features of clips: those of a large model take 20 to 40 MB each."""

INDEX_FILE = "index"
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,160}")
_HEADER = re.compile(rb"\x1e([0-9a-f]{64}) ([0-9]{1,12}) ([A-Za-z0-9_.:-]{1,160})\n")
_MAX_HEADER_BYTES = 256
_SEGMENT_NAME = re.compile(r"([0-9]{6,})-[A-Za-z0-9]+\.seg")

# A key is found by 128 bits of its hash: a million records take 36 MB, whatever the length of their keys.
_ENTRY = np.dtype([("high", "<u8"), ("low", "<u8"), ("offset", "<u8"), ("bytes", "<u8"), ("segment", "<u4")])
Entries = NDArray[np.void]


class SegmentStore:
    """Records (bytes) in a folder by key; a key has 1 to 160 letters, digits, `_`, `.`, `:` or `-`."""

    def __init__(self, folder: Path, *, writer: str | None = None, max_segment_bytes: int = MAX_SEGMENT_BYTES) -> None:
        """`writer` names who appends; processes that follow each other may share it, and with it the segments."""
        self.folder = folder
        self._writer = writer or uuid4().hex[:12]
        self._max_segment_bytes = max_segment_bytes
        self._names: list[str] = []
        self._covered: dict[str, int] = {}  # bytes of each segment that the entries describe
        self._entries: Entries | None = None  # by hash; one per key
        self._high: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._indexed: dict[str, int] = {}  # the same, of the index on the disk
        self._path: Path | None = None  # segment that this writer appends to
        self._end = 0  # of its last whole record

    # Writing

    def append(self, key: str, body: bytes) -> None:
        """Append a record; it is flushed to the disk when this returns.

        Raises:
            ValueError: not a key.
            OSError: the folder cannot be written or the disk is full; nothing half-written stays.
        """
        record = _header_line(hashlib.sha256(body).hexdigest(), len(body), key) + body
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"expected a key of 1 to 160 letters, digits, _ . : -, got {key!r}")
        with self._open_own_segment() as file:
            try:
                left = memoryview(record)
                while left:
                    left = left[file.write(left) :]
                os.fdatasync(file.fileno())
            except OSError:
                file.truncate(self._end)
                raise
            self._end += len(record)

    def _open_own_segment(self) -> FileIO:
        """The segment to append to, at the end of its last whole record."""
        if self._path is None:
            self._path, self._end = next(reversed(self._own_segments()), None), 0
        if self._path is None or self._path.stat().st_size >= self._max_segment_bytes:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._path, self._end = self.folder / f"{self._next_number():06d}-{self._writer}.seg", 0
            self._path.touch()
            sync_to_disk(self.folder)
        file = FileIO(self._path, "r+")
        if (size := file.seek(0, os.SEEK_END)) != self._end:  # another process of this writer was here, or was killed
            for key, offset, body_bytes in _scan(file, self._end, size):
                self._end = _record_end(key, offset, body_bytes)
            file.truncate(self._end)
        file.seek(self._end)
        return file

    def _own_segments(self) -> list[Path]:
        return sorted(self.folder.glob(f"*-{self._writer}.seg"))

    def _next_number(self) -> int:
        return 1 + max((int(match[1]) for path in self.folder.glob("*.seg") if (match := _numbered(path))), default=0)

    # Reading

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

    def read(self, key: str) -> bytes | None:
        """The body of a record; None if there is none, or its checksum is wrong."""
        for _ in (1, 2):
            if (entry := self._find(key)) is None:
                return None
            path = self.folder / self._names[int(entry["segment"])]
            try:
                with FileIO(path) as file:
                    return _read_body(file, key, int(entry["offset"]), int(entry["bytes"]))
            except FileNotFoundError:  # a writer has merged segments since
                self._entries = None
        return None

    def refresh(self) -> None:
        """Read the records that were appended since the last refresh."""
        if self._entries is None:
            self._load_index()
        assert self._entries is not None
        names = sorted(path.name for path in self.folder.glob("*.seg") if _numbered(path))
        self._names += [name for name in names if name not in self._covered]
        found = [
            (*_hash(key), offset, size, number)
            for number, name in enumerate(self._names)
            for key, offset, size in self._scan_new(name)
        ]
        if found:
            self._set_entries(np.concatenate([self._entries, np.array(found, _ENTRY)]))

    def find_appended(self, key: str, mark: tuple[str, int] | None) -> bytes | None:
        """The body that this writer appended for a key after a `mark`."""
        for path in self._own_segments():
            start = 0 if mark is None or path.name > mark[0] else mark[1] if path.name == mark[0] else None
            if start is None:
                continue
            with FileIO(path) as file:
                for found, offset, size in _scan(file, start, os.fstat(file.fileno()).st_size):
                    if found == key:
                        return _read_body(file, key, offset, size)
        return None

    def mark(self) -> tuple[str, int] | None:
        """The end of what this writer has appended, for `find_appended`."""
        own = self._own_segments()
        return (own[-1].name, own[-1].stat().st_size) if own else None

    def records(self) -> Iterator[tuple[str, int]]:
        """Key and number of bytes of each record, by segment."""
        self.refresh()
        for name in self._names:
            with FileIO(self.folder / name) as file:
                for key, offset, size in _scan(file, 0, self._covered[name]):
                    entry = self._find(key)
                    if entry is not None and entry["offset"] == offset and self._names[int(entry["segment"])] == name:
                        yield key, size

    # Maintenance

    def compact(self, *, without: Collection[str] = ()) -> None:
        """Merge small segments, drop the records of some keys, and write the index; no other process may write.

        Raises:
            OSError: the folder cannot be written; no record is lost.
        """
        self._entries = self._path = None
        self.refresh()
        assert self._entries is not None
        keep = np.ones(len(self._entries), bool)
        for key in without:
            if (position := self._position(key)) is not None:
                keep[position] = False
        old = self._segments_to_merge(keep)
        if old:
            merged = np.isin(self._entries["segment"], old)
            new = self._copy(self._entries[keep & merged])
            sync_to_disk(self.folder)
            for number in old:
                (self.folder / self._names[number]).unlink()
            self._drop_segments(old, np.concatenate([self._entries[keep & ~merged], new]))
        if self._covered != self._indexed:
            self._write_index()

    def _segments_to_merge(self, keep: NDArray[np.bool_]) -> list[int]:
        """Segments with a record to drop, and those less than half full if there are several of them."""
        assert self._entries is not None
        numbers = self._entries["segment"].astype(np.int64)
        kept_bytes = np.bincount(numbers[keep], self._entries["bytes"][keep], minlength=len(self._names))
        small = np.flatnonzero(kept_bytes < self._max_segment_bytes / 2)
        forced = np.unique(numbers[~keep])
        return sorted({int(number) for number in (*(small if len(small) > 1 else ()), *forced)})

    def _copy(self, entries: Entries) -> Entries:
        """Copy records to new segments, in the order of the entries; those with a wrong checksum are left out."""
        copied, left = [], iter(entries)
        entry = next(left, None)
        while entry is not None:
            name = f"{self._next_number():06d}-merged.seg"
            self._names.append(name)
            end = 0
            with atomic_path(self.folder / name) as temporary, temporary.open("wb") as file:
                while entry is not None and end < self._max_segment_bytes:
                    if record := self._whole_record(entry):
                        file.write(record)
                        size = int(entry["bytes"])
                        copied.append((entry["high"], entry["low"], end, size, len(self._names) - 1))
                        end += len(record)
                    entry = next(left, None)
            self._covered[name] = end
        return np.array(copied, _ENTRY)

    def _whole_record(self, entry: np.void) -> bytes | None:
        with FileIO(self.folder / self._names[int(entry["segment"])]) as file:
            offset, size = int(entry["offset"]), int(entry["bytes"])
            header = _HEADER.match(os.pread(file.fileno(), _MAX_HEADER_BYTES, offset))
            if header is None or (body := _read_body(file, header[3].decode(), offset, size)) is None:
                return None
            return header[0] + body

    def _drop_segments(self, old: Collection[int], entries: Entries) -> None:
        left = [number for number in range(len(self._names)) if number not in old]
        renumbered = np.zeros(len(self._names), np.uint32)
        renumbered[left] = np.arange(len(left))
        for number in old:
            self._covered.pop(self._names[number])
        self._names = [self._names[number] for number in left]
        entries["segment"] = renumbered[entries["segment"]]
        self._set_entries(entries)

    # The index

    def _find(self, key: str) -> np.void | None:
        position = self._position(key)
        return None if position is None else self._entries[position]  # type: ignore[index]

    def _position(self, key: str) -> int | None:
        if self._entries is None:
            self.refresh()
        assert self._entries is not None
        high, low = _hash(key)
        position = int(np.searchsorted(self._high, np.uint64(high)))
        while position < len(self._high) and self._high[position] == high:
            if self._entries["low"][position] == low:
                return position
            position += 1
        return None

    def _set_entries(self, entries: Entries) -> None:
        """Sort by hash; if several records have one key, keep the one of the last segment."""
        rank = np.empty(len(self._names), np.int64)
        rank[np.argsort(np.array(self._names))] = np.arange(len(self._names))
        order = np.lexsort((entries["offset"], rank[entries["segment"]], entries["low"], entries["high"]))
        entries = entries[order]
        if len(entries):
            last = np.ones(len(entries), bool)
            last[:-1] = (entries["high"][1:] != entries["high"][:-1]) | (entries["low"][1:] != entries["low"][:-1])
            entries = entries[last]
        self._entries, self._high = entries, np.ascontiguousarray(entries["high"])

    def _scan_new(self, name: str) -> Iterator[tuple[str, int, int]]:
        path, start = self.folder / name, self._covered.get(name, 0)
        with suppress(FileNotFoundError), FileIO(path) as file:
            size = os.fstat(file.fileno()).st_size
            for key, offset, body_bytes in _scan(file, start, size):
                yield key, offset, body_bytes
                start = _record_end(key, offset, body_bytes)
        self._covered[name] = start

    def _load_index(self) -> None:
        """Entries of the index; empty if it does not match the segments, which are then read again."""
        self._names, self._covered, self._indexed = [], {}, {}
        self._set_entries(np.empty(0, _ENTRY))
        try:
            head, _, data = (self.folder / INDEX_FILE).read_bytes().partition(b"\n")
            about = decode_json(head)
            segments: Mapping[str, int] = about["segments"]
            fits = hashlib.sha256(data).hexdigest() == about["sha256"] and all(
                _numbered(Path(name)) and (self.folder / name).stat().st_size >= size for name, size in segments.items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        if fits and len(data) % _ENTRY.itemsize == 0:
            entries = np.frombuffer(data, _ENTRY)
            if not len(entries) or entries["segment"].max() < len(segments):
                self._names, self._covered, self._indexed = list(segments), dict(segments), dict(segments)
                self._entries, self._high = entries, np.ascontiguousarray(entries["high"])

    def _write_index(self) -> None:
        assert self._entries is not None
        data = self._entries.tobytes()
        segments = {name: self._covered[name] for name in self._names}
        about = {"sha256": hashlib.sha256(data).hexdigest(), "segments": segments}
        write_bytes(self.folder / INDEX_FILE, json.dumps(about).encode() + b"\n" + data)
        self._indexed = segments


def _numbered(path: Path) -> re.Match[str] | None:
    return _SEGMENT_NAME.fullmatch(path.name)


def _hash(key: str) -> tuple[int, int]:
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _header_line(sha256: str, body_bytes: int, key: str) -> bytes:
    return f"\x1e{sha256} {body_bytes} {key}\n".encode()


def _record_end(key: str, offset: int, body_bytes: int) -> int:
    return offset + len(_header_line("0" * 64, body_bytes, key)) + body_bytes


def _scan(file: FileIO, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Key, offset and size in bytes of the body of each complete record, up to the first partial or damaged one."""
    while start < end:
        header = _HEADER.match(os.pread(file.fileno(), _MAX_HEADER_BYTES, start))
        if header is None or start + len(header[0]) + int(header[2]) > end:
            return
        yield header[3].decode(), start, int(header[2])
        start += len(header[0]) + int(header[2])


def _read_body(file: FileIO, key: str, offset: int, body_bytes: int) -> bytes | None:
    """The body, if it matches the checksum and the key of its header; else None."""
    data = os.pread(file.fileno(), _record_end(key, offset, body_bytes) - offset, offset)
    header = _HEADER.match(data)
    if header is not None and header[3].decode() == key:
        body = data[len(header[0]) :]
        if hashlib.sha256(body).hexdigest() == header[1].decode():
            return body
    log.warning("a record of %s in %s is damaged", key, file.name)
    return None
