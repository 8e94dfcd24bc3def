"""`hf`: a VideoFolder: SPLIT/NAME.mp4, SPLIT/metadata.parquet, README.md (the card) and croissant.json.

Rules (Hugging Face `datasets`, "Create a video dataset", and its module folder_based_builder; a test loads an export):
* a metadata file is called metadata.csv, metadata.jsonl or metadata.parquet and lies in the folder of its split;
  `file_name` is relative to it and becomes the column `video`;
* splits follow from folder names: train, val (read as validation), test;
* a folder on the hub should hold at most 10,000 files: above, export to webdataset.

    datasets.load_dataset("EXPORT")      # the folder; the hub takes it with `hf upload`
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xsheet.export.forms.card import dataset_card
from xsheet.export.forms.croissant import croissant_json
from xsheet.export.forms.plain import by_split
from xsheet.export.samples import ExportSample
from xsheet.schemas.files import atomic_path, write_text
from xsheet.schemas.time import seconds_from_us

_EVENT = pa.struct([("start_s", pa.float64()), ("end_s", pa.float64()), ("text", pa.string())])
_PHASE = pa.struct(
    [
        ("track", pa.string()), ("action", pa.string()), ("laterality", pa.string()), ("start_s", pa.float64()),
        ("end_s", pa.float64()), ("text", pa.string()),
    ]
)  # fmt: skip
SCHEMA = pa.schema(
    [
        ("file_name", pa.string()), ("caption", pa.string()), ("base_caption", pa.string()),
        ("events", pa.list_(_EVENT)), ("phases", pa.list_(_PHASE)), ("clip_id", pa.string()),
        ("source_id", pa.string()), ("source_start_s", pa.float64()), ("source_end_s", pa.float64()),
        ("mirrored", pa.bool_()), ("duration_s", pa.float64()), ("frames", pa.int64()), ("fps", pa.float64()),
        ("width", pa.int32()), ("height", pa.int32()), ("has_audio", pa.bool_()), ("speaker", pa.string()),
        ("licence", pa.string()), ("consent", pa.string()), ("transcript", pa.string()), ("label", pa.string()),
    ]
)  # fmt: skip
MANIFEST_COLUMNS = {"speaker": ("speaker",), "licence": ("licence", "license"), "consent": ("consent",),
                    "transcript": ("transcript",), "label": ("label",)}  # fmt: skip
"""Column of the metadata → columns of the manifest that fill it, the first that is there."""


def write_hugging_face(out: Path, samples: Sequence[ExportSample], *, name: str) -> Iterator[Path]:
    """Write the metadata of each split, the card and the Croissant file; yields the files."""
    metadata: dict[str, Path] = {}
    for split, members in by_split(samples).items():
        path = metadata[split] = out / split / "metadata.parquet"
        with atomic_path(path) as temporary:
            rows = [metadata_row(sample) for sample in members]
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary, compression="zstd")
        yield path
    write_text(out / "README.md", dataset_card(samples, name=name))
    yield out / "README.md"
    write_text(out / "croissant.json", croissant_json(out, metadata, samples, name=name))
    yield out / "croissant.json"


def metadata_row(sample: ExportSample) -> dict[str, Any]:
    """What is known of one sample; a value that the manifest does not have is null."""
    clip, caption = sample.clip, sample.caption
    manifest = {column: manifest_value(sample, column) for column in MANIFEST_COLUMNS}
    return {
        "file_name": f"{sample.name}.mp4",
        "caption": caption.text,
        "base_caption": caption.base,
        "events": [_times(event.start_us, event.end_us) | {"text": event.text} for event in caption.events],
        "phases": [
            {"track": p.track, "action": p.action, "laterality": p.laterality, "text": p.text}
            | _times(p.start_us, p.end_us)
            for p in sample.phases
        ],
        "clip_id": clip.clip_id,
        "source_id": clip.source_id,
        "source_start_s": seconds_from_us(clip.start_us),
        "source_end_s": seconds_from_us(clip.start_us + sample.span.duration_us),
        "mirrored": sample.is_mirrored,
        "duration_s": sample.duration_s,
        "frames": sample.frames,
        "fps": float(sample.rate),
        "width": clip.width,
        "height": clip.height,
        "has_audio": clip.samples > 0,
    } | manifest


def manifest_value(sample: ExportSample, column: str) -> str | None:
    """The value of a column of MANIFEST_COLUMNS; None if the manifest has none."""
    return next((v for key in MANIFEST_COLUMNS[column] if (v := sample.manifest_columns.get(key))), None)


def _times(start_us: int, end_us: int) -> dict[str, float]:
    return {"start_s": round(seconds_from_us(start_us), 3), "end_s": round(seconds_from_us(end_us), 3)}
