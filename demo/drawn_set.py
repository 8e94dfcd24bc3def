"""Sets of drawn people whose signals and annotations are the truth: no tracker, no annotator stands between.

    draw_set(folder, member, count=40, name="people", size_px=256)     # member(index) -> SetMember
    film = acting_film(index, seed=0, frames=84, actions=...)          # one person who speaks and acts
    actions = spread_actions(rng, 84, SpreadMix(acts=("nod", "smile")))

Clips, signals, measures, the layer `gold` and the split, as curation and annotation would leave them.
"""

from collections.abc import Callable, Sequence
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

STRETCH_FRAMES = 84
"""3.4 s: one stretch of 33 frames at 10 fps, so that every action asked for lies in it whole."""
ActionPlan = Callable[[Generator, int], Sequence[PlannedAction]]
"""Draws the actions of so many frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadMix:
    """Actions that start anywhere, on several tracks at once, so that the usual time is no help."""

    acts: tuple[vocab.Action, ...]
    speeds: tuple[int, ...] = (1, 2, 3)
    count: tuple[int, int] = (2, 4)  # least and most acts in STRETCH_FRAMES
    duration_frames: tuple[int, int] = (10, 50)  # .4 to 2 s
    amplitudes: tuple[int, ...] = (2, 3)
    max_repetitions: int = 1  # where the act can repeat
    gap_frames: int = 4  # least, between two acts of one track
    rest_share: float = 0.1  # of clips without actions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetMember:
    """A film with one shot and its part in the split."""

    film: FilmPlan
    split: SplitName


def draw_set(
    folder: Path, member: Callable[[int], SetMember], *, count: int, name: str, size_px: int, jobs: int = 2
) -> Path:
    """Draw the set unless it exists; a stopped run continues with the films that are there.

    Args:
        folder: of the set.
        member: film and split of each index; pickled to the workers.
        count: of films.
        name: id of the set.
        size_px: height and width of the pictures.
        jobs: worker processes.
    """
    if (folder / tables.SPLITS.name).is_dir():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    create_set(folder, name)
    with ProcessPoolExecutor(jobs) as pool:
        drawn = list(pool.map(partial(_draw, member=member, folder=folder, size_px=size_px), range(count)))
    tables.write_table(folder, tables.CLIPS, [one.clip for one in drawn])
    tables.write_table(folder, tables.SIGNALS, [one.signals for one in drawn])
    tables.write_table(folder, tables.MEASURES, [one.measures for one in drawn])
    write_layer(folder, truth.truth_run(member(0).film.seed), "gold", [one.annotation for one in drawn])
    tables.write_table(folder, tables.SPLITS, [one.split for one in drawn])  # last: with it the set is whole
    return folder


def acting_film(index: int, *, seed: int, frames: int, actions: ActionPlan) -> FilmPlan:
    """A film of one person who speaks and acts; a function of index, seed and plan."""
    rng = np.random.default_rng((seed, index, 0xAC7))
    film = plan_film(index, seed=seed, kind="talk")
    (take,) = film.shots
    speech = voice.synthesise_speech(rng, frames)
    planned = tuple(actions(rng, frames))
    motion = motion_curves(planned, frames, speech=speech, rng=rng)
    head = replace(take.cast_members[0], motion=motion, actions=planned, speech=speech)
    return replace(film, shots=(replace(take, frames=range(frames), cast_members=(head,)),), sound=speech.sound)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DrawnClip:
    """The rows of one clip."""

    clip: Clip
    signals: Signals
    measures: Measures
    annotation: Annotation
    split: Split


def _draw(index: int, *, member: Callable[[int], SetMember], folder: Path, size_px: int) -> _DrawnClip:
    one = member(index)
    film, media = one.film, f"media/{index:04d}.mp4"
    if not (folder / media).is_file():
        write_clip(folder / media, frames=render_film(film, height_px=size_px), sound=film.sound)
    sha256 = file_sha256(folder / media)
    source = f"src_{film.seed:04d}{index:04d}"
    measures, signals, annotation = _truth(film, source)
    moved = PartMotion(part="head", speed_median=0.1, speed_p90=1.0, visible_share=1.0)
    clip = Clip(
        clip_id=signals.clip_id, source_id=source, start_us=0, end_us=frame_start_us(film.frames, CLIP_RATE),
        media_path=media, media_sha256=sha256, frames=film.frames, samples=len(film.sound), width=size_px,
        height=size_px,
    )  # fmt: skip
    return _DrawnClip(
        clip=clip,
        signals=signals,
        measures=replace(measures, motion=(moved,)),
        annotation=replace(annotation, media_sha256=sha256),
        split=Split(clip_id=clip.clip_id, source_id=source, cluster=source, split=one.split, identity_by="source"),
    )


def _truth(film: FilmPlan, source: str) -> tuple[Measures, Signals, Annotation]:
    measures, signals, annotation = truth.truth_rows(film, source)
    assert isinstance(measures, Measures)
    assert isinstance(signals, Signals)
    assert isinstance(annotation, Annotation)
    return measures, signals, annotation


def spread_actions(rng: Generator, frames: int, mix: SpreadMix) -> tuple[PlannedAction, ...]:
    """Acts of a clip, by start: number, class and start are uniform; what clashes on a track is drawn again."""
    if rng.random() < mix.rest_share:
        return ()
    least, most = (round(count * frames / STRETCH_FRAMES) for count in mix.count)
    planned: list[PlannedAction] = []
    for _ in range(int(rng.integers(least, most + 1))):
        action = mix.acts[rng.integers(len(mix.acts))]
        for _ in range(50):
            one = _spread_action(rng, action, frames, mix)
            if one is not None and _is_free(one, planned, mix.gap_frames):
                planned.append(one)
                break
    return tuple(sorted(planned, key=lambda one: (one.span, one.track)))


def _spread_action(rng: Generator, action: vocab.Action, frames: int, mix: SpreadMix) -> PlannedAction | None:
    """The act in any manner at any start; None if its length is outside the mix."""
    style = ACTION_STYLES[action]
    one = place_action(
        action,
        0,
        side=style.sides[rng.integers(len(style.sides))],
        amplitude=int(rng.choice(mix.amplitudes)) if style.has_amplitudes else 2,
        speed=int(rng.choice(mix.speeds)),
        repetitions=int(rng.integers(1, 1 + min(mix.max_repetitions, style.max_repetitions))),
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
