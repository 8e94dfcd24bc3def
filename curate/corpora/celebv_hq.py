"""CelebV-HQ: one JSON file with the clips by name (github.com/CelebV-HQ/CelebV-HQ, README).

    {"meta_info": {"appearance_mapping": [...], "action_mapping": [...]},
     "clips": {"ID_0": {"ytb_id": ID, "duration": {"start_sec": 0.0, "end_sec": 1.0},
                        "bbox": {"top": 0.0, "bottom": 1.0, "left": 0.0, "right": 1.0},     shares of the picture
                        "attributes": {"appearance": [0, 1, ...], "action": [...],
                                       "emotion": {"sep_flag": false, "labels": "neutral"}}}}}

Clips are called by their name, recordings by `ytb_id`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xsheet.curate.corpora.clips import (
    CorpusClip,
    CorpusProblem,
    metadata_error,
    number_at,
    read_clips,
    read_json_metadata,
    seconds_at,
    share_crop,
    span_of_seconds,
    text_at,
    text_columns,
    value_at,
)

LICENCE = "CelebV-HQ agreement: non-commercial research only"


def celebv_hq_clips(meta: Path) -> Iterator[CorpusClip | CorpusProblem]:
    """Clips of celebvhq_info.json.

    Raises:
        ConfigError: unreadable, or without an object `clips`.
    """
    found = read_json_metadata(meta)
    clips = found.get("clips") if isinstance(found, dict) else None
    if not isinstance(clips, dict):
        got = ", ".join(map(str, found))[:200] or "none" if isinstance(found, dict) else type(found).__name__
        raise metadata_error(meta, "an object with 'clips'", got)
    mappings = found.get("meta_info")

    def clips_of(where: str, named: tuple[str, Any]) -> Iterator[CorpusClip]:
        name, row = named
        edges = (number_at(row, "bbox", edge) for edge in ("left", "top", "right", "bottom"))
        attributes = value_at(row, "attributes") or {}
        yield CorpusClip(
            where=where, name=name, clip_files=(name,), video_files=(text_at(row, "ytb_id"),),
            span=span_of_seconds(seconds_at(row, "duration", "start_sec"), seconds_at(row, "duration", "end_sec")),
            crop=share_crop(*edges),
            columns=text_columns(
                {
                    "label": value_at(attributes, "emotion", "labels"), "licence": LICENCE,
                    "actions": _names(mappings, "action_mapping", attributes, "action"),
                    "appearance": _names(mappings, "appearance_mapping", attributes, "appearance"),
                }
            ),
        )  # fmt: skip

    return read_clips(((f"{meta.name}, clip {name}", (name, row)) for name, row in clips.items()), clips_of)


def _names(mappings: Any, mapping: str, attributes: Any, key: str) -> str:
    """Names of the attributes that are set, comma-separated; empty where the file does not name them."""
    names = mappings.get(mapping) if isinstance(mappings, dict) else None
    flags = value_at(attributes, key)
    if not isinstance(names, list) or not isinstance(flags, list) or len(names) != len(flags):
        return ""
    return ",".join(str(name) for name, flag in zip(names, flags, strict=True) if flag == 1)
