"""Emulators of Google's and Azure's stores, and the routes of the Hugging Face Hub that its client needs."""

import base64
import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pyarrow import fs

BUCKET = "films"
AZURE_NAME = "devstoreaccount1"  # account and key of every emulator, from its documentation
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
REPO = "datasets/people/talk"
TOKEN = "hf_test"
DATE = "2026-11-30T00:00:00.000Z"

StartServer = Callable[..., AbstractContextManager[int]]


class Hub:
    """A private dataset in memory: requests without the token find nothing, as on the Hub.

    Every file is a regular one; the Hub takes binary files through a storage of its own (Xet), which is not imitated.
    """

    def __init__(self) -> None:
        hub = self
        self.files: dict[str, bytes] = {}
        self.commits: list[list[str]] = []
        """Paths that each commit added or removed."""
        self.failures = 0
        """How many of the next requests are answered by 503."""
        self.requests = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = unquote(urlsplit(self.path).path).strip("/")
                query = parse_qs(urlsplit(self.path).query)
                hub.requests += 1
                if hub.failures:
                    hub.failures -= 1
                    self._send(503, b"")
                elif path == "api/validate-yaml":
                    self._send(200, b'{"errors": [], "warnings": []}')
                elif self.headers.get("Authorization") != f"Bearer {TOKEN}" or REPO not in path:
                    self._send(401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
                elif path.startswith(f"{REPO}/resolve/main/"):
                    self._send_file(path.removeprefix(f"{REPO}/resolve/main/"))
                else:
                    found = hub.api(path.removeprefix(f"api/{REPO}").strip("/"), query, body)
                    if found is None:
                        self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                    else:
                        self._send(200, json.dumps(found).encode())

            def _send_file(self, name: str) -> None:
                data = hub.files.get(name)
                if data is None:
                    self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                elif asked := self.headers.get("Range"):
                    first, _, last = asked.removeprefix("bytes=").partition("-")
                    self._send(206, data[int(first) : int(last) + 1 if last else None])
                else:
                    self._send(200, data)

            def _send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_POST = do_HEAD = _answer  # noqa: N815 - names of the library

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def api(self, route: str, query: Mapping[str, list[str]], body: bytes) -> Any:
        """The answer of a route below /api/REPO; None if there is nothing."""
        name, _, rest = route.partition("/")
        match name:
            case "" | "revision":
                return {"id": REPO.partition("/")[2], "sha": "0" * 40, "private": True, "tags": [], "downloads": 0}
            case "paths-info":
                return [one for path in parse_qs(body.decode())["paths"] if (one := self._entry(path))]
            case "tree":
                return self._tree(rest.partition("/")[2], is_recursive=query.get("recursive") == ["true"])
            case "preupload":
                paths = [one["path"] for one in json.loads(body)["files"]]
                return {"files": [{"path": one, "uploadMode": "regular", "shouldIgnore": False} for one in paths]}
            case "commit":
                return self._commit([json.loads(line) for line in body.splitlines()])
        return None

    def _commit(self, lines: list[dict[str, Any]]) -> Any:
        operations = lines[1:]  # the first is the header
        for one in operations:
            if one["key"] == "deletedFile":
                del self.files[one["value"]["path"]]
            else:
                self.files[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
        self.commits.append([one["value"]["path"] for one in operations])
        oid = hashlib.sha1(str(len(self.commits)).encode()).hexdigest()
        return {"commitUrl": f"{self.url}/{REPO}/commit/{oid}", "commitOid": oid}

    def _tree(self, folder: str, *, is_recursive: bool) -> Any:
        prefix = f"{folder}/" if folder else ""
        below = [path.removeprefix(prefix) for path in self.files if path.startswith(prefix)]
        names = {"/".join(path.split("/")[:k]) for path in below for k in range(1, path.count("/") + 2)}
        found = [self._entry(prefix + name) for name in sorted(names) if is_recursive or "/" not in name]
        return found or None

    def _entry(self, path: str) -> dict[str, Any] | None:
        commit = {"id": "0" * 40, "title": "a commit", "date": DATE}  # of the same second for all
        if path in self.files:
            data = self.files[path]
            oid = hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()
            return {"type": "file", "path": path, "size": len(data), "oid": oid, "lastCommit": commit}
        if any(one.startswith(f"{path}/") for one in self.files):
            return {"type": "directory", "path": path, "oid": "1" * 40, "lastCommit": commit}
        return None


@pytest.fixture(scope="session")
def google_port(start_server: StartServer) -> Iterator[int]:
    pytest.importorskip("gcp_storage_emulator", reason="the emulator of Google's store is not installed")
    start = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host=127.0.0.1", "--in-memory"]
    with start_server(lambda port: [*start, f"--port={port}", f"--default-bucket={BUCKET}"]) as port:
        yield port


@pytest.fixture
def gs(google_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """URL of an empty folder."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{google_port}")
    monkeypatch.setenv("XSHEET_CACHE", str(tmp_path / "cache"))
    return f"gs://{BUCKET}/{tmp_path.name}"


@pytest.fixture(scope="session")
def azure_connection(start_server: StartServer) -> Iterator[str]:
    azurite = shutil.which("azurite-blob")
    if azurite is None:
        pytest.skip("Azure's emulator is not installed: npm install -g azurite")
    options = ("--blobHost", "127.0.0.1", "--inMemoryPersistence", "--silent", "--skipApiVersionCheck")
    with start_server(lambda port: [azurite, *options, "--disableTelemetry", "--blobPort", str(port)]) as port:
        store = fs.AzureFileSystem(
            account_name=AZURE_NAME, account_key=AZURE_KEY,
            blob_storage_scheme="http", blob_storage_authority=f"127.0.0.1:{port}",
            dfs_storage_scheme="http", dfs_storage_authority=f"127.0.0.1:{port}",
        )  # fmt: skip
        store.create_dir(BUCKET)
        yield f"AccountName={AZURE_NAME};AccountKey={AZURE_KEY};BlobEndpoint=http://127.0.0.1:{port}/{AZURE_NAME};"


@pytest.fixture
def az(azure_connection: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """URL of an empty folder."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_connection)
    monkeypatch.setenv("XSHEET_CACHE", str(tmp_path / "cache"))
    return f"az://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def hub() -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub")
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def hf(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """URL of an empty dataset; huggingface_hub read the address of its server when it was imported."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )
    for name, value in {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "XSHEET_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return f"hf://{REPO}"
