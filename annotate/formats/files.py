"""Read files of other tools within limits and match them to clips. Their content is untrusted data."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NoReturn, TypeVar
from urllib.parse import unquote
from xml.etree import ElementTree as ET
from xml.parsers import expat

from xsheet.annotate.formats.base import LossTally
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ContractError
from xsheet.schemas.files import decode_json
from xsheet.schemas.source import SourceVideo

T = TypeVar("T")
MAX_DEPTH = 32  # levels of XML elements; EAF has seven, a labelling config four
MAX_BYTES = 256 << 20  # tasks of 50,000 clips; parsed it takes about ten times as much


def read_files(paths: Iterable[Path], *, max_bytes: int = MAX_BYTES) -> dict[str, str]:
    """Text of UTF-8 files by name, for `read` of a format.

    Raises:
        ContractError: a file is too large, of another encoding, not readable, or has the name of another one.
    """
    texts: dict[str, str] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                data = file.read(max_bytes + 1)
            if len(data) > max_bytes:
                raise file_error(str(path), f"at most {max_bytes} bytes", "more", "split the file, or raise the limit")
            text = data.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise file_error(
                str(path), "a readable file in UTF-8", str(error), "convert or correct the file"
            ) from error
        if path.name in texts:
            raise file_error(str(path), "file names that differ", "the same name twice", "rename one of them")
        texts[path.name] = text
    return texts


def file_error(where: str, expected: str, got: str, hint: str) -> ContractError:
    """The error for a file that cannot be imported."""
    return ContractError(where=where, expected=expected, got=" ".join(got.split())[:200], hint=hint)


def parse_files(files: Mapping[str, str], parse: Callable[[str, str], Iterable[T]], tally: LossTally) -> Iterator[T]:
    """The results of `parse(name, text)` for every file. A file that it refuses is counted as lost.

    Raises:
        ContractError: it refuses all files.
    """
    refusals: list[ContractError] = []
    for name, text in files.items():
        try:
            found = list(parse(name, text))
        except ContractError as error:
            refusals.append(error)
            tally.add("file", f"expected {error.expected}", f"{name}: {error.got}")
        else:
            yield from found
    if refusals and len(refusals) == len(files):
        raise refusals[0]


def parse_json(name: str, text: str) -> object:
    """The parsed JSON document; ContractError if it is not JSON, is nested too deeply, or contains NaN."""

    def no_constant(word: str) -> NoReturn:
        raise ValueError(f"{word} is not valid JSON")

    try:
        found: object = decode_json(text, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise file_error(
            name, "a JSON document", str(error) or "nesting that is too deep", "export it again"
        ) from error
    return found


def parse_xml(name: str, text: str) -> ET.Element:
    """The root of an XML document; ContractError if it is not XML, has a DOCTYPE (entities) or is nested too deeply."""
    builder, parser, depth = ET.TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise file_error(name, f"at most {MAX_DEPTH} levels of elements", "more", "export it again")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def doctype(*_: object) -> None:
        raise file_error(name, "XML without a DOCTYPE", "a DOCTYPE", "remove it: no supported tool needs one")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise file_error(name, "well-formed XML", str(error), "export it again") from error
    return builder.close()


class ClipIndex:
    """Clips by the names that files use for them: the id, or the file name of the video, also as a URL."""

    def __init__(self, clips: Iterable[Clip], recordings: Iterable[SourceVideo] = ()) -> None:
        """`recordings`: sources of the clips; a file about one of them is found as a clip with the id of the source."""
        self.clips_by_id = {clip.clip_id: clip for clip in clips}
        self.clips_by_recording: dict[str, list[Clip]] = {}
        for clip in self.clips_by_id.values():
            self.clips_by_recording.setdefault(clip.source_id, []).append(clip)
        self._recordings: dict[str, Clip | None] = {}
        for source in recordings:
            members = self.clips_by_recording.get(source.source_id)
            if members:
                whole = replace(members[0], clip_id=source.source_id)
                stem = _stem(source.path)
                for name in {stem, _uploaded_stem(stem), source.source_id}:
                    known = self._recordings.setdefault(name, whole)
                    if known is not None and known.clip_id != source.source_id:
                        self._recordings[name] = None  # two videos of that name
        self._by_stem: dict[str, Clip | None] = {}
        for clip in self.clips_by_id.values():
            for stem in {clip.clip_id, _stem(clip.media_path)}:
                # Two clips share the file name, so it identifies neither.
                self._by_stem[stem] = None if stem in self._by_stem else clip

    def find(self, names: Iterable[str | None], *, file: str) -> Clip | None:
        """The clip named inside a file, else by the file name; if the file names none, the only clip of the set."""
        given = [name for name in names if name]
        for name in (*given, file):
            stem = _stem(name)
            # NAME.en.vtt: subtitles name their language, exports of others their annotator.
            for key in dict.fromkeys((name, stem, stem.rpartition(".")[0])):
                clip = self.clips_by_id.get(key) or self._by_stem.get(key) or self._recordings.get(key)
                if clip is not None:
                    return clip
        return next(iter(self.clips_by_id.values())) if len(self.clips_by_id) == 1 and not given else None


def _stem(name: str) -> str:
    """File name without folders (of any system, or behind '?d=' of a URL) and ending."""
    path = unquote(name).replace("\\", "/").rpartition("?d=")[2]
    return PurePosixPath(path).stem


def _uploaded_stem(stem: str) -> str:
    """The name that a file gets when it is uploaded to Label Studio (get_valid_filename of Django)."""
    return re.sub(r"[^-\w.]", "", stem.strip().replace(" ", "_"))
