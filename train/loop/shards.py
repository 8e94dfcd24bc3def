"""Tensors of a checkpoint: safetensors files with a JSON index, written and read by torch's distributed checkpoint.

    FOLDER/index.json                  every tensor's type, shape and chunks (offsets, sizes, file); plain values
    FOLDER/rank-00000-000.safetensors  chunks of one process, about MAX_FILE_BYTES a file
    FOLDER/SHA256SUMS                  hash of every file above and of those the caller adds; `sha256sum -c` reads it

torch's default storage keeps its index and plain values as pickles, and opening a pickle can run code. Nothing is
unpickled here: a file that does not match the index and the hashes raises ContractError.
"""

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn, TypedDict

import torch
from pydantic import Field, ValidationError, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from xsheet.schemas.errors import ContractError, XsheetError
from xsheet.schemas.files import decode_json, library_os_errors, write_text
from xsheet.schemas.ids import checksum_lines, file_sha256
from xsheet.schemas.settings import StrictModel

INDEX_FILE = "index.json"
HASHES_FILE = "SHA256SUMS"
MAX_FILE_BYTES = 1 << 30
"""Of chunks per file; bounds what a process copies from its GPU at once."""

_FILE_NAME = re.compile(r"rank-\d{5}-\d{3}\.safetensors")
_HASH_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_.-]+)")
_HINT = "remove that folder to resume from the checkpoint before it"


def save_state_dict(state: Mapping[str, Any], folder: Path) -> None:
    """Write a nested dict of tensors and plain values; all processes call it, each writes its own chunks.

    Raises:
        OSError and others: what stopped a process; all processes raise.
        TypeError: a value that is neither a tensor nor plain (bool, int, float, str, None, and lists of them).
    """
    with _first_failure():
        state_dict_saver.save(dict(state), storage_writer=_ShardWriter(folder), planner=_JsonSavePlanner())


def load_state_dict(state: dict[str, Any], folder: Path) -> None:
    """Fill `state` in place; all processes call it, each reads the chunks that overlap its own.

    Raises:
        ContractError: a file is damaged, missing, or holds something else.
    """
    try:
        with _first_failure():
            # The index first, by ourselves: torch wraps what its reader raises.
            reader = _ShardReader(folder, _read_index(folder))
            state_dict_loader.load(state, storage_reader=reader, planner=_JsonLoadPlanner())
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        _raise_damaged(folder / INDEX_FILE, "the tensors of this model", error)


def add_hashes(folder: Path, *names: str) -> None:
    """Append the hashes of further files of a checkpoint; one process calls it, after all have written."""
    hashes = _read_hashes(folder) | {name: file_sha256(folder / name) for name in names}
    write_text(folder / HASHES_FILE, checksum_lines(hashes))


def checked_file(folder: Path, name: str) -> Path:
    """A file of a checkpoint whose hash is as recorded; ContractError otherwise."""
    expected = _read_hashes(folder).get(name)
    file = folder / name
    try:
        got = file_sha256(file)
    except OSError as error:
        raise ContractError(
            where=str(file), expected="a file of a checkpoint", got=str(error.strerror), hint=_HINT
        ) from error
    if expected is None or got != expected:
        raise ContractError(where=str(file), expected=f"sha256 {expected} ({HASHES_FILE})", got=got, hint=_HINT)
    return file


class IndexedChunk(StrictModel):
    """A box of a tensor and the file that holds it."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str = Field(pattern=_FILE_NAME.pattern)


class IndexedTensor(StrictModel):
    """One tensor: type, shape, chunks."""

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[IndexedChunk, ...]

    @field_validator("dtype")
    @classmethod
    def _is_a_type(cls, name: str) -> str:
        if not isinstance(getattr(torch, name, None), torch.dtype):
            raise ValueError(f"expected a type of torch, got {name!r}")
        return name


class ShardIndex(StrictModel):
    """Content of index.json."""

    tensors: dict[str, IndexedTensor]
    values: dict[str, Any] = Field(description="plain values by dotted key")


class _ChunkRecord(TypedDict):
    file: str
    sha256: str


class _JsonSavePlanner(DefaultSavePlanner):
    """torch's planner; plain values become JSON instead of pickles."""

    def transform_object(self, write_item: WriteItem, object: Any) -> Any:
        if write_item.type != WriteItemType.BYTE_IO:
            return super().transform_object(write_item, object)
        _check_plain(object, write_item.index.fqn)
        return io.BytesIO(json.dumps(object).encode())


class _JsonLoadPlanner(DefaultLoadPlanner):
    """torch's planner; plain values are read as JSON."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        fqn = read_item.dest_index.fqn
        path = self.mappings[fqn]
        target: Any = self.original_state_dict
        for key in path[:-1]:
            target = target[key]
        loaded = decode_json(value.read())
        target[path[-1]] = tuple(loaded) if isinstance(target[path[-1]], tuple) else loaded


@dataclass
class _ShardWriter(StorageWriter):
    folder: Path
    rank: int = 0
    coordinates: bool = False

    def reset(self, checkpoint_id: str | PathLike[str] | None = None) -> None:
        """Nothing is kept between checkpoints."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self.coordinates, self.rank = is_coordinator, int(kwargs.get("rank", 0))

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        results: list[WriteResult] = []
        for number, group in enumerate(_file_groups(plan.items)):
            name = f"rank-{self.rank:05d}-{number:03d}.safetensors"
            tensors = {_chunk_name(item.index): _host_copy(planner.resolve_data(item)) for item in group}
            with library_os_errors(self.folder / name):
                save_file(tensors, self.folder / name)
            record = _ChunkRecord(file=name, sha256=file_sha256(self.folder / name))
            results += [WriteResult(item.index, tensors[_chunk_name(item.index)].nbytes, record) for item in group]
        for item in plan.items:
            if item.type == WriteItemType.BYTE_IO:
                stream = planner.resolve_data(item)
                assert isinstance(stream, io.BytesIO), "our planner's"
                text = stream.getvalue()
                results.append(WriteResult(item.index, len(text), decode_json(text)))
        return _done(results)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        written = {result.index: result.storage_data for group in results for result in group}
        index = ShardIndex(
            tensors={
                name: IndexedTensor(
                    dtype=str(entry.properties.dtype).removeprefix("torch."),
                    shape=tuple(entry.size),
                    chunks=tuple(
                        IndexedChunk(
                            offsets=tuple(chunk.offsets),
                            sizes=tuple(chunk.sizes),
                            file=written[MetadataIndex(name, chunk.offsets)]["file"],
                        )
                        for chunk in entry.chunks
                    ),
                )
                for name, entry in metadata.state_dict_metadata.items()
                if isinstance(entry, TensorStorageMetadata)
            },
            values={
                name: written[MetadataIndex(name)]
                for name, entry in metadata.state_dict_metadata.items()
                if isinstance(entry, BytesStorageMetadata)
            },
        )
        write_text(self.folder / INDEX_FILE, json.dumps(index.model_dump(), indent=1) + "\n")
        hashes = {
            result.storage_data["file"]: result.storage_data["sha256"]
            for group in results
            for result in group
            if isinstance(metadata.state_dict_metadata[result.index.fqn], TensorStorageMetadata)
        } | {INDEX_FILE: file_sha256(self.folder / INDEX_FILE)}
        write_text(self.folder / HASHES_FILE, checksum_lines(hashes))

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:
        return True


@dataclass
class _ShardReader(StorageReader):
    folder: Path
    index: ShardIndex

    def __post_init__(self) -> None:
        self.files = {
            MetadataIndex(name, chunk.offsets): chunk.file
            for name, tensor in self.index.tensors.items()
            for chunk in tensor.chunks
        }

    def reset(self, checkpoint_id: str | PathLike[str] | None = None) -> None:
        """Nothing is kept between checkpoints."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        entries: dict[str, Any] = {name: BytesStorageMetadata() for name in self.index.values}
        for name, tensor in self.index.tensors.items():
            chunks = [ChunkStorageMetadata(torch.Size(c.offsets), torch.Size(c.sizes)) for c in tensor.chunks]
            properties = TensorProperties(dtype=getattr(torch, tensor.dtype))
            entries[name] = TensorStorageMetadata(properties, torch.Size(tensor.shape), chunks)
        return Metadata(state_dict_metadata=entries)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """The files are opened as they are needed."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_file: defaultdict[str, list[ReadItem]] = defaultdict(list)
        for item in plan.items:
            if item.type == LoadItemType.BYTE_IO:
                planner.load_bytes(item, io.BytesIO(json.dumps(self.index.values[item.storage_index.fqn]).encode()))
            else:
                by_file[self.files[item.storage_index]].append(item)
        for name, items in sorted(by_file.items()):
            file = checked_file(self.folder, name)
            try:
                with safe_open(file, framework="pt") as stored:
                    for item in items:
                        target = planner.resolve_tensor(item).detach()
                        target.copy_(_read_box(stored, item))
                        planner.commit_tensor(item, target)
            except (SafetensorError, RuntimeError) as error:
                _raise_damaged(file, "the chunks that the index lists", error)
        return _done(None)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:
        return True


def _read_index(folder: Path) -> ShardIndex:
    file = checked_file(folder, INDEX_FILE)
    try:
        return ShardIndex.model_validate_json(file.read_bytes())
    except ValidationError as error:
        _raise_damaged(file, "an index of tensors", error)


def _file_groups(items: Sequence[WriteItem]) -> Iterator[list[WriteItem]]:
    """Tensor items in files of about MAX_FILE_BYTES; a larger chunk has a file of its own."""
    group: list[WriteItem] = []
    size = 0
    for item in items:
        if item.tensor_data is None:
            continue
        chunk = item.tensor_data.chunk.sizes.numel() * item.tensor_data.properties.dtype.itemsize
        if group and size + chunk > MAX_FILE_BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += chunk
    if group:
        yield group


def _chunk_name(index: MetadataIndex) -> str:
    return f"{index.fqn}@{','.join(str(offset) for offset in index.offset or ())}"


def _host_copy(tensor: Any) -> Tensor:
    return torch.clone(tensor.detach().cpu(), memory_format=torch.contiguous_format)  # views share storage


def _read_box(stored: Any, item: ReadItem) -> Tensor:
    name = _chunk_name(item.storage_index)
    if not item.lengths:
        whole: Tensor = stored.get_tensor(name)
        return whole
    box = (slice(start, start + length) for start, length in zip(item.storage_offsets, item.lengths, strict=True))
    part: Tensor = stored.get_slice(name)[tuple(box)]
    return part


def _read_hashes(folder: Path) -> dict[str, str]:
    file = folder / HASHES_FILE
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        _raise_damaged(file, "hashes of the checkpoint's files", error)
    matches = [_HASH_LINE.fullmatch(line) for line in lines]
    if not all(matches):
        _raise_damaged(file, "lines of a hash and a file name", None)
    return {match[2]: match[1] for match in matches if match}


def _raise_damaged(file: Path, expected: str, error: Exception | None) -> NoReturn:
    got = "other text" if error is None else " ".join(f"{type(error).__name__}: {error}".split())[:300]
    raise ContractError(where=str(file), expected=expected, got=got, hint=_HINT) from error


def _check_plain(value: object, name: str) -> None:
    if isinstance(value, list | tuple):
        for one in value:
            _check_plain(one, name)
    elif value is not None and type(value) not in (bool, int, float, str):
        raise TypeError(f"{name}: expected a tensor or a plain value, got {type(value).__name__}")


@contextmanager
def _first_failure() -> Iterator[None]:
    """Torch wraps what any process raised in a BaseException; raise the first of them, ours before others."""
    try:
        yield
    except CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values()]
        raise next((cause for cause in causes if isinstance(cause, XsheetError)), causes[0]) from None


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
