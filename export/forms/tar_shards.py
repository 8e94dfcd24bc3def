"""`webdataset`: SPLIT-000000.tar, ... with NAME.mp4, NAME.txt (the caption) and NAME.json (metadata) of each sample.

Rules (webdataset's documentation of the format; Hugging Face `datasets`, "webdataset"): files of a sample follow each
other and share the name up to the first dot, so a name has none; what follows the dot is the key. Splits are found by
the name of the tar file. The order of samples is that of a hash, because readers shuffle only within a buffer.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from xsheet.export.forms.hugging_face import metadata_row
from xsheet.export.forms.plain import by_split
from xsheet.export.media import TarShardJob
from xsheet.export.samples import ExportSample
from xsheet.export.settings import ExportSettings
from xsheet.schemas import ids


def list_shards(
    samples: Sequence[ExportSample], settings: ExportSettings, *, set_folder: Path, out: Path
) -> Iterator[TarShardJob]:
    """The tar files of an export."""
    for name, members in by_split(samples).items():
        shuffled = sorted(members, key=lambda sample: ids.content_key("shuffle", sample.name))
        for number, first in enumerate(range(0, len(shuffled), settings.clips_per_shard)):
            chosen = shuffled[first : first + settings.clips_per_shard]
            yield TarShardJob(
                file=f"{name}-{number:06d}.tar",
                samples=tuple(replace(sample, name=sample.name.replace(".", "_")) for sample in chosen),
                sidecars=tuple(_sidecars(sample) for sample in chosen),
                set_folder=set_folder,
                out=out,
            )


def _sidecars(sample: ExportSample) -> tuple[tuple[str, bytes], ...]:
    row = metadata_row(sample)
    del row["file_name"]
    metadata = json.dumps(row, ensure_ascii=False)
    return (("txt", sample.caption.text.encode()), ("json", metadata.encode()))
