"""The first step over many inputs, as a task of the executor: path in, facts out."""

import os
from pathlib import Path
from typing import Protocol

from xsheet.curate.limits import MediaLimits
from xsheet.schemas.source import SourceVideo


class InputItem(Protocol):
    """What the executor hands over: the payload is the path of an input, as text."""

    @property
    def payload(self) -> str | os.PathLike[str]: ...  # noqa: D102  # said above


class ProbeTask:
    """Reads the facts of one input at a time. Holds settings only, so it pickles; an unusable input is a MediaError."""

    name = "probe"

    def __init__(self, *, root: Path, limits: MediaLimits | None = None, count_frames: bool = False) -> None:
        self.stage = "probe"
        self._root = root.absolute()  # a worker runs in a folder of its own
        self._limits = limits or MediaLimits()
        self._count_frames = count_frames

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: InputItem, /) -> list[SourceVideo]:
        """One row.

        Raises:
            MediaError: the input cannot be used; the executor makes it a failed row.
        """
        from xsheet.curate.media import probe  # noqa: PLC0415  # the driver that hands out the work needs no decoder

        return [probe(item.payload, root=self._root, limits=self._limits, count_frames=self._count_frames)]
