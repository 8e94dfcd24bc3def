"""The first step over many inputs, as a task of the executor: path in, facts out."""

from dataclasses import dataclass
from pathlib import Path

from xsheet.curate.media.limits import MediaLimits
from xsheet.runtime.executor import Item
from xsheet.schemas.source import SourceVideo


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePath:
    """Where an input lies and the folder it may not lead out of: absolute, for workers have folders of their own."""

    path: str
    root: Path


class ProbeTask:
    """Reads the facts of one input at a time. Holds settings only, so it pickles; the payload of an item is a Place."""

    name = "probe"

    def __init__(self, *, limits: MediaLimits | None = None, count_frames: bool = False) -> None:
        self.stage = "probe"
        self._limits = limits or MediaLimits()
        self._count_frames = count_frames

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> list[SourceVideo]:
        """One row.

        Raises:
            MediaError: the input cannot be used; the executor makes it a failed row.
        """
        from xsheet.curate.media.reader import probe  # noqa: PLC0415  # the driver that hands out the work needs no decoder

        place: SourcePath = item.payload
        return [probe(place.path, root=place.root, limits=self._limits, count_frames=self._count_frames)]
