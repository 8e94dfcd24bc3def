"""Cost of an audit of a hundred thousand annotations with their signals on one core.

    python benchmarks/audit_speed.py [--annotations 100000] [--samples 3]

The set repeats planted truth under new ids; the samples of a clip differ by small boundary shifts. Prints a Markdown
row for docs/log/: CPU time, and peak memory of the process that audits.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from xsheet.audit.pipeline import audit
from xsheet.audit.settings import AuditSettings
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows
from xsheet.schemas.annotation import Annotation, Phase, sorted_phases
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.layers import find_layer, write_layer
from xsheet.schemas.run import Model, Run
from xsheet.schemas.sets import create_set
from xsheet.schemas.tables import CLIPS, SIGNALS, write_table

SHA256 = "0" * 64
RUN = Run(
    run_id="run_speed", kind="annotate", tool_version="0", model=Model(id="bench", revision="0"),
    settings_sha256=SHA256,
)  # fmt: skip
FILMS = 50


def truths() -> list[tuple[Signals, Annotation]]:
    """Puppet films with actions."""
    found = []
    for seed in range(FILMS):
        rows = list(truth_rows(plan_film(0, seed=seed, kind="talk"), "src_benchmark"))
        found.append(
            (next(r for r in rows if isinstance(r, Signals)), next(r for r in rows if isinstance(r, Annotation)))
        )
    return found


def clips(films: list[tuple[Signals, Annotation]], count: int) -> Iterator[Clip]:
    for k in range(count):
        signals, truth = films[k % FILMS]
        yield Clip(
            clip_id=f"clip_{k:08d}", source_id=f"src_{k:08d}", start_us=0, end_us=truth.duration_us,
            media_path=f"media/{k}.mp4", media_sha256=SHA256, frames=signals.frames, samples=0, width=384, height=384,
        )  # fmt: skip


def rows_of(films: list[tuple[Signals, Annotation]], count: int, samples: int) -> Iterator[Annotation]:
    """Samples of every clip, all different."""
    rng = np.random.default_rng(0)
    for k in range(count):
        _, truth = films[k % FILMS]
        for sample in range(samples):
            yield replace(
                truth, annotation_id=f"ann_{k:08d}_{sample}", clip_id=f"clip_{k:08d}", layer="raw", run_id=RUN.run_id,
                sample_index=sample, media_sha256=SHA256, phases=sorted_phases(moved(p, rng) for p in truth.phases),
            )  # fmt: skip


def moved(phase: Phase, rng: np.random.Generator) -> Phase:
    """The phase with its ends moved inwards by up to two frames."""
    start, end = (int(n) * 40_000 for n in rng.integers(0, 3, 2))
    if phase.span.duration_us < start + end + 200_000:
        return phase
    return replace(phase, start_us=phase.start_us + start, end_us=phase.end_us - end, kinematics=())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=3, help="samples of each clip, as in the presets of models")
    parser.add_argument("--set", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.set is not None:
        run(options.set)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "set", options.annotations, options.samples)
        print("| annotations | clips | phases | findings | CPU, s | peak, MB |\n|---|---|---|---|---|---|", flush=True)
        command = [sys.executable, __file__, "--set", str(Path(folder) / "set")]
        subprocess.run(command, check=True)


def make(folder: Path, annotations: int, samples: int) -> None:
    """Write the set as the pipeline does."""
    films, count = truths(), annotations // samples
    create_set(folder, "speed")
    write_table(folder, CLIPS, clips(films, count))
    write_table(folder, SIGNALS, (replace(films[k % FILMS][0], clip_id=f"clip_{k:08d}") for k in range(count)))
    write_layer(folder, RUN, "raw", rows_of(films, count, samples))


def run(folder: Path) -> None:
    """Run only the audit, in a separate process."""
    started = time.process_time()
    found = audit(folder, find_layer(folder, "raw"), AuditSettings())
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    clips = len({one.clip_id for one in found.annotations})
    print(
        f"| {len(found.annotations)} | {clips} | {found.phase_count} | {found.finding_count} | {seconds:.1f} | "
        f"{peak:.0f} |"
    )


if __name__ == "__main__":
    main()
