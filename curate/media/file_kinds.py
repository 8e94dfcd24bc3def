"""Describe files that are not readable videos: typical results of a failed download, and other formats."""

import re
from dataclasses import dataclass

HEAD_BYTES = 512
"""First bytes of a file that `describe_non_video` needs."""

_DOWNLOAD_AGAIN = "download the file again: the server sent something other than the video"
_REMUX = "remux it: ffmpeg -i FILE -c copy OUT.mp4"
_CONVERT = "convert it to MP4, or leave it out"
_LEAVE_OUT = "leave it out"


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
