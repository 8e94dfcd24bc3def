"""Order of training: batches of one bucket, every clip once per epoch, resumable at any position.

Every epoch has every clip once, in a new order. Along this order, each bucket collects its clips and yields a batch
when it is full; remaining clips wait for the next epoch, so no clip is lost and all batches are full. The position in
this order is (epoch, clips used in batches of the epoch); a resumed run needs nothing else.

With weights, n clips of one bucket and one weight w occur round(w · n) times per epoch in total, equally often: an
epoch continues in the list of these clips where the previous one ended. The number of a sample is how often its clip
was used before, so that repeated samples have different noise and crops; with weight 1 it is the epoch.
"""

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache

from xsheet.schemas.errors import ConfigError
from xsheet.train.data import seeded_random
from xsheet.train.data.framing import Bucket
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.loop.state import DataPosition

MAX_WEIGHT = 1000.0


class BucketBatchSampler:
    """Batches of `batch_size` clips of one bucket.

    Args:
        bucket_of: bucket by clip id.
        batch_size: clips of a batch.
        seed: of the order.
        weight_of: how often an epoch shows a clip on average, by clip id; 1 where absent.
    """

    def __init__(
        self,
        bucket_of: Mapping[str, Bucket],
        *,
        batch_size: int,
        seed: int,
        weight_of: Mapping[str, float] | None = None,
    ) -> None:
        self._alike: dict[tuple[Bucket, float], list[str]] = {}
        for clip in sorted(bucket_of):
            weight = 1.0 if weight_of is None else weight_of.get(clip, 1.0)
            self._alike.setdefault((bucket_of[clip], weight), []).append(clip)
        samples = sum(_samples_per_epoch(clips, weight) for (_, weight), clips in self._alike.items())
        if samples < batch_size:
            raise ConfigError(
                where="clips to train on", expected=f"at least one batch of {batch_size}", got=str(samples),
                hint="lower loader.batch_size, curate more videos, or relax the stage's motion filter",
            )  # fmt: skip
        self._bucket_of = bucket_of
        self.batch_size, self._seed = batch_size, seed
        self._shuffled_buckets = lru_cache(maxsize=4)(
            self._shuffle_buckets
        )  # this epoch's, and those that left clips behind

    def batches(self, start: DataPosition) -> Iterator[tuple[tuple[SampleKey, ...], DataPosition]]:
        """Batches from a position on, endlessly, each with the position after it."""
        epoch, skipped = start.epoch, start.clips_drawn // self.batch_size
        while True:
            ended = self.epoch_batches(epoch)
            for number, sample_keys in enumerate(ended[skipped:], start=skipped + 1):
                yield sample_keys, DataPosition(epoch=epoch, clips_drawn=number * self.batch_size)
            epoch, skipped = epoch + 1, 0

    def epoch_batches(self, epoch: int) -> list[tuple[SampleKey, ...]]:
        """Batches that become full in an epoch, in the order of their last clips."""
        ended: list[tuple[int, tuple[SampleKey, ...]]] = []
        place = {sample_key: k for k, sample_key in enumerate(self._epoch_permutation(epoch))}
        for bucket, samples in self._shuffled_buckets(epoch).items():
            # Batch b of a bucket holds samples b * batch and on, counted from its very first one.
            count = len(samples)
            for number in range(epoch * count // self.batch_size, (epoch + 1) * count // self.batch_size):
                first = number * self.batch_size
                sample_keys = tuple(self._sample_key(bucket, count, k) for k in range(first, first + self.batch_size))
                ended.append((place[sample_keys[-1]], sample_keys))
        return [sample_keys for _, sample_keys in sorted(ended)]

    def _sample_key(self, bucket: Bucket, count: int, number: int) -> SampleKey:
        """The n-th sample of a bucket since the start of training."""
        epoch, place = divmod(number, count)
        return self._shuffled_buckets(epoch)[bucket][place]

    def _epoch_permutation(self, epoch: int) -> list[SampleKey]:
        samples = self._epoch_samples(epoch)
        return [samples[k] for k in seeded_random.permutation(len(samples), seed=self._seed, epoch=epoch)]

    def _epoch_samples(self, epoch: int) -> list[SampleKey]:
        """The samples of an epoch, by clip."""
        samples: list[SampleKey] = []
        for (_, weight), clips in self._alike.items():
            count = _samples_per_epoch(clips, weight)
            for number in range(epoch * count, (epoch + 1) * count):
                shown_before, place = divmod(number, len(clips))
                samples.append(SampleKey(shown_before, clips[place]))
        return sorted(samples, key=lambda sample_key: (sample_key.clip_id, sample_key.epoch))

    def _shuffle_buckets(self, epoch: int) -> dict[Bucket, list[SampleKey]]:
        """The samples of each bucket in the order of an epoch."""
        found: dict[Bucket, list[SampleKey]] = {}
        for sample_key in self._epoch_permutation(epoch):
            found.setdefault(self._bucket_of[sample_key.clip_id], []).append(sample_key)
        return found


def _samples_per_epoch(clips: list[str], weight: float) -> int:
    """How often an epoch shows clips of one bucket and weight; at least once."""
    check_weight(weight)
    return max(1, round(weight * len(clips)))


def check_weight(weight: float) -> None:
    """Raise ConfigError for a weight outside 0..MAX_WEIGHT."""
    if not 0 < weight <= MAX_WEIGHT or math.isnan(weight):
        raise ConfigError(
            where="weight of a set", expected=f"above 0, at most {MAX_WEIGHT:g}", got=f"{weight:g}",
            hint="omit a set that should not be used",
        )  # fmt: skip
