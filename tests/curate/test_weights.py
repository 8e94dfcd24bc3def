"""Model files: nothing without a hash, nothing half, nothing wrong."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xsheet.curate.weights import KnownModel, list_models, model_hashes, pull_model, read_model, verify_models
from xsheet.schemas.errors import ConfigError, RunError

BODY = b"weights " * 5000
HASH = hashlib.sha256(BODY).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture
def server():
    """An HTTP server on this machine that answers BODY and counts requests."""

    class Handler(BaseHTTPRequestHandler):
        requests = 0

        def do_GET(self):
            type(self).requests += 1
            if self.path != "/model":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.handler = Handler
        running.url = f"http://127.0.0.1:{running.server_port}/model"
        yield running
        running.shutdown()


@pytest.fixture
def catalogue(monkeypatch, server):
    """One model whose hash is published, and one whose is not."""
    fields = {"purpose": "test", "licence": "none", "size_bytes": len(BODY), "url": server.url}
    pinned = KnownModel(name="pinned.bin", sha256=HASH, **fields)
    no_hash = KnownModel(name="no_hash.bin", sha256=None, **fields)
    monkeypatch.setattr("xsheet.curate.weights.KNOWN_MODELS", (pinned, no_hash))


def states(found):
    return {one.model.name: one.status for one in found}


def test_a_pulled_model_is_whole_and_verified(catalogue, tmp_path):
    path = pull_model("pinned.bin", tmp_path / "models")
    assert path.read_bytes() == BODY
    assert states(verify_models(tmp_path / "models"))["pinned.bin"] == "verified"


def test_a_present_model_is_not_downloaded_again(catalogue, server, tmp_path):
    pull_model("pinned.bin", tmp_path)
    pull_model("pinned.bin", tmp_path)
    assert server.handler.requests == 1


def test_listing_and_verifying_download_nothing(catalogue, server, tmp_path):
    assert states(list_models(tmp_path)) == {"pinned.bin": "absent", "no_hash.bin": "absent"}
    assert set(states(verify_models(tmp_path)).values()) == {"absent"}
    assert server.handler.requests == 0


def test_nothing_is_downloaded_without_a_hash(catalogue, server, tmp_path):
    with pytest.raises(ConfigError, match="--sha256"):
        pull_model("no_hash.bin", tmp_path)
    assert server.handler.requests == 0


def test_the_users_hash_is_kept_beside_the_file(catalogue, tmp_path):
    pull_model("no_hash.bin", tmp_path, sha256=HASH)
    assert (tmp_path / "no_hash.bin.sha256").read_text() == f"{HASH}  no_hash.bin\n"
    assert states(verify_models(tmp_path))["no_hash.bin"] == "verified"
    assert read_model(tmp_path, "no_hash.bin") == BODY


def test_a_file_of_another_hash_never_appears(catalogue, tmp_path):
    with pytest.raises(ConfigError, match=HASH) as caught:
        pull_model("no_hash.bin", tmp_path, sha256=OTHER)
    assert OTHER in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_hash_against_the_known_one_is_refused(catalogue, server, tmp_path):
    with pytest.raises(ConfigError, match="leave --sha256 out"):
        pull_model("pinned.bin", tmp_path, sha256=OTHER)
    assert server.handler.requests == 0


def test_a_file_that_is_too_large_is_not_read_to_its_end(catalogue, tmp_path):
    with pytest.raises(RunError, match="smaller"):
        pull_model("pinned.bin", tmp_path, max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_page_is_a_run_error(catalogue, server, tmp_path):
    with pytest.raises(RunError, match="404"):
        pull_model("pinned.bin", tmp_path, url=server.url + "-gone")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/model", "model.bin"])
def test_only_http_addresses_are_opened(catalogue, tmp_path, url):
    with pytest.raises(ConfigError, match="http or https"):
        pull_model("pinned.bin", tmp_path, url=url)


def test_a_changed_file_is_refused_and_both_hashes_named(catalogue, tmp_path):
    (tmp_path / "pinned.bin").write_bytes(b"other")
    assert states(verify_models(tmp_path))["pinned.bin"] == "mismatch"
    with pytest.raises(ConfigError, match=HASH) as caught:
        read_model(tmp_path, "pinned.bin")
    assert OTHER in str(caught.value)


def test_a_file_without_a_hash_is_not_opened(catalogue, tmp_path):
    (tmp_path / "no_hash.bin").write_bytes(BODY)
    assert states(verify_models(tmp_path))["no_hash.bin"] == "no_hash"
    with pytest.raises(ConfigError, match=r"check no_hash\.bin against"):
        read_model(tmp_path, "no_hash.bin")


def test_an_unknown_name_lists_the_known_ones(catalogue, tmp_path):
    with pytest.raises(ConfigError, match=r"pinned\.bin, no_hash\.bin"):
        pull_model("../pinned.bin", tmp_path)


def test_results_depend_on_the_models_that_are_there(catalogue, tmp_path):
    assert model_hashes(None) == model_hashes(tmp_path) == {}
    (tmp_path / "pinned.bin").write_bytes(BODY)
    assert model_hashes(tmp_path) == {"pinned.bin": HASH}


def test_the_bundles_of_the_test_machine_are_the_known_ones(shared):
    assert {one.status for one in verify_models(shared / "models")} <= {"verified", "absent"}
