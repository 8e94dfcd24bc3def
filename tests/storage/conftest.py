"""A real S3 server (moto's), started by the tests on a free port, and a proxy before it that plants faults."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pyarrow import fs

BUCKET = "films"
PIECES = 8  # in which a slow answer comes


class FaultProxy:
    """Passes requests on to the server; `fault(method, path)` names what happens to one.

    None: nothing; "503"; "drop": the connection ends in the middle of the answer; "drop before": before the request;
    "slow": the answer comes in pieces; "silent": half of it comes, then nothing for a while. Requests that are not
    signed are denied, as S3 does.
    """

    def __init__(self, port: int) -> None:
        proxy = self
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.requests: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self._body()
                proxy.requests.append((self.command, self.path))
                fault = proxy.fault(self.command, self.path)
                if fault == "503" or "Authorization" not in self.headers:
                    self.send_response(503 if fault == "503" else 403, "Slow Down" if fault == "503" else "Forbidden")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if fault == "drop before":
                    self._drop()
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", port)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "transfer-encoding"}
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                data = answer.read()
                upstream.close()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self._send(data, fault)

            def _send(self, data: bytes, fault: str | None) -> None:
                if fault == "drop":
                    self.wfile.write(data[: len(data) // 2])
                    self._drop()
                elif fault == "silent":
                    self.wfile.write(data[: len(data) // 2])
                    self.wfile.flush()
                    time.sleep(45)
                    self._drop()
                elif fault == "slow":
                    size = max(1, len(data) // PIECES)
                    for k in range(0, len(data), size):
                        self.wfile.write(data[k : k + size])
                        self.wfile.flush()
                        time.sleep(0.1)
                else:
                    self.wfile.write(data)

            def _drop(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                chunks = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return b"".join(chunks)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - names of the library

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def fails(self, count: int, fault: str, *, method: str = "GET", part: str = "") -> None:
        """Plant a fault into the next requests of a method whose path contains a part."""
        left = [count]

        def choose(asked: str, path: str) -> str | None:
            if asked == method and part in path and left[0]:
                left[0] -= 1
                return fault
            return None

        self.fault = choose

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(command: Callable[[int], list[str]], environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Start a server on a free port of loopback; yields the port when it answers."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    server = subprocess.Popen(
        command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | (environment or {})
    )
    try:
        for _ in range(600):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, "the server ended"
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def start_server() -> Callable[..., AbstractContextManager[int]]:
    """`serving`."""
    return serving


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    pytest.importorskip("moto", reason="moto's server is not installed")
    pytest.importorskip("flask", reason="moto's server needs flask")
    with serving(
        lambda port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
    ) as port:
        yield port


@pytest.fixture
def s3(s3_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultProxy]:
    """The server with an empty bucket; this process and its workers use it, and keep copies in a folder of the test."""
    proxy = FaultProxy(s3_port)
    for name, value in {
        "AWS_ENDPOINT_URL": proxy.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "XSHEET_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    store = fs.S3FileSystem(endpoint_override=proxy.url, allow_bucket_creation=True, allow_bucket_deletion=True)
    if store.get_file_info(BUCKET).type != fs.FileType.NotFound:
        store.delete_dir(BUCKET)
    store.create_dir(BUCKET)
    proxy.requests.clear()
    yield proxy
    proxy.close()
