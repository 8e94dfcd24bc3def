"""A task that reads all of a file: facts, frames, sound. Workers import it by name, so its folder is on sys.path."""

from dataclasses import replace
from pathlib import Path

from xsheet.curate.limits import MediaLimits
from xsheet.curate.media import open_media
from xsheet.schemas.source import SourceVideo
from xsheet.task import Item


class ReadEverything:
    name = "read"

    def __init__(self, root: Path) -> None:
        self.stage = "read"
        self.root = root

    def open(self) -> None:
        pass

    def __call__(self, item: Item, /) -> list[SourceVideo]:
        with open_media(item.payload, root=self.root, limits=MediaLimits(max_duration_s=600)) as media:
            for _ in media.frames(size=(32, 32)):
                pass
            media.sound()
            return [replace(media.source, frames_decoded=media.counts.decoded)]
