"""Validate inputs: local regular files below a root whose first bytes match an allowed container.

The path is resolved and device and inode are remembered, so that the file read is the file checked. The magic bytes
choose the demuxer, never the name. Allowed: MP4/MOV, Matroska/WebM, and MPEG program streams (GRID and older corpora).
AVI is excluded (playlists hidden in AVI were an attack on upload services in 2017). Transport streams are excluded
because they have no header to check, and remuxing one to MP4 is lossless.
"""

import errno
import os
import re
import stat
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal

from xsheet.curate.paths import path_to_text
from xsheet.schemas.errors import ConfigError, MediaError, MediaReason

Demuxer = Literal["mov", "matroska", "mpeg"]
HEAD_BYTES = 512
"""First bytes of a file that `describe_non_video` needs."""

_DOWNLOAD_AGAIN = "download the file again: the server sent something other than the video"
_REMUX = "remux it: ffmpeg -i FILE -c copy OUT.mp4"
_CONVERT = "convert it to MP4, or leave it out"
_LEAVE_OUT = "leave it out"

_PROTOCOL_PATTERN = re.compile(r"[^/]+:")  # http:, concat:, data:, and subfile,,start,0,end,9,,:
_FIRST_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"styp", b"sidx"})
# Still images in MP4 boxes: the demuxer would read them as a video of one frame.
_STILL_IMAGE_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis", b"jpeg", b"crx "}
)

_MISSING_ERRNOS = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class _FileKind:
    pattern: bytes  # regular expression at the start of the file, ignoring case
    description: str
    hint: str


_TEXT_START = rb"(?:\xef\xbb\xbf)?\s*"
_FILE_KINDS = (
    _FileKind(rb"version https://git-lfs", "a Git LFS pointer instead of the file", "run `git lfs pull` in its folder"),
    _FileKind(rb"\S*/annex/objects/", "a git-annex pointer instead of the file", "run `git annex get` in its folder"),
    _FileKind(
        _TEXT_START + rb"(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body|script)\b", "an HTML page",
        _DOWNLOAD_AGAIN,
    ),
    _FileKind(_TEXT_START + rb"<\?xml|" + _TEXT_START + rb"<Error>", "an XML document", _DOWNLOAD_AGAIN),
    _FileKind(_TEXT_START + rb"[{\[]\s*[\"\[{\]}]", "a JSON document", _DOWNLOAD_AGAIN),
    _FileKind(_TEXT_START + rb"#EXTM3U", "a playlist", "download the video that it lists"),
    _FileKind(_TEXT_START + rb"(?:WEBVTT|1\r?\n\d\d:\d\d:)", "subtitles", _LEAVE_OUT),
    _FileKind(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM.{4}\x00{4}|II\*\x00|MM\x00\*", "an image", _LEAVE_OUT),
    _FileKind(rb".{4}ftyp(?:hei|mif|msf|avi|jpeg|crx)", "an image", _LEAVE_OUT),
    _FileKind(rb"RIFF....WAVE|ID3|fLaC|OggS.{24}.?(?:OpusHead|\x01vorbis)|\xff[\xfb\xf3\xf2\xf1\xf9]", "an audio file",
              _LEAVE_OUT),
    _FileKind(rb"RIFF....AVI ", "an AVI file", _CONVERT),
    _FileKind(rb"FLV\x01", "an FLV file", _CONVERT),
    _FileKind(rb"\x30\x26\xb2\x75", "a WMV/ASF file", _CONVERT),
    _FileKind(rb"OggS", "an Ogg file", _CONVERT),
    _FileKind(rb"\x06\x0e\x2b\x34", "an MXF file", _CONVERT),
    _FileKind(rb"\x47.{187}\x47|.{4}\x47.{191}\x47", "an MPEG transport stream", _REMUX),
    _FileKind(rb"\x00\x00\x00?\x01[\x09\x27\x67\x40\x46]", "a raw H.264/H.265 stream", _CONVERT),
    _FileKind(rb"\x00\x00\x01\xb3", "a raw MPEG video stream", _CONVERT),
    _FileKind(rb"PK\x03\x04|\x1f\x8b|BZh|7z\xbc\xaf|Rar!|\xfd7zXZ|\x28\xb5\x2f\xfd", "an archive", "unpack it first"),
    _FileKind(rb"%PDF", "a PDF document", _LEAVE_OUT),
    _FileKind(rb"\x00+\Z", "only zero bytes at its start", "download it again: the file was not written completely"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A validated file: its identity and its demuxer."""

    input_path: str
    path: Path
    device: int
    inode: int
    size_bytes: int
    demuxer: Demuxer

    def open(self) -> FileIO:
        """Open the file for one pass, unbuffered.

        Raises:
            MediaError: the path leads to another file than the one checked.
        """
        file, file_stat = _open_regular(self.path, input_path=self.input_path)
        if (file_stat.st_dev, file_stat.st_ino, file_stat.st_size) != (self.device, self.inode, self.size_bytes):
            file.close()
            raise _media_error(
                "unreadable", self.input_path, "the file that was checked", "another one", "keep inputs unchanged"
            )
        return file


def validate_input(path: str | os.PathLike[str], *, root: Path) -> LocalFile:
    """Validate a path and its first bytes.

    Args:
        path: input path; relative paths start at the working directory.
        root: folder that the file must lie below after links are resolved.

    Raises:
        MediaError: missing, outside_root, not_a_file, unreadable, empty or not_media.
        ConfigError: the root is not a folder.
    """
    resolved = _resolve(os.fspath(path), root=root)
    input_path = path_to_text(os.fspath(path))
    file, file_stat = _open_regular(resolved, input_path=input_path)
    with file:
        if file_stat.st_size == 0:
            raise _media_error("empty", input_path, "a video", "a file of zero bytes", "download it again")
        head = file.read(HEAD_BYTES)
    return LocalFile(
        input_path=input_path,
        path=resolved,
        device=file_stat.st_dev,
        inode=file_stat.st_ino,
        size_bytes=file_stat.st_size,
        demuxer=_demuxer_of(head, input_path=input_path),
    )


def _resolve(input_path: str, *, root: Path) -> Path:
    if _PROTOCOL_PATTERN.match(input_path):
        hint = "copy it to a local folder; write a file name that holds a ':' as an absolute path"
        raise _media_error("outside_root", input_path, "a local path", "a URL or a protocol form", hint)
    try:
        resolved = Path(input_path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: a NUL byte
        known = not isinstance(error, OSError) or error.errno in _MISSING_ERRNOS
        reason: MediaReason = "missing" if known else "unreadable"
        raise _media_error(reason, input_path, "a file", _first_line(error), "check the path") from error
    if not root.is_dir():
        raise ConfigError(where=str(root), expected="a folder as root of the inputs", got="none", hint="set the root")
    if not resolved.is_relative_to(root.resolve()):
        hint = f"pass --root {resolved.parent} to read linked files there, or copy the file"
        raise _media_error("outside_root", input_path, f"a file below {root}", f"{resolved}", hint)
    return resolved


def _open_regular(path: Path, *, input_path: str) -> tuple[FileIO, os.stat_result]:
    # Check before opening, because opening a device can have effects. O_NONBLOCK and O_NOFOLLOW guard against a pipe or
    # link that replaces the file in between.
    try:
        _check_regular(path.lstat(), input_path=input_path)
        file = FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK))
    except OSError as error:
        is_missing = error.errno in _MISSING_ERRNOS
        hint = "check the path" if is_missing else "check its permissions"
        raise _media_error(
            "missing" if is_missing else "unreadable", input_path, "a file", _first_line(error), hint
        ) from error
    try:
        file_stat = os.fstat(file.fileno())
        _check_regular(file_stat, input_path=input_path)
    except BaseException:
        file.close()
        raise
    return file, file_stat


def _check_regular(file_stat: os.stat_result, *, input_path: str) -> None:
    if stat.S_ISREG(file_stat.st_mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a link"}
    kind = kinds.get(stat.S_IFMT(file_stat.st_mode), "a device")
    raise _media_error("not_a_file", input_path, "a regular file", kind, "name the video itself")


def _demuxer_of(head: bytes, *, input_path: str) -> Demuxer:
    if head[4:8] in _FIRST_MP4_BOXES and not (head[4:8] == b"ftyp" and head[8:12] in _STILL_IMAGE_BRANDS):
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg"
    got, hint = describe_non_video(head)
    raise _media_error("not_media", input_path, "MP4/MOV, Matroska/WebM or MPEG-PS", got, hint)


def _first_line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0] if text else type(error).__name__


def _media_error(reason: MediaReason, where: str, expected: str, got: str, hint: str) -> MediaError:
    where, got, hint = (path_to_text(text) for text in (where, got, hint))
    return MediaError(reason=reason, where=where, expected=expected, got=got, hint=hint)


def describe_non_video(head: bytes) -> tuple[str, str]:
    """Kind of an unreadable file and a hint, from its first HEAD_BYTES bytes."""
    for kind in _FILE_KINDS:
        if re.match(kind.pattern, head, re.IGNORECASE | re.DOTALL):
            return kind.description, kind.hint
    if _is_text(head):
        return f"a text file that begins with {head[:40].decode(errors='replace')!r}", _DOWNLOAD_AGAIN
    return f"an unknown format with first bytes {head[:12]!r}", _CONVERT


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # The end of the head may cut a character.
        if len(head) < HEAD_BYTES or error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return bool(text) and all(c.isprintable() or c.isspace() for c in text)
