"""Agreement: effect of boundary jitter, speed of comparing layers, and coverage of the confidence intervals.

    python benchmarks/agreement.py [jitter|speed|intervals] [--annotations 100000]

Prints Markdown tables for docs/log/.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xsheet.audit.agreement.compare import Agreement, compare_layers
from xsheet.audit.agreement.consistency import sample_consistency
from xsheet.audit.agreement.phase_arrays import PhaseArrays, concatenate, layer_phase_arrays
from xsheet.schemas import vocab
from xsheet.schemas.annotation import MIN_PHASE_US, Annotation, Base, Phase
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.run import Run
from xsheet.schemas.tables import ANNOTATIONS, arrow_schema, to_arrow

LENGTHS_S = np.array([0.8, 1.4, 1.8, 1.8])  # our choice: no published table states durations
PHASES = 10  # phases per annotation in the speed table
STEPS = (
    "read as records",
    "read as columns",
    "compare, 1000 resamples",
    "compare, no resamples",
    "consistency of 2 samples",
)


def clips_of(spans_s: np.ndarray) -> PhaseArrays:
    """Phase table of one track from (clips, phases, 2) seconds, in clips of 10 s; phases of a clip differ in class."""
    clips, phases, _ = spans_s.shape
    start, end = np.rint(spans_s.reshape(-1, 2) * 1e6).astype(np.int64).T
    return PhaseArrays(
        clip_ids=np.array([f"clip_{k:08d}" for k in range(clips)]),
        sample_index=np.zeros(clips, np.int64),
        duration_us=np.full(clips, 10_000_000),
        annotation_index=np.repeat(np.arange(clips), phases),
        track=np.zeros(clips * phases, np.int64),
        action=np.tile(np.arange(phases), clips),
        start_us=start,
        end_us=end,
        confidence=np.full(clips * phases, np.nan),
    )


def jittered(jitter_s: float, clips: int, rng: np.random.Generator) -> tuple[PhaseArrays, PhaseArrays]:
    """Clips of four phases with gaps of 1 s, and the same with every boundary moved by up to `jitter_s`."""
    starts = np.tile(np.cumsum([0.6, *(LENGTHS_S[:-1] + 1.0)]), (clips, 1))
    spans = np.stack([starts, starts + LENGTHS_S], -1)
    moved = spans + rng.uniform(-jitter_s, jitter_s, spans.shape)
    moved[..., 1] = np.maximum(moved[..., 1], moved[..., 0] + MIN_PHASE_US / 1e6)
    return clips_of(spans), clips_of(moved)


def milliseconds(us: float | None) -> float:
    """A value that every pair of layers here has."""
    assert us is not None
    return us / 1e3


def jitter() -> None:
    """Print the metrics for uniform jitter of every boundary."""
    rows: dict[str, Callable[[Agreement], object]] = {
        "F1@0.3": lambda r: r.track_detection.by_tiou[0].f1, "F1@0.5": lambda r: r.track_detection.by_tiou[1].f1,
        "F1@0.7": lambda r: r.track_detection.by_tiou[2].f1, "mIoU": lambda r: r.track_detection.mean_tiou,
        "start MAE, ms": lambda r: f"{milliseconds(r.start_error.mean_abs_us.value):.0f}",
        "start P90, ms": lambda r: f"{milliseconds(r.start_error.p90_abs_us.value):.0f}",
        "boundary F1@0.1 s": lambda r: r.boundary_f1[0], "boundary F1@0.25 s": lambda r: r.boundary_f1[1],
        "boundary F1@0.5 s": lambda r: r.boundary_f1[2], "GEBD F1@5 %": lambda r: r.gebd_f1,
        "linked κ": lambda r: r.linked_kappa, "frame κ": lambda r: r.by_track[0].kappa, "uα": lambda r: r.alpha,
    }  # fmt: skip
    sizes = (0.05, 0.10, 0.25, 0.50)
    rng = np.random.default_rng(0)
    found = [compare_layers([a], [b], rng=rng) for a, b in (jittered(size, 10_000, rng) for size in sizes)]
    print("| jitter | " + " | ".join(f"±{size:.2f} s" for size in sizes) + " |\n|---|" + "---|" * len(sizes))
    for name, number in rows.items():
        print(f"| {name} | " + " | ".join(str(number(one)) for one in found) + " |")


def intervals(repeats: int = 200) -> None:
    """Print how often 95 % intervals from samples of a corpus contain the value of the whole corpus."""
    rng = np.random.default_rng(1)
    a, b = jittered(0.5, 20_000, rng)
    truth = compare_layers([a], [b], rng=rng, resamples=1)
    print("\n| clips per sample | F1@0.7 inside | uα inside | start MAE inside |\n|---|---|---|---|")
    for clips in (10, 30, 100, 300):
        held = np.zeros(3)
        for _ in range(repeats):
            some = rng.choice(a.annotation_count, clips, replace=False)
            found = compare_layers([a.take(some)], [b.take(some)], rng=rng, resamples=400)
            numbers = [(r.track_detection.by_tiou[2].f1, r.alpha, r.start_error.mean_abs_us) for r in (truth, found)]
            held += [one.low <= true.value <= one.high for true, one in zip(*numbers, strict=True)]
        print(f"| {clips} | " + " | ".join(f"{share:.2f}" for share in held / repeats) + " |")


def annotations(rng: np.random.Generator, count: int, first: int) -> Iterator[Annotation]:
    """Plausible annotations of clips of 10 s, ten phases on four tracks."""
    base = Base(
        text="A drawn person in front of a plain wall.", subject="a drawn person", framing="face", scene="a wall",
        camera="static", speaking="speaking",
    )  # fmt: skip
    tracks: tuple[vocab.Track, ...] = ("brows", "gaze", "head", "torso")
    for k in range(first, first + count):
        cuts = np.sort(rng.choice(249, 2 * PHASES, replace=False)).reshape(PHASES, 2) * 40_000
        phases = [
            Phase(
                phase_id=f"p{n}", track=tracks[n % 4], start_us=int(start), end_us=int(max(end, start + 120_000)),
                action=vocab.ACTIONS[rng.integers(6)], text="moves a little", laterality="none", kind="action",
                origin="vlm",
            )
            for n, (start, end) in enumerate(cuts)
        ]  # fmt: skip
        phases.sort(key=lambda p: (p.start_us, p.end_us, p.track))
        yield Annotation(
            annotation_id=f"ann_{k:08d}", vocab_version=vocab.VOCAB_VERSION, clip_id=f"clip_{k:08d}", layer="gold",
            run_id="run_a", status="ok", duration_us=10_000_000, base=base, phases=tuple(phases),
        )  # fmt: skip


def stored(folder: Path, name: str, count: int) -> LayerRun:
    """A layer of `count` annotations in parts of the usual size: 2000 records, repeated under other ids."""
    files = sorted(folder.glob(f"{name}-*.parquet"))
    if not files:
        rng = np.random.default_rng(len(name))
        rows = to_arrow(list(annotations(rng, 2_000, 0)), ANNOTATIONS)
        for part in range(0, count, ANNOTATIONS.rows_per_part):
            size = min(ANNOTATIONS.rows_per_part, count - part)
            many = pa.concat_tables([rows] * -(-size // len(rows))).slice(0, size)
            ids = pa.array([f"clip_{k:08d}" for k in range(part, part + size)])
            many = many.set_column(
                many.schema.get_field_index("clip_id"), arrow_schema(ANNOTATIONS).field("clip_id"), ids
            )
            files.append(folder / f"{name}-{part:08d}.parquet")
            pq.write_table(many.replace_schema_metadata(arrow_schema(ANNOTATIONS).metadata), files[-1])
    return LayerRun(layer="gold", run=Run(run_id="run_a", kind="truth", tool_version="1"), files=tuple(files))


def step(name: str, folder: Path, count: int) -> None:
    """Run one step in a separate process to get its peak memory: prints CPU seconds, MB, annotations."""
    a, b = stored(folder, "a", count), stored(folder, "bb", count)
    done, began = count, time.process_time()
    match name:
        case "read as records":
            done = sum(1 for _ in LayerRun(layer=a.layer, run=a.run, files=a.files[:1]).read())
        case "read as columns":
            done = sum(block.annotation_count for block in layer_phase_arrays(a))
        case "consistency of 2 samples":
            for x, y in zip(layer_phase_arrays(a), layer_phase_arrays(b), strict=True):
                sample_consistency(concatenate(x, y))
        case _:
            resamples = 1_000 if "1000" in name else 1
            compare_layers(
                layer_phase_arrays(a), layer_phase_arrays(b), rng=np.random.default_rng(0), resamples=resamples
            )
    seconds = time.process_time() - began
    print(f"{seconds};{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024};{done}")


def speed(count: int) -> None:
    """Print CPU time and peak memory for layers of `count` annotations, and of a tenth."""
    for size in (count // 10, count):
        print(f"\n| {size:,} annotations of {PHASES} phases | CPU s | annotations/s | peak MB |\n|---|---:|---:|---:|")
        with tempfile.TemporaryDirectory() as folder:
            stored(Path(folder), "a", size), stored(Path(folder), "bb", size)
            for name in STEPS:
                command = [sys.executable, __file__, "speed", "--step", name]
                command += ["--folder", folder, "--annotations", str(size)]
                printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                seconds, peak_mb, done = map(float, printed.strip().split(";"))
                print(f"| {name} | {seconds * size / done:.1f} | {done / seconds:,.0f} | {peak_mb:.0f} |")


def main() -> None:
    """Print the tables that docs/log/ keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("jitter", "speed", "intervals"))
    parser.add_argument("--annotations", type=int, default=100_000)
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.step:
        step(given.step, given.folder, given.annotations)
        return
    if given.part in (None, "jitter"):
        jitter()
    if given.part in (None, "intervals"):
        intervals()
    if given.part in (None, "speed"):
        speed(given.annotations)


if __name__ == "__main__":
    main()
