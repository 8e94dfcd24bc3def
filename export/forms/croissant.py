"""The Croissant description of an `hf` export: what files there are, and which fields their records have.

Rules (MLCommons Croissant 1.0, docs.mlcommons.org/croissant; a test loads the records with `mlcroissant`): a FileObject
names its URL, format and hash; a record set has fields with a data type and a source column of a FileObject. Paths are
relative to the file.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xsheet.export.forms.card import licence_of
from xsheet.export.samples import ExportSample
from xsheet.schemas import ids

_CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "extract": "cr:extract",
    "field": "cr:field", "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
    "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip
_FIELDS = {
    "file_name": ("sc:Text", "video file, relative to the folder of the split"),
    "caption": ("sc:Text", "text for training"),
    "base_caption": ("sc:Text", "what holds for the whole clip"),
    "clip_id": ("sc:Text", "clip of the set"),
    "source_id": ("sc:Text", "source video of the clip"),
    "source_start_s": ("sc:Float", "start of the clip in its source, seconds"),
    "duration_s": ("sc:Float", "length, seconds"),
    "frames": ("sc:Integer", "number of frames"),
    "fps": ("sc:Float", "frames per second"),
    "width": ("sc:Integer", "picture width, pixels"),
    "height": ("sc:Integer", "picture height, pixels"),
    "mirrored": ("sc:Boolean", "whether picture and caption are mirrored"),
    "speaker": ("sc:Text", "who speaks, as the manifest names them"),
    "licence": ("sc:Text", "licence of the source"),
}


def croissant_json(out: Path, metadata: Mapping[str, Path], samples: Sequence[ExportSample], *, name: str) -> str:
    """The JSON-LD document; a record set per split."""
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": "Clips of talking people with captions and phase-timed actions, exported by xsheet.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": licence_of(samples),
        "url": out.absolute().as_uri(),
        "version": "1.0.0",
        "distribution": [_file_object(out, split, path) for split, path in metadata.items()],
        "recordSet": [_record_set(split) for split in metadata],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _file_object(out: Path, split: str, path: Path) -> dict[str, str]:
    return {
        "@type": "cr:FileObject", "@id": f"{split}-metadata", "name": f"{split}-metadata",
        "contentUrl": path.relative_to(out).as_posix(), "encodingFormat": "application/x-parquet",
        "sha256": ids.file_sha256(path),
    }  # fmt: skip


def _record_set(split: str) -> dict[str, object]:
    fields = [
        {"@type": "cr:Field", "@id": f"{split}/{column}", "name": column, "description": description,
         "dataType": kind, "source": {"fileObject": {"@id": f"{split}-metadata"}, "extract": {"column": column}}}
        for column, (kind, description) in _FIELDS.items()
    ]  # fmt: skip
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "field": fields}
