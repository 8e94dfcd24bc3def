"""Memory of the driver of a run on Ray over many items, which do nothing.

    python benchmarks/driver.py [--items 10000 100000 1000000]

Prints a Markdown table for docs/log/. A process that answers at once stands in for Ray, which takes 10 to 20 ms an
item; what is measured is the driver: reading items, their keys, pickling, outcomes. Each row is a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xsheet.curate.tasks.probe import ProbeTask
from xsheet.runtime import ray_process
from xsheet.runtime.executor import Execution, Item, run_task
from xsheet.schemas.ids import content_key

STAND_IN = """
import json, pickle, sys
from multiprocessing.connection import Connection
from pydantic import TypeAdapter
from xsheet.runtime.task import Outcome
driver, adapter = Connection(int(sys.argv[1])), TypeAdapter(Outcome)
def respond(kind, **fields): driver.send_bytes(json.dumps({"kind": kind, **fields}).encode())
driver.recv_bytes()
respond("imported")
respond("joined", head="127.0.0.1:1")
driver.recv_bytes()
respond("more")
while True:
    window = []
    while item := driver.recv_bytes():
        window.append(item)
    if not window:
        break
    for item in window:
        item = pickle.loads(item)
        respond("outcome", outcome=adapter.dump_json(Outcome(key=item.key, name=item.name, status="ok")).decode())
    respond("more")
respond("end")
"""
PAYLOAD_BYTES = 1000


def measure(count: int) -> None:
    ray_process._RAY_CODE = STAND_IN
    items = (Item(content_key(k), f"item {k}", "x" * PAYLOAD_BYTES) for k in range(count))
    with tempfile.TemporaryDirectory() as out:
        began_s = time.process_time()
        results = run_task(ProbeTask(), items, out=Path(out), execution=Execution(ray="auto"))
        assert len(results) == count
        spent_us = (time.process_time() - began_s) / count * 1e6
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {count:,} | {peak_mb:.0f} | {spent_us:.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one", action="store_true")
    arguments = parser.parse_args()
    if arguments.one:
        measure(*arguments.items)
    else:
        print("| items | driver, peak MB | CPU µs per item |\n|---:|---:|---:|", flush=True)
        for count in arguments.items:
            subprocess.run([sys.executable, __file__, "--one", "--items", str(count)], check=True)
