"""The Hugging Face Hub: always its present state, and one commit for many files.

huggingface_hub's file system keeps every listing of its process, whatever it is asked for, so a file that somebody else
replaced would look as before; and it makes a commit of every file. Paths are those of a URL after hf://.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyarrow import PythonFile, fs

from xsheet.schemas.errors import ConfigError

COMMIT_MESSAGE = "Upload with xsheet"
REQUEST_PATHS = 500  # of which one request asks
_VERSION_DIGITS = 15  # hexadecimal digits of a hash that a signed 64-bit integer holds


class HubHandler(fs.FSSpecHandler):  # type: ignore[misc] # pyarrow has no types
    """As pyarrow's, but it asks the Hub each time and streams what it reads."""

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        """Of single paths; many of one repository in one request."""
        found = {path: fs.FileInfo(path, fs.FileType.NotFound) for path in paths}
        members: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
        for path in paths:
            try:
                at = self.fs.resolve_path(path)
            except FileNotFoundError:
                continue
            if hasattr(at, "bucket_id") or not at.path_in_repo:
                found[path] = self._info(path)
            else:
                members[at.repo_type, at.repo_id, at.revision][at.path_in_repo] = path
        for place, names in members.items():
            for one in _paths_info(place, list(names)):
                entry = {"type": "file" if hasattr(one, "blob_id") else "directory"} | vars(one)
                found[names[one.path]] = self._create_file_info(names[one.path], entry)
        return [found[path] for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        """Of all files below a folder; nothing if there is none."""
        found = self.fs.find(selector.base_dir, detail=True, refresh=True)
        own = (".gitattributes",)  # which the Hub puts into each new repository
        return [self._create_file_info(path, info) for path, info in found.items() if not path.endswith(own)]

    def open_input_stream(self, path: str) -> PythonFile:
        """A stream of one answer of the Hub, without a listing of the folder."""
        return PythonFile(self.fs.open(path, mode="rb", block_size=0), mode="r")

    def _info(self, path: str) -> fs.FileInfo:
        try:
            return self._create_file_info(path, self.fs.info(path, refresh=True))
        except FileNotFoundError:
            return fs.FileInfo(path, fs.FileType.NotFound)

    @staticmethod
    def _create_file_info(path: str, info: Mapping[str, Any]) -> fs.FileInfo:
        """The time of a file stands for its version, so the first digits of its hash take the place of the time."""
        if info["type"] != "file":
            return fs.FileInfo(path, fs.FileType.Directory)
        content = info.get("blob_id") or info.get("xet_hash") or "0"
        return fs.FileInfo(path, fs.FileType.File, size=info["size"], mtime_ns=int(content[:_VERSION_DIGITS], 16))


def _paths_info(place: tuple[str, str, str], names: list[str]) -> Iterator[Any]:
    """Files and folders of (kind, id, revision) that exist."""
    from huggingface_hub import HfApi  # noqa: PLC0415

    kind, repo, revision = place
    for k in range(0, len(names), REQUEST_PATHS):
        some = names[k : k + REQUEST_PATHS]
        yield from HfApi().get_paths_info(repo, some, repo_type=kind, revision=revision)


def open_hub(url: str) -> fs.FileSystem:
    """A file system without memory of earlier listings.

    Raises:
        ConfigError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import HfFileSystem  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise ConfigError(
            where=url, expected="the package huggingface_hub", got="none", hint="pip install huggingface_hub"
        ) from error
    return fs.PyFileSystem(HubHandler(HfFileSystem(skip_instance_cache=True)))


def commit(store: fs.FileSystem, *, added: Mapping[str, Path], removed: Iterable[str] = ()) -> None:
    """Add or replace files, and remove others, of one repository in one commit (or one change of a bucket).

    Args:
        store: of `open_hub`.
        added: local files by their path in the store.
        removed: paths in the store that exist.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi  # noqa: PLC0415

    hub = store.handler.fs
    new = [(hub.resolve_path(path), file) for path, file in added.items()]
    old = [hub.resolve_path(path) for path in removed]
    if not new and not old:
        return
    place = new[0][0] if new else old[0]
    if hasattr(place, "bucket_id"):
        HfApi().batch_bucket_files(
            place.bucket_id, add=[(str(file), at.path) for at, file in new], delete=[at.path for at in old]
        )
        return
    HfApi().create_commit(
        place.repo_id, repo_type=place.repo_type, revision=place.revision, commit_message=COMMIT_MESSAGE,
        operations=[
            *(CommitOperationAdd(at.path_in_repo, str(file)) for at, file in new),
            *(CommitOperationDelete(at.path_in_repo, is_folder=False) for at in old),
        ],
    )  # fmt: skip
