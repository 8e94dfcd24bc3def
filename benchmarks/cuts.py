"""Accuracy of shots on planted and hand-checked cuts, compared with PySceneDetect on the same files, and their cost.

    python benchmarks/cuts.py puppet|real|jumps|cost [--films 60] [--shared DIR]

Each part prints one Markdown table for docs/log/. Frames are counted at 25 fps; a cut is hit within one frame.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
from scenedetect import AdaptiveDetector, ContentDetector, detect

from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb, fit_size
from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import write_clip
from xsheet.curate.picture.quality import PictureAnalyser
from xsheet.curate.shots.detect import find_shots
from xsheet.curate.shots.scores import CutScoreAnalyser
from xsheet.demo.film.plan import FilmKind, FilmPlan, plan_film
from xsheet.demo.film.render import render_film
from xsheet.schemas.source import Timeline
from xsheet.schemas.time import CLIP_RATE, frame_start_us, frames_in

KINDS: tuple[FilmKind, ...] = ("hard_cut", "jump_cut", "dissolve", "flash", "talk", "two_heads")
RIVALS = {"adaptive 3.0": AdaptiveDetector, "content 27": ContentDetector}
LABELLED = ("googlework-short", "nasa-13013")
# Talking, signing and dancing in one shot, at a constant frame rate.
SINGLE = (
    "grid-bbaf2n.mpg", "grid-brbk7n.mpg", "hdtf-ocasio-cortez-512.mp4", "hdtf-katie-hill-512.mp4",
    "hdtf-radio-man-458.mp4", "retalk-ocasio-cortez-590.mp4", "retalk-woman-blue-700.mp4", "expressions-man-d18.mp4",
    "expressions-woman-d3.mp4", "latentsync-demo1-woman-seated.mp4", "dance-fullbody-music-s13.mp4",
)  # fmt: skip
KEPT, LEFT_OUT = 40, 25  # frames between two planted jump cuts, frames that each cut skips


@dataclass(slots=True)
class Tally:
    """Cuts hit, missed and false; largest error of transition edges; transition frames inside shots."""

    hits: int = 0
    misses: int = 0
    false: int = 0
    films: int = 0
    edge: int = 0
    inside: int = 0

    def add(self, found: list[int], true: list[int]) -> None:
        """Count the cuts of one film."""
        hits = sum(any(abs(f - t) <= 1 for f in found) for t in true)
        made_up = sum(all(abs(f - t) > 1 for t in true) for f in found)
        self.films += 1
        self.hits += hits
        self.misses += len(true) - hits
        self.false += made_up

    def __str__(self) -> str:
        true = self.hits + self.misses
        f1 = f"{2 * self.hits / (self.hits + true + self.false):.3f}" if true else "–"
        return f"{self.hits} / {self.misses} / {self.false} | {f1}"


def framed(rgbs: Iterable[Rgb]) -> Iterator[Frame]:
    """Pictures as frames at 25 fps."""
    for index, rgb in enumerate(rgbs):
        start_us = frame_start_us(index, CLIP_RATE)
        yield Frame(index, start_us, rgb, index, start_us)


def read(path: Path, *, long_side: int = 720) -> Iterator[Frame]:
    """The frames of a film in the form that analysers receive."""
    with open_media(path, root=path.parent) as media:
        yield from media.frames(size=fit_size(*media.size, long_side=long_side))


def shots_of(frames: Iterable[Frame]) -> list[tuple[str, range]]:
    """Opening and frames of each shot."""
    scores = CutScoreAnalyser()
    for frame in frames:
        scores.add(frame)
    series: dict[str, Any] = {**scores.series()}
    found = find_shots(Timeline(source_id="src", frames=len(series["cut_jump"]), extractor="benchmark", **series))
    return [(shot.opens_with, frames_in(shot.span, CLIP_RATE)) for shot in found]


def cuts_of(shots: list[tuple[str, range]]) -> list[int]:
    """First frames of the shots that start with a cut."""
    return [frames.start for opens_with, frames in shots if opens_with == "cut"]


def rival_cuts(path: Path, detector: type[AdaptiveDetector] | type[ContentDetector]) -> list[int]:
    """Cuts of PySceneDetect with its own decoder and defaults."""
    scenes = detect(str(path), detector())
    return [shown_at(start.get_seconds()) for start, _ in scenes[1:]]


def shown_at(seconds: float) -> int:
    """The first frame at 25 fps that starts at or after a time."""
    return math.ceil(seconds * CLIP_RATE.num - 1e-6)


def transition(plan: FilmPlan, shots: list[tuple[str, range]]) -> tuple[int, int]:
    """Largest error of the detected edges, and number of transition frames inside shots."""
    planted = range(plan.shots[0].frames.stop, plan.shots[1].frames.start)
    inside = sum(len(set(planted) & set(frames)) for _, frames in shots)
    if len(shots) != 2:
        return len(planted), inside
    return max(abs(shots[0][1].stop - planted.start), abs(shots[1][1].start - planted.stop)), inside


def puppet_table(films: int) -> None:
    """Print results on planted cuts of the puppet for xsheet and PySceneDetect on the same files."""
    tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(films):
            kind = KINDS[index % len(KINDS)]
            plan = plan_film(index, seed=3, kind=kind)
            path = Path(folder) / plan.name
            write_clip(path, frames=render_film(plan, height_px=256))
            true = [take.frames.start for take in plan.shots if take.opens_with == "cut"]
            shots = shots_of(read(path))
            ours = tallies[kind, "xsheet"]
            ours.add(cuts_of(shots), true)
            if kind == "dissolve":
                edge, inside = transition(plan, shots)
                ours.edge, ours.inside = max(ours.edge, edge), ours.inside + inside
            for name, rival in RIVALS.items():
                tallies[kind, name].add(rival_cuts(path, rival), true)
            path.unlink()
    columns = ("xsheet", *RIVALS)
    print(f"| kind | films | {' | '.join(f'{c}: hit / missed / false | F1' for c in columns)} |")
    print(f"|---|---|{'---|---|' * len(columns)}")
    for kind in KINDS:
        if tallies[kind, "xsheet"].films:
            print(
                f"| {kind} | {tallies[kind, 'xsheet'].films} | {' | '.join(str(tallies[kind, c]) for c in columns)} |"
            )
    ours = tallies["dissolve", "xsheet"]
    print(f"\ndissolves: edges at most {ours.edge} frames off, {ours.inside} of their frames inside a shot")


def real_table(shared: Path) -> None:
    """Print results on hand-checked cuts: hits, shots across transitions, and false cuts in single shots."""
    print(
        f"| film | xsheet: hit / missed / false | F1 |{''.join(f' {n} | F1 |' for n in RIVALS)} across a transition |"
    )
    print(f"|---|---|---|{'---|---|' * len(RIVALS)}---|")
    for name in LABELLED:
        label = json.loads((shared / "data/labels" / f"shots-{name}.json").read_text(encoding="utf-8"))
        path = shared / "data" / label["video"]
        true = [shown_at(index / label["fps"]) for index in label["cuts"]]
        shots = shots_of(read(path))
        cells = []
        for found in (cuts_of(shots), *(rival_cuts(path, rival) for rival in RIVALS.values())):
            tally = Tally()
            tally.add(found, true)
            cells.append(str(tally))
        middles = [shown_at((g["from"] + g["to"]) / 2 / label["fps"]) for g in label["gradual"]]
        across = sum(middle in frames for middle in middles for _, frames in shots)
        print(f"| {name} | {' | '.join(cells)} | {across} of {len(middles)} |")
    tallies = {name: Tally() for name in ("xsheet", *RIVALS)}
    for name in SINGLE:
        path = shared / "data/videos" / name
        tallies["xsheet"].add(cuts_of(shots_of(read(path))), [])
        for rival, detector in RIVALS.items():
            tallies[rival].add(rival_cuts(path, detector), [])
    print(f"| {len(SINGLE)} single shots | {' | '.join(str(t) for t in tallies.values())} | |")


def jump_table(shared: Path) -> None:
    """Print results on jump cuts that skip a second of every 2.6 s, in real single shots and in puppet talk."""
    print("| film | jump cuts | found | false |\n|---|---|---|---|")
    total = Tally()
    for name in SINGLE:
        _jump_row(name, [frame.rgb for frame in read(shared / "data/videos" / name, long_side=360)], total)
    print(f"| real, together | {total.hits + total.misses} | {total.hits} | {total.false} |")
    drawn = Tally()
    for index in range(10):
        plan = plan_film(index, seed=3, kind="talk")
        _jump_row(plan.name, list(render_film(plan, height_px=256)), drawn)
    print(f"| puppet, together | {drawn.hits + drawn.misses} | {drawn.hits} | {drawn.false} |")


def _jump_row(name: str, rgbs: list[Rgb], total: Tally) -> None:
    kept = [rgb for k, rgb in enumerate(rgbs) if k % (KEPT + LEFT_OUT) < KEPT]
    row = Tally()
    # A cut in the last frames cannot be detected, as too little follows.
    true = list(range(KEPT, len(kept) - 5, KEPT))
    row.add(cuts_of(shots_of(framed(kept))), true)
    total.hits, total.misses, total.false = total.hits + row.hits, total.misses + row.misses, total.false + row.false
    print(f"| {name} | {len(true)} | {row.hits} | {row.false} |")


def cost_table(shared: Path, *, frames: int = 250) -> None:
    """Print CPU time of each analyser, of decoding and of PySceneDetect: medians of five alternating runs."""
    cv2.setNumThreads(1)
    path = shared / "data/videos/still-woman-music-s18.mp4"
    models = shared / "models"
    spent: dict[str, list[float]] = defaultdict(list)
    for _ in range(5):
        start = time.process_time()
        shown = list(islice(read(path), frames))
        spent["decode, 25 fps, long side 720"].append((time.process_time() - start) / len(shown))
        for name, watcher in (
            ("CutScoreAnalyser", CutScoreAnalyser()),
            ("PictureAnalyser", PictureAnalyser()),
            ("PictureAnalyser with text", PictureAnalyser(models=models)),
        ):
            start = time.process_time()
            for frame in shown:
                watcher.add(frame)
            spent[name].append((time.process_time() - start) / len(shown))
        for name, rival in RIVALS.items():
            start = time.process_time()
            detect(str(path), rival())
            spent[f"PySceneDetect {name}, its own decode"].append((time.process_time() - start) / len(shown))
    print("| part | CPU ms per frame | ratio to decode |\n|---|---|---|")
    decode = statistics.median(spent["decode, 25 fps, long side 720"])
    for name, seconds in spent.items():
        print(f"| {name} | {1e3 * statistics.median(seconds):.2f} | {statistics.median(seconds) / decode:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Accuracy and cost of shot detection.")
    parser.add_argument("part", nargs="?", choices=("puppet", "real", "jumps", "cost"))
    parser.add_argument("--films", type=int, default=60)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    options = parser.parse_args()
    if options.part in (None, "puppet"):
        puppet_table(options.films)
    for part, table in (("real", real_table), ("jumps", jump_table), ("cost", cost_table)):
        if options.part in (None, part) and options.shared.is_dir():
            print()
            table(options.shared)
