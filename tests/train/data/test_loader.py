"""What a worker is given: its micro-batches of every step, whatever was read ahead."""

from itertools import islice

import pytest
import torch

from xsheet.schemas.errors import ConfigError
from xsheet.train.data.dataset import Clips, choose
from xsheet.train.data.loader import ClipFeed
from xsheet.train.data.order import Order
from xsheet.train.data.settings import ShownSettings
from xsheet.train.loop.process_group import World
from xsheet.train.loop.state import Position

BRIEF = ShownSettings(text="brief")


def feed(cache, *, batch=2, micro=1, ahead=2, rank=0, workers=1) -> ClipFeed:
    clips = Clips(cache, choose(cache, BRIEF, split=None).features, BRIEF, seed=3, mirrored=0.5)
    order = Order(clips.buckets, batch=batch, seed=3)
    return ClipFeed(clips, order, micro_batch=micro, ahead=ahead, world=World(rank=rank, size=workers))


def shown(portions, steps=6):
    return [[one for micro in portion.micros for one in micro.showings] for portion in islice(portions, steps)]


def test_two_workers_share_what_one_would_get(cache):
    whole = shown(feed(cache).portions(Position()))
    shares = [shown(feed(cache, rank=r, workers=2).portions(Position())) for r in (0, 1)]
    assert whole == [[a[0], b[0]] for a, b in zip(*shares, strict=True)]


@pytest.mark.parametrize("changes", [{"ahead": 0}, {"micro": 2}])
def test_neither_reading_ahead_nor_micro_batches_change_what_is_shown(cache, changes):
    assert shown(feed(cache, **changes).portions(Position())) == shown(feed(cache).portions(Position()))


def test_a_feed_goes_on_where_a_portion_says(cache):
    whole = list(islice(feed(cache).portions(Position()), 6))
    rest = list(islice(feed(cache).portions(whole[2].after), 3))
    for one, two in zip(whole[3:], rest, strict=True):
        assert torch.equal(one.micros[0].x0_BCFHW, two.micros[0].x0_BCFHW)
        assert one.after == two.after


def test_a_feed_that_is_left_stops_reading(cache):
    portions = feed(cache).portions(Position())
    next(portions)
    portions.close()
    with pytest.raises(StopIteration):
        next(portions)


def test_a_batch_that_workers_cannot_share_is_refused(cache):
    with pytest.raises(ConfigError, match="multiple of 1 clips x 3 workers"):
        feed(cache, workers=3)
