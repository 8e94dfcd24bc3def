"""A server on this machine, a clip of grey frames, and a key in the environment."""

import threading

import av
import numpy as np
import pytest
from endpoint_server import FRAMES, KEY, Server


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(FRAMES):
            grey = np.full((48, 64, 3), 3 * k, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("TEST_ENDPOINT_KEY", KEY)
    return "TEST_ENDPOINT_KEY"
