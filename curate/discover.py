"""Expand the arguments of a run into input files: folders, patterns, files, or tables with a `path` column.

URLs of object stores (s3://, gs://, az://, hf://) name folders, patterns, files and tables, too.

Output of xsheet is never an input: folders with `set.json` are skipped in folders and patterns. Links are followed
into the searched folder and into declared roots; other links become inputs that the probe rejects with a reason.
"""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from xsheet.curate.manifest import TABLE_SUFFIXES, Crop, ManifestEntry, ManifestSegment, read_manifest
from xsheet.curate.paths import find_unicode_variant, path_to_text, resolve_path, text_to_path
from xsheet.curate.remote import remote_manifest
from xsheet.runtime.storage.place import is_other_url, is_url
from xsheet.runtime.storage.stores import RemoteObject, describe_objects, list_objects
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.sets import SET_FILE
from xsheet.schemas.source import ManifestColumn

# Suffixes that count as video inside a folder or pattern; a file named explicitly or in a table is always an input.
# Formats that cannot be read are listed too, so that such files get a failed row instead of disappearing.
VIDEO_SUFFIXES = (
    ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".3gp", ".avi", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv",
    ".ts", ".vob", ".wmv",
)  # fmt: skip
REMOTE_ROOT = Path("/")  # of inputs that are URLs: the fetched file lies where xsheet puts it


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One input file."""

    path: str  # as the operating system gives it; bytes that are not UTF-8 are lone surrogates
    root: Path  # absolute; the file must lie below it
    manifest_columns: tuple[ManifestColumn, ...] = ()  # further columns of the table that lists it
    segments: tuple[ManifestSegment, ...] = ()  # parts that the table names; none = the whole video
    remote: RemoteObject | None = None  # as listed, if the path is a URL; None also where nothing is there

    @property
    def is_remote(self) -> bool:
        """Whether the path is a URL."""
        return is_url(self.path)

    @property
    def name(self) -> str:
        """The path as text that tables can hold."""
        return path_to_text(self.path)


def discover(
    inputs: Sequence[str], *, roots: Sequence[Path] = (), columns: Mapping[str, str] | None = None
) -> list[InputFile]:
    """Return all input files, each path once, sorted by path; of several manifests the columns of the first.

    Args:
        inputs: folders (searched recursively), patterns with * or **, files, or manifests (xsheet.curate.manifest);
            relative paths in a manifest start at its folder.
        roots: further folders into which links are followed.
        columns: {column of xsheet: column of the manifests} where they differ.

    Raises:
        ConfigError: an input does not exist, a pattern or folder has no video, a manifest cannot be used, or a
            root is not a folder, or two manifests name other segments of a video.
    """
    linked_roots = LinkedRoots(tuple(_checked_root(root) for root in roots))
    files: dict[str, InputFile] = {}
    for text in inputs:
        found = list(_expand(text, linked_roots, columns or {}))
        for one in found:
            files[one.path] = _merged(files.get(one.path, one), one)
        if not found:
            raise ConfigError(
                where=path_to_text(text), expected="at least one video",
                got="the output of a run, a folder with set.json" if (Path(text) / SET_FILE).is_file() else "none",
                hint=f"name a folder with files like {', '.join(VIDEO_SUFFIXES[:4])}, or the files themselves",
            )  # fmt: skip
    return [files[path] for path in sorted(files)]


def _merged(first: InputFile, second: InputFile) -> InputFile:
    """One input of two with the same path; the values of a manifest stay."""
    if first.segments and second.segments and first.segments != second.segments:
        raise ConfigError(
            where=first.name, expected="one manifest that names segments of a video", got="two with different segments",
            hint="put all rows into one manifest",
        )  # fmt: skip
    return second if second.segments or not (first.segments or first.manifest_columns) else first


@dataclass(frozen=True, slots=True)
class LinkedRoots:
    """Folders into which links may lead, resolved."""

    folders: tuple[Path, ...]

    def root_of(self, path: Path, root: Path) -> Path:
        """The root for a path: the declared one that its link leads into, else `root`."""
        target = resolve_path(path)
        if target.is_relative_to(resolve_path(root)):
            return root
        return next((folder for folder in self.folders if target.is_relative_to(folder)), root)

    def contain(self, folder: Path) -> bool:
        """Whether a resolved folder lies inside."""
        return any(folder.is_relative_to(root) for root in self.folders)


def _checked_root(root: Path) -> Path:
    if not root.is_dir():
        raise ConfigError(
            where="--root",
            expected="a folder",
            got=path_to_text(str(root)),
            hint="name the folder that links lead into",
        )
    return root.resolve()


def _expand(argument: str, roots: LinkedRoots, columns: Mapping[str, str]) -> Iterator[InputFile]:
    if is_url(argument):
        yield from _remote_inputs(argument, columns)
        return
    path = Path(argument)
    if not os.path.lexists(path) and not glob.has_magic(argument):
        path = find_unicode_variant(path)
    if path.is_dir():
        yield from _videos_in_folder(path, roots)
    elif path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        yield from _inputs_in_table(path, roots, columns)
    elif path.exists():
        # A link given as an argument stands for the file that it leads to.
        yield InputFile(path=str(path), root=path.resolve().parent)
    elif glob.has_magic(argument):
        yield from _files_matching(argument, roots)
    else:
        raise ConfigError(
            where=path_to_text(argument),
            expected="a folder, a file, a pattern or a table",
            got="no such path",
            hint="check the path",
        )


def _remote_inputs(url: str, columns: Mapping[str, str]) -> Iterator[InputFile]:
    entries = remote_manifest(url, columns)
    if entries is not None:
        yield from _inputs_of_entries(entries, url.rpartition("/")[0])
        return
    found = list_objects(url)
    sets = {one.url.removesuffix(SET_FILE) for one in found if one.url.endswith(f"/{SET_FILE}")}
    named = len(found) == 1 and found[0].url == url
    for one in found:
        is_video = PurePosixPath(one.url).suffix.lower() in VIDEO_SUFFIXES
        if named or (is_video and not any(one.url.startswith(folder) for folder in sets)):
            yield InputFile(path=one.url, root=REMOTE_ROOT, remote=one)


def _inputs_of_entries(entries: Sequence[ManifestEntry], folder: str) -> Iterator[InputFile]:
    """Inputs of a manifest; relative paths start at the folder of the manifest."""
    urls = [entry.path if is_url(entry.path) else f"{folder}/{entry.path}" for entry in entries]
    listed = describe_objects(urls)
    for url, entry in zip(urls, entries, strict=True):
        yield InputFile(
            path=url, root=REMOTE_ROOT, manifest_columns=entry.columns, segments=entry.segments,
            remote=listed.get(url),
        )  # fmt: skip


def _videos_in_folder(top: Path, roots: LinkedRoots) -> Iterator[InputFile]:
    root, visited = top.absolute(), set[Path]()
    pending = [top]
    while pending:
        folder = pending.pop()
        for parent, folders, names in os.walk(folder):
            if SET_FILE in names:
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in [name for name in folders if (Path(parent) / name).is_symlink()]:
                link = Path(parent) / name
                target = resolve_path(link)
                if target.is_relative_to(root.resolve()):
                    continue  # its files are found where they lie
                if not roots.contain(target):
                    yield InputFile(path=str(link), root=root)  # refused by the probe, which names the option
                elif target not in visited:
                    visited.add(target)
                    pending.append(link)
            for name in sorted(names):
                if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                    path = Path(parent) / name
                    yield InputFile(path=str(path), root=roots.root_of(path, root))


def _files_matching(pattern: str, roots: LinkedRoots) -> Iterator[InputFile]:
    fixed = next(parent for parent in Path(pattern).parents if not glob.has_magic(str(parent)))
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob refuses absolute patterns
        path = Path(name)
        inside = (parent for parent in path.parents if parent != fixed and parent.is_relative_to(fixed))
        if path.is_file() and not any((parent / SET_FILE).is_file() for parent in inside):
            yield InputFile(path=name, root=roots.root_of(path, fixed.absolute()))


def _inputs_in_table(table: Path, roots: LinkedRoots, columns: Mapping[str, str]) -> Iterator[InputFile]:
    entries = read_manifest(table, columns)
    yield from _inputs_of_entries([entry for entry in entries if is_url(entry.path)], "")
    for entry in (entry for entry in entries if not is_url(entry.path)):
        if is_other_url(entry.path):  # refused by the probe, which states why
            yield InputFile(
                path=entry.path, root=table.absolute().parent, manifest_columns=entry.columns, segments=entry.segments
            )
            continue
        # A table may name files anywhere, so its root is the folder of each file.
        file = find_unicode_variant(Path(entry.path) if Path(entry.path).is_absolute() else table.parent / entry.path)
        yield InputFile(
            path=str(file), root=roots.root_of(file, file.absolute().parent), manifest_columns=entry.columns,
            segments=entry.segments,
        )  # fmt: skip


def inputs_of_set(set_folder: Path) -> list[InputFile]:
    """The inputs of the last run over a set, empty for a new set; relative paths start at the working folder.

    Raises:
        ContractError: the table `sources` has another schema version.
    """
    inputs = []
    sources = list(tables.iter_records(set_folder, tables.SOURCES))
    listed = describe_objects([source.path for source in sources if is_url(source.path)])
    for source in sources:
        path = Path(text_to_path(source.path))
        # A link that was refused stays refused; one that was followed stays followed.
        root = path.absolute().parent if source.reason == "outside_root" else resolve_path(path).parent
        segments = [
            ManifestSegment(start_us=one.start_us, end_us=one.end_us, crop=one.crop, columns=one.columns)
            for one in source.segments
        ]
        for one in source.unusable_segments:
            crop, columns = _crop(one.crop), one.columns
            segments.append(
                ManifestSegment(
                    start_us=one.start_us, end_us=one.end_us, crop=crop, columns=columns, crop_height=one.crop_height
                )
            )
        segments.sort(key=lambda one: one.start_us)
        written = source.path if is_other_url(source.path) else str(path)
        found = InputFile(path=written, root=root, manifest_columns=source.manifest_columns, segments=tuple(segments))
        if is_url(source.path):
            found = replace(found, path=source.path, root=REMOTE_ROOT, remote=listed.get(source.path))
        inputs.append(found)
    return inputs


def _crop(edges: tuple[float, ...]) -> Crop | None:
    if not edges:
        return None
    x0, y0, x1, y1 = edges
    return x0, y0, x1, y1
