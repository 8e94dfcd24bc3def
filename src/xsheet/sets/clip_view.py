"""One row per clip for SQL conditions: the clip, its source, split, measures and manifest columns.

    clip_id, source_id, path, start_s, end_s, duration_s, frames, width, height, has_audio, split, speaker_role
    sync_confidence, face_height_px, picture_luma_mean, sound_snr_db, ...      measures, by section
    speaker, licence, consent, ...                                            columns of the manifest, as text
    phases, actions                                                           of a layer: number, list of classes

DuckDB runs in memory on these rows alone: it can neither read nor write a file, whatever the condition says.
"""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import find_layer
from xsheet.schemas.time import seconds_from_us

_SECTIONS = ("sync", "face", "picture", "sound")


def clip_rows(set_folder: Path, *, layer: str | None = None) -> pa.Table:
    """The view as an Arrow table, in the order of the clips.

    Raises:
        ConfigError: no such layer.
    """
    sources = {source.source_id: source for source in tables.iter_records(set_folder, tables.SOURCES)}
    splits = {row.clip_id: row.split for row in tables.iter_records(set_folder, tables.SPLITS)}
    measures = {row["clip_id"]: row for row in _measures(set_folder)}
    actions = _actions(set_folder, layer) if layer else {}
    rows: list[dict[str, Any]] = []
    for clip in tables.iter_records(set_folder, tables.CLIPS):
        source = sources.get(clip.source_id)
        row: dict[str, Any] = {} if source is None else dict(source.columns_at(clip.start_us))
        row |= {
            "clip_id": clip.clip_id, "source_id": clip.source_id, "path": source and source.path,
            "start_s": seconds_from_us(clip.start_us), "end_s": seconds_from_us(clip.end_us),
            "duration_s": seconds_from_us(clip.duration_us), "frames": clip.frames, "width": clip.width,
            "height": clip.height, "has_audio": clip.samples > 0, "split": splits.get(clip.clip_id),
        }  # fmt: skip
        row |= measures.get(clip.clip_id, {})
        if layer:
            row |= {"phases": len(actions.get(clip.clip_id, ())), "actions": actions.get(clip.clip_id, [])}
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _measures(set_folder: Path) -> list[dict[str, Any]]:
    columns = ["clip_id", "speaker", *_SECTIONS]
    found = []
    for row in tables.read_table(set_folder, tables.MEASURES, columns).to_pylist():
        flat = {"clip_id": row["clip_id"], "speaker_role": row["speaker"]}
        for section in _SECTIONS:
            flat |= {f"{section}_{name}": value for name, value in (row[section] or {}).items()}
        found.append(flat)
    return found


def _actions(set_folder: Path, layer: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in find_layer(set_folder, layer).read():
        found.setdefault(row.clip_id, [phase.action for phase in row.phases])
    return found


def select_clips(rows: pa.Table, where: str) -> list[str]:
    """Ids of the clips that meet a SQL condition, in the order of the rows.

    Raises:
        ConfigError: not a condition over these columns.
    """
    with duckdb.connect(":memory:") as database:
        database.register("clips", rows)
        database.execute("CREATE TABLE clip AS SELECT row_number() OVER () AS row_number, * FROM clips")
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        try:
            described = database.execute(f"DESCRIBE SELECT ({where}\n) FROM clip").fetchall()
            if (kinds := [column[1] for column in described]) != ["BOOLEAN"]:
                raise duckdb.Error(f"a value of type {', '.join(kinds)}")  # a number would count as true
            found = database.execute(f"SELECT clip_id FROM clip WHERE ({where}\n) ORDER BY row_number").fetchall()
        except duckdb.Error as error:
            raise ConfigError(
                where=f"--where {where!r}", expected="a SQL condition over the columns of clips",
                got=" ".join(str(error).split())[:300], hint=f"columns: {', '.join(sorted(rows.column_names))}",
            ) from error  # fmt: skip
    return [clip_id for (clip_id,) in found]
