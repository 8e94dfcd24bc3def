"""What a worker is given: its micro-batches of every step, whatever was read ahead."""

from itertools import islice

import pytest
import torch

from xsheet.schemas.errors import ConfigError
from xsheet.train.data.dataset import CachedClipDataset, select_clips
from xsheet.train.data.loader import ClipLoader
from xsheet.train.data.order import BucketBatchSampler
from xsheet.train.data.settings import StageDatasetSettings
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.state import DataPosition

BRIEF = StageDatasetSettings(text="brief")


def feed(cache, *, batch=2, micro=1, ahead=2, rank=0, workers=1) -> ClipLoader:
    clips = CachedClipDataset([select_clips(cache, BRIEF, split=None)], BRIEF, seed=3, mirror_probability=0.5)
    order = BucketBatchSampler(clips.buckets, batch_size=batch, seed=3)
    return ClipLoader(
        clips, order, micro_batch_size=micro, prefetch=ahead, process_group=ProcessGroup(rank=rank, size=workers)
    )


def shown(portions, steps=6):
    return [
        [one for micro in portion.micro_batches for one in micro.sample_keys] for portion in islice(portions, steps)
    ]


def test_two_workers_share_what_one_would_get(cache):
    whole = shown(feed(cache).step_shares(DataPosition()))
    shares = [shown(feed(cache, rank=r, workers=2).step_shares(DataPosition())) for r in (0, 1)]
    assert whole == [[a[0], b[0]] for a, b in zip(*shares, strict=True)]


@pytest.mark.parametrize("changes", [{"ahead": 0}, {"micro": 2}])
def test_neither_reading_ahead_nor_micro_batches_change_what_is_shown(cache, changes):
    assert shown(feed(cache, **changes).step_shares(DataPosition())) == shown(feed(cache).step_shares(DataPosition()))


def test_a_feed_goes_on_where_a_portion_says(cache):
    whole = list(islice(feed(cache).step_shares(DataPosition()), 6))
    rest = list(islice(feed(cache).step_shares(whole[2].next_position), 3))
    for one, two in zip(whole[3:], rest, strict=True):
        assert torch.equal(one.micro_batches[0].latent_BCFHW, two.micro_batches[0].latent_BCFHW)
        assert one.next_position == two.next_position


def test_a_feed_that_is_left_stops_reading(cache):
    portions = feed(cache).step_shares(DataPosition())
    next(portions)
    portions.close()
    with pytest.raises(StopIteration):
        next(portions)


def test_a_batch_that_workers_cannot_share_is_refused(cache):
    with pytest.raises(ConfigError, match="multiple of 1 clips x 3 workers"):
        feed(cache, workers=3)
