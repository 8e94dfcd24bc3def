"""Drawing a story: the pictures of a film, one at a time."""

from collections.abc import Iterator
from itertools import chain, repeat

import numpy as np

from xsheet.demo.film.plan import FilmPlan, ShotPlan
from xsheet.demo.puppet.canvas import Picture
from xsheet.demo.puppet.draw import Puppet, side_by_side
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.marker import mark_frame
from xsheet.demo.puppet.scene import add_camera_noise, draw_backdrop

FLASH_LUMA = 250


def render_film(plan: FilmPlan, *, height_px: int) -> Iterator[Picture]:
    """All frames of a film, (size, columns × size, 3) uint8 RGB, with grain and the frame's number in a corner.

    The one picture of a still is repeated bit for bit, hence without a number.
    """
    rng = np.random.default_rng((plan.seed, plan.index, 0xF11))
    drawn = _render_shots(plan, height_px)
    if plan.kind == "still":
        yield from repeat(add_camera_noise(next(drawn), rng), plan.frames)
        return
    for number, picture in enumerate(drawn):
        yield mark_frame(add_camera_noise(picture, rng), number)


def _render_shots(story: FilmPlan, size: int) -> Iterator[Picture]:
    before: Picture | None = None
    end = 0
    for take in story.shots:
        shots = _render_shot(take, size, columns=max(1, *(len(t.cast_members) for t in story.shots)))
        first = next(shots)
        if before is not None:
            yield from _render_dissolve(before, first, take.frames.start - end)
        for before in chain([first], shots):
            yield before
        end = take.frames.stop


def _render_dissolve(before: Picture, after: Picture, frames: int) -> Iterator[Picture]:
    for step in range(1, frames + 1):
        share = step / (frames + 1)
        yield np.round(before * (1 - share) + after * share).astype(np.uint8)


def _render_shot(take: ShotPlan, size: int, *, columns: int) -> Iterator[Picture]:
    if take.flash:
        yield from repeat(np.full((size, columns * size, 3), FLASH_LUMA, np.uint8), len(take.frames))
    elif not take.cast_members:
        yield from repeat(draw_backdrop(random_identity(take.backdrop_identity).scene, size=size), len(take.frames))
    else:
        puppets = [Puppet(random_identity(head.identity), height_px=size) for head in take.cast_members]
        for k in range(len(take.frames)):
            yield side_by_side(
                *(puppet.draw(head.motion.at(k)) for puppet, head in zip(puppets, take.cast_members, strict=True))
            )
