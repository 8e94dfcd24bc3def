"""Order of training: batches of one bucket, every clip once per epoch, resumable at any position.

Every epoch shows every clip once, in an order of its own. Going through it, each bucket collects its clips and gives a
batch when it has enough; what is left waits for the next epoch, so no clip is left out for good and all batches are
full. A place in this order is (epoch, clips shown in batches of the epoch), and nothing else has to be remembered.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from xsheet.schemas.errors import ConfigError
from xsheet.train.data import seeded_random
from xsheet.train.data.framing import Bucket
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.loop.state import DataPosition


class BucketBatchSampler:
    """Batches of `batch_size` clips of one bucket."""

    def __init__(self, bucket_of: Mapping[str, Bucket], *, batch_size: int, seed: int) -> None:
        if len(bucket_of) < batch_size:
            raise ConfigError(
                where="clips to train on", expected=f"at least one batch of {batch_size}", got=str(len(bucket_of)),
                hint="lower loader.batch_size, curate more videos, or relax the stage's motion filter",
            )  # fmt: skip
        self._clips = sorted(bucket_of)
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
        place = {clip: k for k, clip in enumerate(self._epoch_permutation(epoch))}
        for bucket, clips in self._shuffled_buckets(epoch).items():
            # Batch b of a bucket holds showings b * batch and on, counted from its very first one.
            count = len(clips)
            for number in range(epoch * count // self.batch_size, (epoch + 1) * count // self.batch_size):
                first = number * self.batch_size
                sample_keys = tuple(self._sample_key(bucket, count, k) for k in range(first, first + self.batch_size))
                ended.append((place[sample_keys[-1].clip_id], sample_keys))
        return [sample_keys for _, sample_keys in sorted(ended)]

    def _sample_key(self, bucket: Bucket, count: int, sample_key: int) -> SampleKey:
        """The n-th sample of a bucket since the start of training."""
        epoch, place = divmod(sample_key, count)
        return SampleKey(epoch, self._shuffled_buckets(epoch)[bucket][place])

    def _epoch_permutation(self, epoch: int) -> list[str]:
        return [self._clips[k] for k in seeded_random.permutation(len(self._clips), seed=self._seed, epoch=epoch)]

    def _shuffle_buckets(self, epoch: int) -> dict[Bucket, list[str]]:
        """The clips of each bucket in the order of an epoch."""
        found: dict[Bucket, list[str]] = {}
        for clip in self._epoch_permutation(epoch):
            found.setdefault(self._bucket_of[clip], []).append(clip)
        return found
