"""Only local regular files below the root, of an allowed container, and nothing that they point to."""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from xsheet.curate.media.reader import open_media, probe
from xsheet.curate.media.safety import validate_input
from xsheet.curate.paths import text_to_path
from xsheet.schemas.errors import ConfigError, MediaError


def reason_of(path: str | Path, root: Path) -> str:
    with pytest.raises(MediaError) as refused:
        probe(path, root=root)
    return refused.value.reason


@pytest.mark.parametrize(
    "given",
    [
        "http://localhost:1/a.mp4",
        "https://localhost:1/a.mp4",
        "concat:a.mp4|b.mp4",
        "file:a.mp4",
        "data:video/mp4;base64,AAAA",
        "subfile,,start,0,end,9,,:a.mp4",
        "crypto:a.mp4",
        "fd:0",
    ],
)
def test_a_url_or_a_protocol_form_is_outside_the_root(given, tmp_path, monkeypatch, film):
    film("a.mp4")
    film("b.mp4")
    monkeypatch.chdir(tmp_path)
    assert reason_of(given, tmp_path) == "outside_root"


def test_a_concat_path_is_refused_with_a_hint(tmp_path):
    with pytest.raises(MediaError, match="a URL or a protocol form; copy it to a local folder"):
        probe("concat:a|b", root=tmp_path)


def test_a_name_with_a_colon_is_read_by_its_absolute_path(film, tmp_path):
    assert probe(film("talk: part 1.mp4"), root=tmp_path).status == "ok"


@pytest.mark.parametrize(
    "name", ["-i.mp4", "name with spaces & ünï 'quote'.mp4", "a\nb\x1b[31m.mp4", "%d.mp4", "a|b.mp4", "*.mp4"]
)
def test_an_odd_name_is_only_a_name(name, film, tmp_path):
    assert probe(film(name), root=tmp_path).frames_found == 25


@pytest.mark.parametrize("name", [b"caf\xe9.mp4", b"back\\slash \xff\xfe.mp4", "naïve 😀 \\x41.mp4".encode()])
def test_a_name_of_any_bytes_is_stored_without_loss(name, film, tmp_path):
    path = film().rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    stored = probe(path, root=tmp_path).path
    assert os.fsencode(text_to_path(stored)) == os.fsencode(path)
    assert stored.encode().decode() == stored


def test_a_link_out_of_the_root_is_refused_and_one_inside_is_followed(film, tmp_path):
    (root := tmp_path / "root").mkdir()
    outside, inside = film("outside.mp4"), film("root/inside.mp4")
    (root / "out.mp4").symlink_to(outside)
    (root / "in.mp4").symlink_to(inside)
    assert reason_of(root / "out.mp4", root) == "outside_root"
    assert probe(root / "in.mp4", root=root).status == "ok"


def test_dots_do_not_lead_out_of_the_root(film, tmp_path):
    film("outside.mp4")
    (tmp_path / "root").mkdir()
    assert reason_of(tmp_path / "root" / ".." / "outside.mp4", tmp_path / "root") == "outside_root"


def test_special_files_are_refused_without_opening_them(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.mp4"))
        found = [reason_of(tmp_path / name, tmp_path) for name in (".", "pipe.mp4", "s.mp4")]
    assert [*found, reason_of("/dev/zero", Path("/dev"))] == ["not_a_file"] * 4


def test_nonexistent_paths_are_missing(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    names = ["none.mp4", "loop", "nul\0.mp4", "x" * 5000]
    assert [reason_of(f"{tmp_path}/{name}", tmp_path) for name in names] == ["missing"] * 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_unreadable(film, tmp_path):
    (path := film()).chmod(0)
    assert reason_of(path, tmp_path) == "unreadable"


def test_a_root_that_is_not_a_folder_is_a_config_error(film, tmp_path):
    with pytest.raises(ConfigError, match="set the root"):
        probe(film(), root=tmp_path / "none")


def test_a_file_whose_folder_is_gone_is_missing(tmp_path):
    assert reason_of(tmp_path / "gone" / "a.mp4", tmp_path / "gone") == "missing"


def test_a_file_exchanged_after_the_check_is_not_read(film, tmp_path):
    path, other = film("a.mp4"), film("b.mp4", frames=30)
    file = validate_input(path, root=tmp_path)
    other.replace(path)
    with pytest.raises(MediaError, match="expected the file that was checked"):
        file.open()


def test_the_format_follows_from_magic_bytes_not_from_the_name(film, tmp_path):
    assert probe(film("film.avi"), root=tmp_path).container == "mov"
    assert probe(film("film2.mp4", container="matroska"), root=tmp_path).container == "matroska"
    assert probe(film("film", container="mpeg", codec="mpeg1video"), root=tmp_path).container == "mpeg"


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
FFCONCAT = "ffconcat version 1.0\nfile {}\n"


@pytest.mark.parametrize(
    "text",
    [
        HLS.format("good.mp4"),
        HLS.format("http://localhost:1/good.mp4"),
        HLS.format("file:///etc/passwd"),
        FFCONCAT.format("good.mp4"),
        FFCONCAT.format("/etc/passwd"),
        FFCONCAT.format("http://localhost:1/good.mp4"),
        "<!doctype html><title>404</title>",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "<?xml version='1.0'?><MPD></MPD>",
    ],
)
def test_text_named_mp4_is_not_media(text, film, tmp_path):
    film("good.mp4")
    (path := tmp_path / "text.mp4").write_text(text)
    assert reason_of(path, tmp_path) == "not_media"


@pytest.mark.parametrize(
    "head",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        b"\xff\xd8\xff\xe0" + bytes(40),
        b"GIF89a" + bytes(40),
        b"\x00\x00\x00\x18ftypheic" + bytes(40),
        b"\x00\x00\x00\x18ftypavif" + bytes(40),
        b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(40),
        b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(40),
        b"OggS" + bytes(40),
        b"\x47" + bytes(187),
        b"\x7fELF" + bytes(40),
        b"\x00",
    ],
)
def test_other_formats_named_mp4_are_not_media(head, tmp_path):
    (path := tmp_path / "other.mp4").write_bytes(head)
    assert reason_of(path, tmp_path) == "not_media"


def test_an_empty_file_is_empty(tmp_path):
    (path := tmp_path / "empty.mp4").touch()
    assert reason_of(path, tmp_path) == "empty"


@pytest.mark.parametrize("head", [b"\x00\x00\x00\x18ftypisom", b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba"])
@pytest.mark.parametrize("tail", [HLS.format("good.mp4"), FFCONCAT.format("good.mp4")])
def test_a_playlist_behind_a_good_magic_is_not_read_as_a_playlist(head, tail, film, tmp_path):
    film("good.mp4")
    (path := tmp_path / "film.mp4").write_bytes(head.ljust(24, b"\0") + tail.encode())
    assert reason_of(path, tmp_path) in ("broken_header", "no_video", "decode_failed")


def with_external_track(movie: Path, target: str) -> None:
    """Rewrite a MOV whose index stands at the end, so that its index places the frames in another file."""
    data = bytearray(movie.read_bytes())
    folder = b"\x00\x02" + struct.pack(">H", len(target)) + target.encode() + b"\x00" * (len(target) % 2)
    alias = bytes(4) + bytes(10) + b"\x00" * 28 + bytes(12) + bytes([len(target)]) + target.encode().ljust(63, b"\0")
    alias += bytes(16) + struct.pack(">HH", 1, 1) + bytes(16) + folder + b"\xff\xff\x00\x00"
    entry = struct.pack(">I", 8 + len(alias)) + b"alis" + alias
    at = data.index(b"dref") + 4 + 8
    old = struct.unpack(">I", data[at : at + 4])[0]
    data[at : at + old] = entry
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        size_at = data.index(box) - 4
        grown = struct.unpack(">I", data[size_at : size_at + 4])[0] + len(entry) - old
        data[size_at : size_at + 4] = struct.pack(">I", grown)
    movie.write_bytes(data)


@pytest.fixture
def pointing(film: Callable[..., Path], tmp_path: Path) -> Path:
    film("secret.mp4")
    movie = film("film.mov", container="mov")
    with_external_track(movie, "/film/secret.mp4")
    return movie


def test_the_planted_external_track_works_on_a_reader_that_allows_it(pointing):
    requested = []

    def note(url: str, flags: int, options: dict[str, str]) -> None:
        requested.append(url)
        raise FileNotFoundError(url)

    with pointing.open("rb") as raw, pytest.raises(FileNotFoundError, match="secret"):
        av.open(raw, "r", container_options={"enable_drefs": "1"}, io_open=note)
    assert [Path(url).name for url in requested] == ["secret.mp4"]


def test_external_tracks_are_not_followed(pointing, tmp_path, monkeypatch):
    requested = []
    monkeypatch.setattr("xsheet.curate.media.container._refuse_other_files", lambda url, *_: requested.append(url))
    try:
        with open_media(pointing, root=tmp_path) as media:
            list(media.frames())
    except MediaError:
        pass
    assert requested == []
