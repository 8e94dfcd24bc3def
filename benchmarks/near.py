"""Near duplicates among many sources, and people among many tracks: seconds, peak memory, recall, false joins.

python benchmarks/near.py [--sources 10000,30000,100000]
python benchmarks/near.py --tracks 10000,30000,100000 [--exact-up-to 30000]
"""

import argparse
import resource
import time

import numpy as np
import pyarrow as pa

from xsheet.curate.dedup.identity_clusters import cluster_rows
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
    mixed: np.ndarray = moved ^ flips
    return mixed


def people(rng: np.random.Generator, tracks: int) -> tuple[np.ndarray, np.ndarray]:
    """(tracks, 128) embeddings as the network's lie (strangers .6 to .9 apart, one person .3), and who each is.

    A person has 1 to 200 tracks; the numbers are few where that of tracks is many, as in public corpora.
    """
    sizes = np.minimum((1 / (1 - rng.random(tracks))) ** 1.2, 200).astype(int)
    who = np.repeat(np.arange(len(sizes)), sizes)[:tracks]
    means = rng.normal(size=(who[-1] + 1, 128))
    means *= 0.52 / np.linalg.norm(means, axis=1, keepdims=True)
    return means[who] + rng.normal(size=(tracks, 128)) * 0.21 / np.sqrt(128), who


def print_people(sizes: list[int], *, exact_up_to: int) -> None:
    """Print the table of people."""
    print("| tracks | people | all pairs, CPU s | index, CPU s | peak GB | people in pieces | strangers joined |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for tracks in sizes:
        rng = np.random.default_rng(tracks)
        order = rng.permutation(tracks)
        embeddings, who = people(rng, tracks)
        embeddings, who = embeddings[order], who[order]
        seconds = []
        for most in ((tracks,) if tracks <= exact_up_to else ()) + (0,):
            began = time.process_time()
            groups = cluster_rows(embeddings, 0.43 / np.sqrt(128), max_exact_rows=most)
            seconds.append(f"{time.process_time() - began:.1f}")
        joined = sum(len({*who[group].tolist()}) - 1 for group in groups)
        lost = len(groups) + joined - len(np.unique(who))
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"| {tracks:,} | {len(np.unique(who)):,} | {seconds[0] if len(seconds) > 1 else ''} | {seconds[-1]} | "
              f"{peak_gb:.1f} | {lost} | {joined} |", flush=True)  # fmt: skip


def main() -> None:
    """Print the table that docs/log/ keeps."""

    def sizes(text: str) -> list[int]:
        return [int(one) for one in text.split(",")]

    arguments = argparse.ArgumentParser()
    arguments.add_argument("--sources", type=sizes, default=[100_000])
    arguments.add_argument("--tracks", type=sizes, default=[])
    arguments.add_argument("--exact-up-to", type=int, default=30_000)
    chosen = arguments.parse_args()
    if chosen.tracks:
        print_people(chosen.tracks, exact_up_to=chosen.exact_up_to)
        return
    print("| sources | words | CPU s | peak GB | seeded pairs | found | false matches |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for sources in chosen.sources:
        print_copies(sources)


def print_copies(sources: int) -> None:
    """Print a row of the table of near duplicates."""
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
    began = time.process_time()
    found = near_duplicates(table)
    seconds = time.process_time() - began
    planted = {(ids[k], ids[sources - pairs + k]) for k in range(pairs)}
    joined = {(row.source_id, row.other_id) for row in found}
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {sources:,} | {every.size:,} | {seconds:.0f} | {peak_gb:.1f} | {pairs} | "
          f"{len(planted & joined)} | {len(joined - planted)} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
