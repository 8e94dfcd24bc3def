"""Google's, Azure's and Hugging Face's stores: objects, sets and exports as in S3, against an emulator of each."""

import json
import os
import time

import pytest

from xsheet.runtime.storage import attempts
from xsheet.runtime.storage.fetched import FetchCache
from xsheet.runtime.storage.mirror import open_mirror
from xsheet.runtime.storage.stores import (
    delete_objects,
    describe_objects,
    list_objects,
    read_object,
    upload,
    upload_files,
    write_object,
)
from xsheet.schemas.errors import ConfigError, RunError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.01)


@pytest.fixture(params=["gs", "az", "hf"])
def url(request):
    """URL of an empty folder of each store."""
    return request.getfixturevalue(request.param)


def test_a_url_is_an_object_a_folder_or_a_pattern(url):
    for name in ("a/1.mp4", "a/b/2.mp4", "c/3.mp4"):
        write_object(f"{url}/{name}", b"x")

    def names(end):
        return [one.url.removeprefix(f"{url}/") for one in list_objects(f"{url}/{end}")]

    assert names("a/1.mp4") == ["a/1.mp4"]
    assert names("a") == names("a/") == ["a/1.mp4", "a/b/2.mp4"]
    assert names("*/*.mp4") == ["a/1.mp4", "c/3.mp4"]
    assert names("**/*.mp4") == ["a/1.mp4", "a/b/2.mp4", "c/3.mp4"]
    assert list(describe_objects([f"{url}/a/1.mp4", f"{url}/none.mp4", f"{url}/a"])) == [f"{url}/a/1.mp4"]
    with pytest.raises(ConfigError, match="expected an object, a folder or a pattern, got nothing"):
        list_objects(f"{url}/none")


def test_an_object_of_many_parts_arrives_whole(url, tmp_path):
    (tmp_path / "big.bin").write_bytes(os.urandom(12 << 20))
    upload(tmp_path / "big.bin", f"{url}/big.bin")
    (big,) = list_objects(f"{url}/big.bin")
    with FetchCache(tmp_path / "fetched").file(big) as path:
        assert path.read_bytes() == (tmp_path / "big.bin").read_bytes()


def test_a_film_that_was_replaced_by_one_of_the_same_size_is_fetched_anew(url, tmp_path):
    contents = []
    for content in (b"one", b"two"):
        write_object(f"{url}/film.mp4", content)
        with FetchCache(tmp_path / "fetched").file(describe_objects([f"{url}/film.mp4"])[f"{url}/film.mp4"]) as path:
            contents.append(path.read_bytes())
        time.sleep(1.1 if url.startswith("az") else 0)  # Azure's times are of whole seconds
    assert contents == [b"one", b"two"]


def test_deleted_objects_are_gone_and_absent_ones_are_passed_over(url):
    for name in ("a", "b"):
        write_object(f"{url}/folder/{name}", b"x")
    delete_objects([f"{url}/folder/a", f"{url}/folder/none"])
    assert read_object(f"{url}/folder/a", max_bytes=9) is None
    assert [one.url for one in list_objects(f"{url}/folder")] == [f"{url}/folder/b"]


def test_a_set_is_published_seen_and_changed_by_another_machine_and_a_second_writer_is_refused(
    url, monkeypatch, tmp_path
):
    place = f"{url}/talk"

    def publish(machine, files):
        monkeypatch.setenv("XSHEET_CACHE", str(tmp_path / machine))
        with open_mirror(place) as mirror:
            found = {path.name: path.read_text() for path in mirror.folder.glob("*.json")}
            for name, text in files.items():
                (mirror.folder / name).write_text(text)
            mirror.publish()
        return found

    publish("first", {"a.json": "one", "b.json": "same"})
    assert publish("second", {"a.json": "two"}) == {"a.json": "one", "b.json": "same"}
    assert publish("first", {}) == {"a.json": "two", "b.json": "same"}
    with open_mirror(place) as mirror:
        first = mirror.folder
        publish("second", {"a.json": "theirs"})
        (first / "a.json").write_text("ours")
        with pytest.raises(RunError, match="expected no other writer"):
            mirror.publish()
    assert publish("third", {}) == {"a.json": "theirs", "b.json": "same"}


def test_the_hub_gets_one_commit_of_many_files_and_keeps_its_own(hf, hub, tmp_path):
    hub.files[".gitattributes"] = b"*.mp4 filter=lfs"
    for name in "abc":
        (tmp_path / name).write_text(name)
    arrived = []
    upload_files({f"{hf}/{name}": tmp_path / name for name in "abc"}, on_arrival=arrived.append)
    assert hub.commits == [["a", "b", "c"]]
    assert arrived == [one.url for one in list_objects(hf)] == [f"{hf}/{name}" for name in "abc"]


def test_the_hub_describes_many_files_in_one_request(hf, hub):
    hub.files.update({f"{k:03d}.mp4": b"x" for k in range(300)})
    before = hub.requests
    found = describe_objects([f"{hf}/{k:03d}.mp4" for k in range(301)])
    assert len(found) == 300
    assert hub.requests - before <= 2


def test_the_hub_is_asked_again_after_a_503(hf, hub):
    write_object(f"{hf}/a.json", b"{}")
    hub.failures = 2
    assert read_object(f"{hf}/a.json", max_bytes=9) == b"{}"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("hf://datasets/people/none/a", "got nothing; check the URL; a private repository needs HF_TOKEN"),
        ("hf://people", "expected the URL of a file or folder of the store"),
        ("hf://datasets/people", "expected the URL of a file or folder of the store"),
    ],
)
def test_a_url_without_a_repository_is_one_sentence(place, message, hf):
    with pytest.raises(ConfigError, match=message) as caught:
        list_objects(place)
    assert "\n" not in str(caught.value)


def test_without_a_login_a_private_repository_is_one_sentence(hf, monkeypatch):
    write_object(f"{hf}/a.json", json.dumps({}).encode())
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ConfigError, match="a private repository needs HF_TOKEN or `hf auth login`"):
        list_objects(hf)


@pytest.mark.parametrize(
    ("kind", "place"), [("gs", "gs://nobucket/a"), ("az", "az://none/a"), ("hf", "hf://datasets/a/b/c")]
)
def test_a_place_that_does_not_exist_is_not_created_and_one_sentence(kind, place, request):
    request.getfixturevalue(kind)
    with pytest.raises(RunError) as caught:
        write_object(place, b"x")
    assert "which you can write to" in str(caught.value)
    assert "\n" not in str(caught.value)
