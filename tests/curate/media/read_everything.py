"""A task that reads all of a file: facts, frames, sound. Workers import it by name, so its folder is on sys.path."""

from dataclasses import replace

from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.reader import open_media
from xsheet.runtime.task import Item
from xsheet.schemas.source import SourceVideo


class ReadEverything:
    name = "read"

    def __init__(self) -> None:
        self.stage = "read"

    def open(self) -> None:
        pass

    def __call__(self, item: Item, /) -> list[SourceVideo]:
        source = item.payload
        with open_media(source.path, root=source.root, limits=MediaLimits(max_duration_s=600)) as media:
            for _ in media.frames(size=(32, 32)):
                pass
            media.sound()
            return [replace(media.source, frames_decoded=media.counts.decoded)]
