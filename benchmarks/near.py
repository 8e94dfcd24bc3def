"""Near duplicates among a hundred thousand sources: seconds, peak memory, recall of seeded pairs, false matches.

python benchmarks/near.py [--sources 100000]
"""

import argparse
import resource
import time

import numpy as np
import pyarrow as pa

from xsheet.curate.dedup.near_duplicates import near_duplicates
from xsheet.schemas.tables import FINGERPRINTS, arrow_schema

FRAMES = 250  # 10 s
BIT_ERROR = 0.1  # of a seeded copy: as between a real clip and its scaled, cropped and re-encoded copy


def words(rng: np.random.Generator, sources: int) -> np.ndarray:
    """(sources, FRAMES) words whose bits persist for some frames and have the bit frequencies of real films."""
    likely = rng.uniform(0.25, 0.75, 32)
    state = rng.random((sources, 32)) < likely
    result = np.zeros((sources, FRAMES), np.uint32)
    weights = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for frame in range(FRAMES):
        renewed = rng.random((sources, 32), dtype=np.float32) < 0.15
        state = np.where(renewed, rng.random((sources, 32), dtype=np.float32) < likely, state)
        result[:, frame] = state @ weights
    return result


def copies(rng: np.random.Generator, originals: np.ndarray) -> np.ndarray:
    """The same words two seconds later, with runs of errors."""
    moved = np.roll(originals, 50, axis=1)
    flips = np.zeros_like(moved)
    for bit in range(32):
        runs = np.repeat(rng.random((len(moved), FRAMES // 5)) < BIT_ERROR, 5, axis=1)
        flips |= runs.astype(np.uint32) << np.uint32(bit)
    return moved ^ flips


def main() -> None:
    """Print the table that docs/log/ keeps."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--sources", type=int, default=100_000)
    sources = arguments.parse_args().sources
    rng = np.random.default_rng(1)
    pairs = sources // 100
    own = words(rng, sources - pairs)
    every = np.concatenate([own, copies(rng, own[:pairs])])
    ids = [f"src_{k:06d}" for k in range(sources)]
    lists = pa.ListArray.from_arrays(
        pa.array(np.arange(sources + 1) * FRAMES, pa.int32()), pa.array(every.ravel().view(np.int32))
    )
    schema = arrow_schema(FINGERPRINTS)
    nothing = pa.ListArray.from_arrays(pa.array(np.zeros(sources + 1), pa.int32()), pa.array([], pa.int32()))
    columns = {"source_id": pa.array(ids), "extractor": pa.repeat("w", sources), "frames": pa.repeat(FRAMES, sources)}
    columns |= {"picture": lists.cast(schema.field("picture").type), "sound": nothing.cast(schema.field("sound").type)}
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    began = time.perf_counter()
    found = near_duplicates(table)
    seconds = time.perf_counter() - began
    planted = {(ids[k], ids[sources - pairs + k]) for k in range(pairs)}
    joined = {(row.source_id, row.other_id) for row in found}
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print("| sources | words | s | peak GB | seeded pairs | found | false matches |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    print(f"| {sources:,} | {every.size:,} | {seconds:.0f} | {peak_gb:.1f} | {pairs} | "
          f"{len(planted & joined)} | {len(joined - planted)} |")  # fmt: skip


if __name__ == "__main__":
    main()
