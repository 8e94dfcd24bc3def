"""Drawing a story: the pictures of a film, one at a time."""

from collections.abc import Iterator
from itertools import chain, repeat

import numpy as np

from xsheet.demo.film.plan import Story, Take
from xsheet.demo.puppet.canvas import Picture
from xsheet.demo.puppet.draw import Puppet, beside
from xsheet.demo.puppet.identity import identity
from xsheet.demo.puppet.marker import mark_frame
from xsheet.demo.puppet.scene import backdrop, camera

FLASH_LUMA = 250


def pictures(story: Story, *, size: int) -> Iterator[Picture]:
    """All frames of a film, (size, columns × size, 3) uint8 RGB, with grain and the frame's number in a corner.

    The one picture of a still is repeated bit for bit, hence without a number.
    """
    rng = np.random.default_rng((story.seed, story.index, 0xF11))
    drawn = _drawn(story, size)
    if story.kind == "still":
        yield from repeat(camera(next(drawn), rng), story.frames)
        return
    for number, picture in enumerate(drawn):
        yield mark_frame(camera(picture, rng), number)


def _drawn(story: Story, size: int) -> Iterator[Picture]:
    before: Picture | None = None
    end = 0
    for take in story.takes:
        shots = _take(take, size, columns=max(1, *(len(t.heads) for t in story.takes)))
        first = next(shots)
        if before is not None:
            yield from _dissolve(before, first, take.frames.start - end)
        for before in chain([first], shots):
            yield before
        end = take.frames.stop


def _dissolve(before: Picture, after: Picture, frames: int) -> Iterator[Picture]:
    for step in range(1, frames + 1):
        share = step / (frames + 1)
        yield np.round(before * (1 - share) + after * share).astype(np.uint8)


def _take(take: Take, size: int, *, columns: int) -> Iterator[Picture]:
    if take.flash:
        yield from repeat(np.full((size, columns * size, 3), FLASH_LUMA, np.uint8), len(take.frames))
    elif not take.heads:
        yield from repeat(backdrop(identity(take.backdrop).scene, size=size), len(take.frames))
    else:
        puppets = [Puppet(identity(head.identity), size=size) for head in take.heads]
        for k in range(len(take.frames)):
            yield beside(*(puppet.draw(head.motion.at(k)) for puppet, head in zip(puppets, take.heads, strict=True)))
