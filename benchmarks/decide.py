"""Filter a million candidates again: seconds, peak memory, and the ratio to only reading their columns.

python benchmarks/decide.py [--candidates 1000000] [--folder DIR]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa

from xsheet.curate.filter.decide import decide_set, measure_parts
from xsheet.curate.filter.limits import FilterLimits
from xsheet.curate.filter.sweep import sweep_set
from xsheet.schemas.settings import load_settings
from xsheet.schemas.tables import MEASURES, arrow_schema, write_arrow

STEPS = ("read", "decide", "decide again", "sweep 9 values")


def rows(rng: np.random.Generator, count: int, first: int) -> pa.Table:
    """Plausible measurements: about a fifth passes `keep`, a twentieth has no face, a tenth no sync score."""
    schema = arrow_schema(MEASURES)

    def some(values: np.ndarray, share: float = 1.0) -> pa.Array:
        return pa.array(values, mask=rng.random(count) > share)

    def struct(name: str, columns: dict[str, pa.Array], present: float = 1.0) -> pa.Array:
        kind = schema.field(name).type
        arrays = [columns.get(f.name, pa.nulls(count, f.type)).cast(f.type) for f in kind]
        return pa.StructArray.from_arrays(arrays, fields=list(kind), mask=pa.array(rng.random(count) > present))

    def sync(name: str, present: float, spread: float) -> pa.Array:
        return struct(name, {
            "scorer": pa.repeat("lip_audio@1", count),
            "offset_frames": some(rng.normal(0, spread, count).astype(int), 0.95),
            "confidence": some(rng.normal(2.6, 0.8, count)), "margin": some(rng.gamma(2, 0.6, count)),
            "windows": some(rng.integers(1, 8, count)),
        }, present)  # fmt: skip

    start = rng.integers(0, 3_600, count) * 1_000_000
    number = np.arange(first, first + count)
    columns = {
        "clip_id": pa.array([f"clip_{n:020x}" for n in number]),
        "source_id": pa.array([f"src_{n // 40:020x}" for n in number]),
        "shot_id": pa.array([f"shot_{n // 3:020x}" for n in number]),
        "track_id": pa.array([f"track_{n:020x}" for n in number]),
        "start_us": pa.array(start),
        "end_us": pa.array(start + rng.integers(50, 250, count) * 40_000),
        "sync": sync("sync", 0.9, 3),
        "sync_corrected": sync("sync_corrected", 0.4, 0.6),
        "face": struct("face", {
            "share_of_frames": some(1 - rng.gamma(0.5, 0.03, count).clip(0, 1)), "faces_median": some(np.ones(count)),
            "height_px": some(rng.gamma(4, 70, count)), "height_share": some(rng.beta(3, 6, count)),
            "yaw_abs_deg": some(rng.gamma(2, 12, count)), "pitch_abs_deg": some(rng.gamma(2, 6, count)),
            "sharpness": some(rng.gamma(3, 60, count)), "cut_off": some(rng.beta(0.1, 3, count)),
            "luma": some(rng.gamma(8, 14, count)),
        }, 0.95),
        "picture": struct("picture", {
            "luma_mean": some(rng.normal(110, 30, count).clip(0, 255)), "frozen_share": some(rng.beta(0.1, 5, count)),
            "letterbox_share": some(rng.beta(0.1, 5, count)), "camera_motion": some(rng.gamma(1, 0.02, count)),
            "damaged_share": some(rng.beta(0.1, 9, count)), "upside_down_share": some(rng.beta(0.1, 9, count)),
        }),
        "sound": struct("sound", {
            "voice_share": some(rng.beta(4, 2, count)), "voice_detector": pa.repeat("silero@5", count),
            "loudness_db": some(rng.normal(-25, 6, count)), "snr_db": some(rng.normal(20, 8, count), 0.9),
            "clipped_share": some(rng.beta(0.1, 50, count)), "silent_share": some(rng.beta(0.1, 9, count)),
        }, 0.97),
        "motion": pa.array([[]] * count, schema.field("motion").type),
        "speaker": pa.array(rng.choice(["only", "active", "listener", "ambiguous"], count, p=[0.8, 0.08, 0.08, 0.04])),
    }  # fmt: skip
    columns = {f.name: columns.get(f.name, pa.array([None] * count, f.type)) for f in schema}
    return pa.table(list(columns.values()), schema=schema)


def make(folder: Path, candidates: int) -> None:
    """Write a set with only the table of measurements, in parts of the usual size."""

    def parts() -> Iterator[pa.Table]:
        rng = np.random.default_rng(1)
        for first in range(0, candidates, MEASURES.rows_per_part):
            yield rows(rng, min(MEASURES.rows_per_part, candidates - first), first)

    write_arrow(folder, MEASURES, parts())


def step(name: str, folder: Path) -> None:
    """Run one step in a separate process to get its peak memory: prints seconds, MB and a note."""
    limits = load_settings(FilterLimits, preset=files("xsheet.curate") / "presets" / "keep.yaml")
    note, began = "", time.perf_counter()
    match name:
        case "read":
            note = f"{sum(len(part) for part in measure_parts(folder)):,} rows"
        case "sweep 9 values":
            swept = sweep_set(folder, limits, limit_range="sync.lip_audio.min_confidence=1:5:0.5")
            note = " ".join(f"{row.kept.hours:.0f}" for row in swept) + " h"
        case _:
            done = decide_set(folder, limits)
            note = f"{done.kept.clips / done.all.clips:.1%} kept, {done.without_previous_verdict.clips:,} new"
    seconds, peak_kb = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{seconds};{peak_kb / 1024};{note}")


def main() -> None:
    """Print the table that docs/log/ keeps."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--candidates", type=int, default=1_000_000)
    arguments.add_argument("--folder", type=Path)
    arguments.add_argument("--step", choices=STEPS)
    given = arguments.parse_args()
    if given.step:
        step(given.step, given.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        make(folder, given.candidates)
        print(f"| {given.candidates:,} candidates | s | × reading | peak MB | |\n|---|---:|---:|---:|---|")
        reading = 0.0
        for name in STEPS:
            command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            seconds, peak_mb, note = printed.strip().split(";")
            reading = reading or float(seconds)
            print(f"| {name} | {float(seconds):.1f} | {float(seconds) / reading:.1f} | {float(peak_mb):.0f} | {note} |")


if __name__ == "__main__":
    main()
