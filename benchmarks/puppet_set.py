"""A set of talking puppets with head actions for the training benchmarks: clips, signals, truth, split.

    folder = make_set(folder, train=480, held_out=120, seed=0)      # of these, a fifth for val

The films are the demo's, with plans of their own: acts of a mix below, hardly apart, at sizes and paces that ten
frames a second can show. (Of nods and shakes of any pace a tiny model learned 15 of 87 in the steps in which it
learned 51 of 58 tilts and turns.) Signals are the truth, not measured, so that what is learned here does not depend on
a face tracker; the layer is gold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from numpy.random import Generator

from xsheet.demo.drawn_set import (
    STRETCH_FRAMES,
    ActionPlan,
    SetMember,
    SpreadMix,
    acting_film,
    draw_set,
    spread_actions,
)
from xsheet.demo.puppet.script import ACTION_STYLES, PlannedAction, place_action
from xsheet.schemas import vocab
from xsheet.schemas.source import SplitName


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Actions of the puppets of a set."""

    acts: tuple[vocab.Action, ...]
    speed: int  # 1 slow, 2 normal, 3 fast
    repetitions: tuple[int, int]  # least and most, where the act can repeat


SLOW = Mix(acts=("nod", "shake_head", "tilt_head", "turn_head"), speed=1, repetitions=(2, 3))
"""Every class, so slow that hardly two acts fit into a stretch of 3.3 s."""
ANYWHERE = SpreadMix(acts=("nod", "tilt_head", "turn_head", "raise_brows"))
"""Head and face, two to four actions of .4 to 2 s that start anywhere and overlap: times have to be read."""
EVERY_HEAD_ACT = SpreadMix(
    acts=(
        "nod", "shake_head", "tilt_head", "turn_head", "raise_brows", "blink_long",
        "nod", "shake_head", "tilt_head", "turn_head", "raise_brows", "blink_long",
        "look_away", "smile", "open_mouth", "lean_in", "lean_back", "sway",
    ),
    duration_frames=(8, 50),
    amplitudes=(1, 2, 2, 3, 3, 3),
    max_repetitions=3,
)  # fmt: skip
"""All that a picture of the face shows, at any size and pace, anywhere: what a base is trained on. Twice as often what
64 pixels show well."""

SIZE_PX = 128
TRAIN_FRAMES = 108  # 4.3 s: three stretches of 3.3 s, half a second apart


def make_set(folder: Path, *, train: int, held_out: int, seed: int, mix: Mix | SpreadMix = SLOW, jobs: int = 2) -> Path:
    """Make the set unless it exists; a stopped run continues with the films that are there."""
    member = partial(_member, train=train, seed=seed, mix=mix)
    return draw_set(folder, member, count=train + held_out, name=f"puppet-{seed}", size_px=SIZE_PX, jobs=jobs)


def _member(index: int, *, train: int, seed: int, mix: Mix | SpreadMix) -> SetMember:
    split: SplitName = "train" if index < train else "test" if index % 5 else "val"
    frames = TRAIN_FRAMES if split == "train" else STRETCH_FRAMES
    actions: ActionPlan = partial(spread_actions, mix=mix) if isinstance(mix, SpreadMix) else partial(_plan, mix=mix)
    return SetMember(film=acting_film(index, seed=seed, frames=frames, actions=actions), split=split)


def _plan(rng: Generator, frames: int, mix: Mix) -> tuple[PlannedAction, ...]:
    return tuple(_in_sequence(rng, frames, mix))


def _in_sequence(rng: Generator, frames: int, mix: Mix) -> Iterator[PlannedAction]:
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
