"""The review server answers 20 requests a second over a large set, and its memory stays flat.

XSHEET_REVIEW_SECONDS is how long: an hour in `make test-all`, 20 s otherwise.
"""

import http.client
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pyarrow as pa
import pytest

from xsheet.schemas import tables
from xsheet.schemas.layers import find_layer

SECONDS = float(os.environ.get("XSHEET_REVIEW_SECONDS", "20"))
CLIPS, REQUESTS_PER_S = 10_000, 20
MAX_GROWTH_BYTES = 24 << 20  # from the first quarter to the last; a clip's history takes some 20 KB

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900 + 2 * SECONDS)]


@pytest.fixture
def large_set(made_set, tmp_path) -> Path:
    """Rows of one clip under many ids; all of them show the same film."""
    folder = Path(shutil.copytree(made_set, tmp_path / "set", ignore=shutil.ignore_patterns("findings", "annotations")))
    ids = pa.array([f"clip_{k:012x}" for k in range(CLIPS)])

    def multiplied(rows: pa.Table, **columns: pa.Array) -> pa.Table:
        rows = rows.take([0] * CLIPS)
        for name, values in columns.items():
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, rows.schema.field(at), values)
        return rows

    for table in (tables.CLIPS, tables.SIGNALS):
        tables.write_arrow(folder, table, [multiplied(tables.read_table(folder, table), clip_id=ids)])
    layer = find_layer(made_set, "consensus@xsheet.motion")
    annotations = pa.array([f"ann_{k:012x}" for k in range(CLIPS)])
    for file in layer.files:
        target = folder / "annotations" / file.name
        target.parent.mkdir(exist_ok=True)
        rows = multiplied(tables.read_file(file, tables.ANNOTATIONS), clip_id=ids, annotation_id=annotations)
        pa.parquet.write_table(rows, target, row_group_size=tables.ANNOTATIONS.rows_per_group)  # as write_layer does
    return folder


def test_the_server_keeps_its_rate_and_its_memory_stays_flat(large_set):
    code = "from xsheet.cli import main; main()"
    command = [sys.executable, "-c", code, "audit", "review", large_set, "--reviewer", "ada", "--json"]
    server = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, start_new_session=True)
    try:
        text = ""
        while not text.rstrip().endswith("}"):
            text += server.stdout.readline().decode()
        url = urlsplit(json.loads(text)["address"])
        found = measured(url.hostname, url.port, url.query.removeprefix("token="), psutil.Process(server.pid))
    finally:
        server.kill()
        server.communicate()
    quarter = len(found) // 4
    growth = statistics.median(found[-quarter:]) - statistics.median(found[:quarter])
    # The rate is the requirement: a server that takes longer for each answer would see fewer requests and less growth.
    assert len(found) >= 0.9 * REQUESTS_PER_S * SECONDS, f"{len(found)} requests in {SECONDS:.0f} s"
    assert growth < MAX_GROWTH_BYTES, [f"{one >> 20} MB" for one in found[:: max(1, len(found) // 20)]]


def measured(host: str, port: int, token: str, process: psutil.Process) -> list[int]:
    """Resident bytes of the server after each request."""
    chance, found = random.Random(1), []
    connection = http.client.HTTPConnection(host, port, timeout=60)
    headers = {"Cookie": f"xsheet-{port}={token}"}

    def ask(path: str, body: dict | None = None, **more: str) -> bytes:
        kind = {"Content-Type": "application/json"} if body is not None else {}
        text = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, body=text, headers=headers | kind | more)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status in (200, 206), (path, answer.status, data[:200])
        return data

    queue = json.loads(ask("/api/queue"))
    assert queue["total"] >= CLIPS
    pages = [json.loads(ask(f"/api/queue?start={start}"))["entries"] for start in range(0, CLIPS, CLIPS // 10)]
    keys = [entry["key"] for page in pages for entry in page]
    began_s, asked = time.monotonic(), 0
    while time.monotonic() - began_s < SECONDS:
        key = chance.choice(keys)
        match asked % 10:
            case 0:
                ask(f"/api/queue?start={chance.randrange(len(keys))}")
            case 1:
                ask(f"/media/{json.loads(ask(f'/api/clips/{key}'))['clip_id']}", Range="bytes=0-9999")
            case 2:
                ask(f"/api/clips/{key}/claim", {})
            case 3:
                ask("/page/main.js")
            case 4:
                draft = json.loads(ask(f"/api/clips/{key}"))["draft"]
                ask(f"/api/clips/{key}/operations", {"operation": "accept", "before_sha256": draft["sha256"]})
            case _:
                ask(f"/api/clips/{key}")
        asked += 1
        found.append(process.memory_info().rss)
        time.sleep(max(0.0, began_s + asked / REQUESTS_PER_S - time.monotonic()))
    return found
