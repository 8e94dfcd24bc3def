"""A set of talking puppets with head actions for the training benchmarks: clips, signals, truth, split.

    folder = make_set(folder, train=480, held_out=120, seed=0)      # of these, a fifth for val

The films are the demo's, with plans of their own: acts of a mix below, hardly apart, at sizes and paces that ten
frames a second can show. (Of nods and shakes of any pace a tiny model learned 15 of 87 in the steps in which it
learned 51 of 58 tilts and turns.) Signals are the truth, not measured, so that what is learned here does not depend on
a face tracker; the layer is gold.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import Generator

from xsheet.curate.media.writer import write_clip
from xsheet.demo.film import truth, voice
from xsheet.demo.film.plan import FilmPlan, plan_film
from xsheet.demo.film.render import render_film
from xsheet.demo.puppet.act import motion_curves
from xsheet.demo.puppet.script import ACTION_STYLES, PlannedAction, place_action
from xsheet.schemas import tables, vocab
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Measures, PartMotion, Signals
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.layers import write_layer
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import Split, SplitName
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Actions of the puppets of a set."""

    acts: tuple[vocab.Action, ...]
    speed: int  # 1 slow, 2 normal, 3 fast
    repetitions: tuple[int, int]  # least and most, where the act can repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadMix:
    """Actions that start anywhere, on several tracks at once, so that the usual time is no help."""

    acts: tuple[vocab.Action, ...]
    speeds: tuple[int, ...] = (1, 2, 3)
    count: tuple[int, int] = (2, 4)  # least and most acts in TEST_FRAMES
    duration_frames: tuple[int, int] = (10, 50)  # .4 to 2 s
    gap_frames: int = 4  # least, between two acts of one track
    rest_share: float = 0.1  # of clips without actions


SLOW = Mix(acts=("nod", "shake_head", "tilt_head", "turn_head"), speed=1, repetitions=(2, 3))
"""Every class, so slow that hardly two acts fit into a stretch of 3.3 s."""
PAIRS = Mix(acts=("tilt_head", "turn_head"), speed=3, repetitions=(1, 1))
"""Quick acts to both sides that hold, two to a stretch: when each is asked for matters, and they can change places."""
ANYWHERE = SpreadMix(acts=("tilt_head", "turn_head", "raise_brows", "smile"))
"""Head and face, two to four actions of .4 to 2 s that start anywhere and overlap: times have to be read."""

SIZE_PX = 128
TRAIN_FRAMES = 108  # 4.3 s: three stretches of 3.3 s, half a second apart
TEST_FRAMES = 84  # 3.4 s: one stretch, so that every act asked for lies in it whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Filmed:
    """One clip with its planted truth."""

    clip: Clip
    signals: Signals
    measures: Measures
    annotation: Annotation
    split: Split


def make_set(folder: Path, *, train: int, held_out: int, seed: int, mix: Mix | SpreadMix = SLOW, jobs: int = 2) -> Path:
    """Make the set unless it exists; a stopped run continues with the films that are there."""
    if (folder / tables.SPLITS.name).is_dir():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    create_set(folder, f"puppet-{seed}")
    with ProcessPoolExecutor(jobs) as pool:
        filmed = list(
            pool.map(partial(_filmed, folder=folder, train=train, seed=seed, mix=mix), range(train + held_out))
        )
    tables.write_table(folder, tables.CLIPS, [one.clip for one in filmed])
    tables.write_table(folder, tables.SIGNALS, [one.signals for one in filmed])
    tables.write_table(folder, tables.MEASURES, [one.measures for one in filmed])
    write_layer(folder, truth.truth_run(seed), "gold", [one.annotation for one in filmed])
    tables.write_table(folder, tables.SPLITS, [one.split for one in filmed])
    return folder


def _filmed(index: int, *, folder: Path, train: int, seed: int, mix: Mix | SpreadMix) -> Filmed:
    split: SplitName = "train" if index < train else "test" if index % 5 else "val"
    film = _film(index, seed=seed, frames=TRAIN_FRAMES if split == "train" else TEST_FRAMES, mix=mix)
    media = f"media/{index:04d}.mp4"
    if not (folder / media).is_file():
        write_clip(folder / media, frames=render_film(film, height_px=SIZE_PX), sound=film.sound)
    sha256 = file_sha256(folder / media)
    source = f"src_{seed:04d}{index:04d}"
    measures, signals, annotation = _truth(film, source)
    moved = PartMotion(part="head", speed_median=0.1, speed_p90=1.0, visible_share=1.0)
    clip = Clip(
        clip_id=signals.clip_id, source_id=source, start_us=0, end_us=frame_start_us(film.frames, CLIP_RATE),
        media_path=media, media_sha256=sha256, frames=film.frames, samples=len(film.sound), width=SIZE_PX,
        height=SIZE_PX,
    )  # fmt: skip
    return Filmed(
        clip=clip,
        signals=signals,
        measures=replace(measures, motion=(moved,)),
        annotation=replace(annotation, media_sha256=sha256),
        split=Split(clip_id=clip.clip_id, source_id=source, cluster=source, split=split, identity_by="source"),
    )


def _truth(film: FilmPlan, source: str) -> tuple[Measures, Signals, Annotation]:
    measures, signals, annotation = truth.truth_rows(film, source)
    assert isinstance(measures, Measures)
    assert isinstance(signals, Signals)
    assert isinstance(annotation, Annotation)
    return measures, signals, annotation


def _film(index: int, *, seed: int, frames: int, mix: Mix | SpreadMix) -> FilmPlan:
    """A demo film with its own plan and puppet."""
    rng = np.random.default_rng((seed, index, 0xAC7))
    film = plan_film(index, seed=seed, kind="talk")
    (take,) = film.shots
    speech = voice.synthesise_speech(rng, frames)
    planned = spread_acts(rng, frames, mix) if isinstance(mix, SpreadMix) else tuple(_plan(rng, frames, mix))
    motion = motion_curves(planned, frames, speech=speech, rng=rng)
    head = replace(take.cast_members[0], motion=motion, actions=planned, speech=speech)
    return replace(film, shots=(replace(take, frames=range(frames), cast_members=(head,)),), sound=speech.sound)


def _plan(rng: Generator, frames: int, mix: Mix) -> Iterator[PlannedAction]:
    """Actions in sequence until the next one does not fit."""
    start = int(rng.integers(4, 16))
    while True:
        action = mix.acts[rng.integers(len(mix.acts))]
        manner = ACTION_STYLES[action]
        least, most = (min(manner.max_repetitions, times) for times in mix.repetitions)
        planned = place_action(
            action,
            start,
            side=manner.sides[rng.integers(len(manner.sides))],
            amplitude=int(rng.integers(2, 4)),
            speed=mix.speed,
            repetitions=int(rng.integers(least, most + 1)),
            rng=rng,
        )
        if planned.frames.stop > frames - 3:
            return
        yield planned
        start = planned.frames.stop + int(rng.integers(3, 14))


def spread_acts(rng: Generator, frames: int, mix: SpreadMix) -> tuple[PlannedAction, ...]:
    """Acts of a clip, by start: number, class and start are uniform; what clashes on a track is drawn again."""
    if rng.random() < mix.rest_share:
        return ()
    least, most = (round(count * frames / TEST_FRAMES) for count in mix.count)
    planned: list[PlannedAction] = []
    for _ in range(int(rng.integers(least, most + 1))):
        action = mix.acts[rng.integers(len(mix.acts))]
        for _ in range(50):
            one = _spread_act(rng, action, frames, mix)
            if one is not None and _is_free(one, planned, mix.gap_frames):
                planned.append(one)
                break
    return tuple(sorted(planned, key=lambda one: (one.span, one.track)))


def _spread_act(rng: Generator, action: vocab.Action, frames: int, mix: SpreadMix) -> PlannedAction | None:
    """The act in any manner at any start; None if its length is outside the mix."""
    style = ACTION_STYLES[action]
    one = place_action(
        action,
        0,
        side=style.sides[rng.integers(len(style.sides))],
        amplitude=int(rng.integers(2, 4)),
        speed=int(rng.choice(mix.speeds)),
        rng=rng,
    )
    shortest, longest = mix.duration_frames
    length = len(one.frames)
    if not shortest <= length <= longest or length + 6 > frames:
        return None
    return shift_action(one, int(rng.integers(3, frames - length - 2)))


def shift_action(action: PlannedAction, frames: int) -> PlannedAction:
    """The same act some frames later."""
    us = frame_start_us(frames, CLIP_RATE)
    span = Span(action.span.start_us + us, action.span.end_us + us)
    parts = tuple(replace(part, start_us=part.start_us + us, end_us=part.end_us + us) for part in action.kinematics)
    return replace(action, span=span, kinematics=parts)


def _is_free(one: PlannedAction, planned: Sequence[PlannedAction], gap: int) -> bool:
    others = (other.frames for other in planned if other.track == one.track)
    return all(one.frames.start >= other.stop + gap or other.start >= one.frames.stop + gap for other in others)
