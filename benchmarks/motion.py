"""Accuracy of the motion annotator: on the puppet's planted actions and on stills; and its cost.

    python benchmarks/motion.py puppet|still|cost [--films 80] [--first 100] [--cache DIR]

Each part prints Markdown tables for docs/log/. Signals are measured from encoded films as in curation: five seconds of
one core per film; `--cache` keeps them. The seeds 0-59 were used for fitting, the default ones were not.
"""

import argparse
import pickle
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xsheet.annotate.base import StructuredResult
from xsheet.annotate.motion.annotator import MotionSettings, annotate_motion
from xsheet.curate.audio.features import audio_features, voice_detector_name
from xsheet.curate.body.flow import FlowAnalyser
from xsheet.curate.body.pose import PoseAnalyser, PoseSettings
from xsheet.curate.body.signals import clip_signals
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import write_clip
from xsheet.curate.settings import AnalysisSettings
from xsheet.demo.film.plan import FilmPlan, plan_film
from xsheet.demo.film.render import render_film
from xsheet.demo.film.truth import truth_rows
from xsheet.demo.puppet.act import motion_curves
from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.clip import Clip, Measures, Signals
from xsheet.schemas.source import Timeline
from xsheet.schemas.time import CLIP_RATE, frame_start_us

FACE = ("head", "gaze", "brows", "mouth", "face")
GROUPS = {"head and face": FACE, "trunk": ("torso",), "arms": ("arm_left", "arm_right", "hands")}
FRAME_US = frame_start_us(1, CLIP_RATE)
COUNTED = ("nod", "shake_head", "sway", "wave")


@dataclass(slots=True)
class Score:
    """Phases detected, missed and false, and the accuracy of the detected ones."""

    hits: list[tuple[Phase, Phase]] = field(default_factory=list)
    missed: list[Phase] = field(default_factory=list)
    extra: list[Phase] = field(default_factory=list)

    def add(self, found: Iterable[Phase], truth: Iterable[Phase], *, tracks: Sequence[str], least: float) -> None:
        """Count one clip; phases of a track are matched one to one, largest tIoU first. `move_head` names no action."""
        mine, planted = (
            [p for p in phases if p.track in tracks and p.action not in ("rest", "move_head")]
            for phases in (found, truth)
        )
        pairs = [(p.span.tiou(t.span), p, t) for p in mine for t in planted if p.track == t.track]
        for tiou, p, t in sorted(pairs, key=lambda pair: -pair[0]):
            if tiou >= least and p in mine and t in planted:
                mine.remove(p)
                planted.remove(t)
                self.hits.append((p, t))
        self.extra += mine
        self.missed += planted

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * len(self.hits) / max(1, 2 * len(self.hits) + len(self.extra) + len(self.missed))

    @property
    def classes(self) -> float:
        """Share of the hits with the correct class."""
        return share(p.action == t.action for p, t in self.hits)

    @property
    def start_frames(self) -> float:
        """Median error of the start."""
        return float(np.median([abs(p.start_us - t.start_us) / FRAME_US for p, t in self.hits] or [np.nan]))

    @property
    def end_frames(self) -> float:
        """Median error of the end."""
        return float(np.median([abs(p.end_us - t.end_us) / FRAME_US for p, t in self.hits] or [np.nan]))

    @property
    def repetitions(self) -> float:
        """Share of repeated actions with the exact number of repetitions."""
        return share(p.repetitions == t.repetitions for p, t in self.hits if t.action in COUNTED)

    @property
    def laterality(self) -> float:
        """Share of sided actions with the correct side."""
        return share(p.laterality == t.laterality for p, t in self.hits if t.laterality != "none")

    def level(self, name: str) -> float:
        """Share with the correct level of `amplitude` or `speed`."""
        return share(getattr(p, name) == getattr(t, name) for p, t in self.hits)


def share(good: Iterable[bool]) -> float:
    """Share of True; NaN of nothing."""
    known = list(good)
    return float(np.mean(known)) if known else np.nan


def measured(path: Path, *, body: bool = True) -> tuple[Signals, int]:
    """Signals of the longest face track of a whole file, measured as in curation, and the height of the picture."""
    with open_media(path, root=path.parent) as media:
        audio: dict[str, Any] = {**audio_features(media.sound(), media.frame_count_at_clip_rate)}
        size = fit_size(*media.size, long_side=AnalysisSettings().long_side_px)
        with FaceTracker(FaceSettings()) as faces:
            for frame in media.frames(size=size):
                faces.add(frame)
            tracks = faces.tracks("src_benchmark")
        frames, height = media.frame_count_at_clip_rate, media.size[1]
    timeline = Timeline(source_id="src_benchmark", frames=frames, extractor=voice_detector_name(), **audio)
    whole = Measures(
        clip_id="clip_benchmark", source_id="src_benchmark", shot_id="sho_benchmark", start_us=0,
        end_us=frame_start_us(frames, CLIP_RATE),
    )  # fmt: skip
    track = max(tracks, key=lambda one: one.frames, default=None)
    signals = clip_signals(whole, timeline, track, shift_frames=0)
    return (with_flow(path, replace(signals, **_followed(path))) if body else signals), height


def with_flow(path: Path, signals: Signals) -> Signals:
    """Signals with the optical flow inside the body parts, as an export measures it."""
    flow = FlowAnalyser()
    with open_media(path, root=path.parent) as media:
        for frame in media.frames(size=fit_size(*media.size, long_side=640, multiple=2)):
            flow.add(frame)
    return replace(signals, **dict[str, Any](flow.signals(signals)))


def _followed(path: Path) -> dict[str, Any]:
    with open_media(path, root=path.parent) as media, PoseAnalyser(PoseSettings()) as watcher:
        for frame in media.frames(size=fit_size(*media.size, long_side=1280, multiple=2)):
            watcher.add(frame)
        return watcher.signals()


def plan_of(seed: int, *, kind: str = "talk") -> FilmPlan:
    """A film plan: 'talk' has actions, 'living' only talks, breathes and blinks, 'still' is one frozen picture."""
    film = plan_film(0, seed=seed, kind="still" if kind == "still" else "talk")
    if kind != "living":
        return film
    (take,) = film.shots
    (head,) = take.cast_members
    motion = motion_curves((), len(take.frames), speech=head.speech, rng=np.random.default_rng((seed, 5)))
    return replace(film, shots=(replace(take, cast_members=(replace(head, motion=motion, actions=()),)),))


def filmed(film: FilmPlan, *, body: bool = True, size: int = 384) -> tuple[Signals, Annotation]:
    """Measured signals of a film with one head, and its truth."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / film.name
        write_clip(path, frames=render_film(film, height_px=size), sound=film.sound)
        signals, _ = measured(path, body=body)
    (truth,) = (row for row in truth_rows(film, "src_benchmark") if isinstance(row, Annotation))
    return signals, truth


def phases_of(signals: Signals, *, height: int = 384) -> tuple[Phase, ...]:
    """The phases of the annotator."""
    return annotated(signals, height=height).phases


def annotated(signals: Signals, *, height: int = 384) -> StructuredResult:
    """Base and phases of the annotator."""
    clip = Clip(
        clip_id=signals.clip_id, source_id="src_benchmark", media_path="media/benchmark.mp4", media_sha256="0" * 64,
        start_us=0, end_us=frame_start_us(signals.frames, CLIP_RATE), frames=signals.frames, samples=0, width=height,
        height=height,
    )  # fmt: skip
    return annotate_motion(clip, signals, MotionSettings())


def cached(cache: Path | None, seeds: Iterable[int], *, kind: str) -> Iterator[tuple[Signals, Annotation]]:
    """Films by seed, from the cache if they are there."""
    for seed in seeds:
        file = None if cache is None else cache / f"{kind}-{seed}.pickle"
        if file is not None and file.is_file():
            yield pickle.loads(file.read_bytes())
            continue
        film = filmed(plan_of(seed, kind=kind))
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pickle.dumps(film))
        yield film


def puppet(options: argparse.Namespace) -> None:
    """Print results on planted actions: by group of tracks, then by class."""
    scores = {name: Score() for name in GROUPS}
    seeds = range(options.first, options.first + options.films)
    for signals, truth in cached(options.cache, seeds, kind="talk"):
        found = phases_of(signals)
        for name, tracks in GROUPS.items():
            scores[name].add(found, truth.phases, tracks=tracks, least=0.5)
    print(
        f"{options.films} films from seed {options.first}, F1 at tIoU 0.5:\n\n"
        "| tracks | planted | found | F1 | class | start, frames | end, frames | repetitions | side | size | pace |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for name, s in scores.items():
        print(
            f"| {name} | {len(s.hits) + len(s.missed)} | {len(s.hits) + len(s.extra)} | {s.f1:.3f} | {s.classes:.3f} | "
            f"{s.start_frames:.1f} | {s.end_frames:.1f} | {s.repetitions:.3f} | {s.laterality:.3f} | "
            f"{s.level('amplitude'):.2f} | {s.level('speed'):.2f} |"
        )
    print("\n| class | hit | missed | false |\n|---|---|---|---|")
    count: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for s in scores.values():
        for column, phases in enumerate(([t for _, t in s.hits], s.missed, s.extra)):
            for phase in phases:
                count[phase.action][column] += 1
    for action, numbers in sorted(count.items()):
        print(f"| {action} | {' | '.join(map(str, numbers))} |")


def still(options: argparse.Namespace) -> None:
    """Print results on clips without planted actions."""
    print("| clips | number | phases other than rest |\n|---|---|---|")
    for kind in ("living", "still"):
        seeds = range(options.first, options.first + max(1, options.films // 4))
        found = [phases_of(signals) for signals, _ in cached(options.cache, seeds, kind=kind)]
        print(f"| {kind} | {len(found)} | {sum(p.action != 'rest' for phases in found for p in phases)} |")


def cost(options: argparse.Namespace) -> None:
    """Print speed and memory from stored signals."""
    signals = [one for one, _ in cached(options.cache, range(options.first, options.first + 8), kind="talk")]
    seconds = sum(one.frames for one in signals) / float(CLIP_RATE)
    print("| clips | times real time, one core | peak memory, MiB |\n|---|---|---|")
    for rounds in (4, 40, 400):
        before = time.process_time()
        for _ in range(rounds):
            for one in signals:
                phases_of(one)
        spent = time.process_time() - before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {rounds * len(signals)} | {rounds * seconds / spent:.0f} | {peak:.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("puppet", "still", "cost"))
    parser.add_argument("--films", type=int, default=80)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args()
    {"puppet": puppet, "still": still, "cost": cost}[given.part](given)
