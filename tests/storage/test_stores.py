"""Object stores with a real server and planted faults: what arrives is whole, what does not is one sentence."""

import hashlib
import io
import os
import subprocess
import sys
import threading
import time

import pytest

from xsheet.runtime.storage import attempts
from xsheet.runtime.storage.fetched import FetchCache
from xsheet.runtime.storage.stores import fetch, list_objects, read_object, upload, write_object
from xsheet.schemas.errors import ConfigError, MediaError, RunError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DATA = bytes(range(256)) * 4000


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def film(s3):
    write_object("s3://films/a/talk.mp4", DATA)
    (found,) = list_objects("s3://films/a")
    return found


def test_a_url_is_an_object_a_folder_or_a_pattern(s3):
    for name in ("a/1.mp4", "a/b/2.mp4", "c/3.mp4"):
        write_object(f"s3://films/{name}", b"x")

    def names(url):
        return [one.url.removeprefix("s3://films/") for one in list_objects(url)]

    assert names("s3://films/a/1.mp4") == ["a/1.mp4"]
    assert names("s3://films/a") == names("s3://films/a/") == ["a/1.mp4", "a/b/2.mp4"]
    assert names("s3://films/*/*.mp4") == ["a/1.mp4", "c/3.mp4"]
    assert names("s3://films/**/*.mp4") == ["a/1.mp4", "a/b/2.mp4", "c/3.mp4"]


@pytest.mark.parametrize("fault", ["503", "drop", "drop before", "slow", "silent"])
def test_a_file_arrives_whole_after_a_fault(fault, s3, film, tmp_path):
    s3.fails(2 if fault != "silent" else 1, fault, part="talk.mp4")
    with FetchCache(tmp_path / "fetched").file(film, sha256=hashlib.sha256(DATA).hexdigest()) as path:
        assert path.read_bytes() == DATA


def test_a_store_that_stays_away_is_a_row_and_leaves_no_file(s3, film, tmp_path):
    s3.fails(10**6, "drop", part="talk.mp4")
    with pytest.raises(MediaError) as caught, FetchCache(tmp_path / "fetched").file(film):
        pass
    assert caught.value.reason == "fetch_failed"
    assert f"s3://films/a/talk.mp4: expected {len(DATA)} bytes" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "fetched").glob("*-*"))


def test_an_object_that_was_replaced_is_not_taken_for_the_one_that_was_probed(s3, film, tmp_path):
    cache = FetchCache(tmp_path / "fetched")
    with pytest.raises(MediaError, match="that were probed, got other bytes"), cache.file(film, sha256="0" * 64):
        pass


def test_a_second_reader_fetches_nothing_and_does_not_wait_for_the_first(s3, film, tmp_path):
    cache = FetchCache(tmp_path / "fetched")
    with cache.file(film):
        before = len(s3.requests)
        with cache.file(film) as path:
            assert path.read_bytes() == DATA
    assert len(s3.requests) == before


def test_the_cache_is_bounded_and_waits_for_files_that_are_read(s3, film, tmp_path):
    write_object("s3://films/a/second.mp4", DATA)
    second, first = list_objects("s3://films/a")
    cache = FetchCache(tmp_path / "fetched", max_bytes=len(DATA) + 10)
    sizes, done = [], threading.Event()
    with cache.file(first) as kept:

        def other():
            with cache.file(second):
                sizes.append(sum(path.stat().st_size for path in cache.folder.glob("*-*")))
            done.set()

        threading.Thread(target=other, daemon=True).start()
        assert not done.wait(1)
        assert kept.exists()
    assert done.wait(30)
    assert sizes == [len(DATA)]
    small = FetchCache(tmp_path / "small", max_bytes=5)
    with pytest.raises(MediaError, match=f"expected at most 5 bytes, got {len(DATA)}"), small.file(first):
        pass


def test_missing_credentials_are_one_sentence_without_another_try(s3, film, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    s3.requests.clear()
    with pytest.raises(ConfigError) as caught:
        fetch(film, io.BytesIO())
    assert "s3://films/a/talk.mp4: expected credentials with access" in str(caught.value)
    assert "AWS_ACCESS_KEY_ID" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(s3.requests) == 1


def test_credentials_in_a_url_are_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="without credentials") as caught:
        list_objects("s3://key:secret@films/a")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://films/none", "s3://films/none/*.mp4", "s3://nobucket/x"])
def test_nothing_at_a_url_is_one_sentence(s3, url):
    with pytest.raises(ConfigError, match="expected an object, a folder or a pattern, got nothing"):
        list_objects(url)


def test_of_an_object_of_many_parts_nothing_stays_when_one_does_not_arrive(s3, tmp_path):
    (tmp_path / "big.bin").write_bytes(os.urandom(12 << 20))
    s3.fails(10**6, "drop before", method="PUT", part="partNumber=2")
    with pytest.raises(RunError, match=r"big\.bin: expected an object of 12582912 bytes"):
        upload(tmp_path / "big.bin", "s3://films/out/big.bin")
    assert read_object("s3://films/out/big.bin", max_bytes=1 << 30) is None
    s3.fails(1, "503", method="PUT", part="partNumber=2")
    upload(tmp_path / "big.bin", "s3://films/out/big.bin")
    assert read_object("s3://films/out/big.bin", max_bytes=1 << 30) == (tmp_path / "big.bin").read_bytes()


LIST = "import sys; from xsheet.runtime.storage.stores import list_objects; list_objects(sys.argv[1])"


@pytest.mark.parametrize(
    ("url", "environment", "message"),
    [
        ("s3://films/a", {}, "s3://films: expected an answer of the store"),
        ("gs://films/a", {}, "GOOGLE_APPLICATION_CREDENTIALS or `gcloud auth`"),
        ("az://films/a", {}, "expected the name of a storage account, got none; set AZURE_STORAGE_ACCOUNT"),
        ("az://films/a", {"AZURE_STORAGE_ACCOUNT": "films", "AZURE_STORAGE_KEY": "a2V5"}, "expected an answer of the"),
        ("hf://datasets/a/b/c.mp4", {}, "expected an answer of the store"),
        ("gs://", {}, "expected a bucket and a path, got neither"),
        ("az://key@films/a", {}, "expected a URL without credentials"),
    ],
)
def test_without_network_and_credentials_a_url_of_any_store_is_one_sentence_within_seconds(
    url, environment, message, tmp_path
):
    if subprocess.run(["unshare", "-n", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this user cannot switch the network off")
    names = ("AWS_", "AZURE_", "GOOGLE_", "CLOUD", "HF_", "HUGGING")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    began_s = time.monotonic()
    ran = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", LIST, url], check=False, capture_output=True, text=True, timeout=120,
        env=clean | environment | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert ran.stderr.splitlines()[-1].startswith("xsheet.schemas.errors.ConfigError: ")
    assert message in ran.stderr.splitlines()[-1]
    assert time.monotonic() - began_s < 60  # 4 to 8 s on an idle machine
