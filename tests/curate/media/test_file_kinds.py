"""A file that is no video is named for what it is."""

import pytest

from xsheet.curate.media.reader import probe
from xsheet.schemas.errors import MediaError


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"\n<!DOCTYPE html><html><head><title>404</title>", "an HTML page; download the file again"),
        (b"\xef\xbb\xbf<html lang='en'>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a Git LFS pointer.*git lfs pull"),
        (b"../.git/annex/objects/x/y", "a git-annex pointer.*git annex get"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "an XML document"),
        (b'{"error": "not found"}', "a JSON document"),
        (b"#EXTM3U\nhttp://127.0.0.1/a.ts", "a playlist"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"RIFF\0\0\0\0AVI LIST", "an AVI file; convert it to MP4"),
        (b"RIFF\0\0\0\0WAVEfmt ", "an audio file"),
        (b"PK\x03\x04", "an archive; unpack it first"),
        (bytes(300), "only zero bytes"),
        ("Zugriff verweigert: é".encode(), "a text file that begins with 'Zugriff"),
        (b"\xde\xad\xbe\xef", "an unknown format"),
    ],
)
def test_what_is_no_video_is_named(head, message, tmp_path):
    (tmp_path / "a.mp4").write_bytes(head)
    with pytest.raises(MediaError, match=message) as refused:
        probe(tmp_path / "a.mp4", root=tmp_path)
    assert refused.value.reason == "not_media"
