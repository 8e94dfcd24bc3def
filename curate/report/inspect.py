"""Everything known about one candidate: where it comes from, every measurement beside its limit, and its series."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xsheet.curate.filter.columns import measure_values
from xsheet.curate.filter.decide import rule_masks
from xsheet.curate.report.applied_limits import AppliedLimit, applied_limits, limits_of_verdicts
from xsheet.curate.report.candidates import MEASUREMENTS
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, Measures, Verdict
from xsheet.schemas.columns import Record, Series
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import FaceTrack, NearDuplicate, Shot, SourceVideo, Split, Timeline
from xsheet.schemas.tables import Table
from xsheet.schemas.time import CLIP_RATE, frames_in

R = TypeVar("R", bound=Record)
_MAX_CLOSE_IDS = 200  # ids that are compared letter by letter; a comparison takes some 20 µs


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCheck:
    """One measurement, beside the limit that judges it where there is one."""

    measure_path: str
    value: float | None  # None where it was not measured
    limit: AppliedLimit | None
    passes: bool | None  # None where nothing judges it


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateDetails:
    """One candidate with all that belongs to it; None where the set does not have it."""

    measures: Measures
    verdict: Verdict | None
    source: SourceVideo | None
    shot: Shot | None
    track: FaceTrack | None
    clip: Clip | None
    split: Split | None
    near_duplicates: tuple[NearDuplicate, ...]  # of its source, with others
    checks: tuple[LimitCheck, ...]
    series: dict[str, Series]  # over the candidate, a value per frame at 25 fps


def inspect_candidate(set_folder: Path, name: str) -> CandidateDetails:
    """Look a candidate up.

    Args:
        set_folder: the set.
        name: its clip_id, or a beginning of it that no other has.

    Raises:
        ConfigError: no such candidate (the nearest is named), or several that begin so.
        ContractError: a table that this code does not read.
    """
    clip_id = _resolve_clip_id(set_folder, name)
    row = _find_row(set_folder, tables.MEASURES, "clip_id", clip_id)
    assert row is not None  # _resolve took the id from this table
    (measures,) = tables.from_arrow(row, tables.MEASURES)
    track = _find_record(set_folder, tables.TRACKS, "track_id", measures.track_id)
    timeline = _find_record(set_folder, tables.TIMELINES, "source_id", measures.source_id)
    return CandidateDetails(
        measures=measures,
        verdict=_find_record(set_folder, tables.VERDICTS, "clip_id", clip_id),
        source=_find_record(set_folder, tables.SOURCES, "source_id", measures.source_id),
        shot=_find_record(set_folder, tables.SHOTS, "shot_id", measures.shot_id),
        track=track,
        clip=_find_record(set_folder, tables.CLIPS, "clip_id", clip_id),
        split=_find_record(set_folder, tables.SPLITS, "clip_id", clip_id),
        near_duplicates=tuple(
            row
            for row in tables.iter_records(set_folder, tables.NEAR_DUPLICATES)
            if measures.source_id in (row.source_id, row.other_id)
        ),
        checks=tuple(_checks(row, applied_limits(limits_of_verdicts(set_folder)))),
        series=_candidate_series(measures, track, timeline),
    )


def _checks(row: pa.Table, limits: Sequence[AppliedLimit]) -> Iterator[LimitCheck]:
    for path in MEASUREMENTS:
        value = float(measure_values(row, path)[0])
        known = None if np.isnan(value) else value
        mine = [gauge for gauge in limits if gauge.rule.measure_path == path]
        for gauge in mine:
            missing, failing = (bool(against[0]) for against in rule_masks(row, gauge.rule, gauge.value))
            if known is not None or missing:
                yield LimitCheck(measure_path=path, value=known, limit=gauge, passes=not (missing or failing))
        if not mine and known is not None:
            yield LimitCheck(measure_path=path, value=known, limit=None, passes=None)


def _candidate_series(measures: Measures, track: FaceTrack | None, timeline: Timeline | None) -> dict[str, Series]:
    frames = frames_in(measures.span, CLIP_RATE)
    found: dict[str, Series] = {}
    if track is not None:
        found["mouth seen"] = _slice_series(track.mouth_open, frames, start_frame=track.start_frame)
        found["head turn"] = _slice_series(track.yaw_deg, frames, start_frame=track.start_frame)
    if timeline is not None:
        found["mouth heard"] = _slice_series(timeline.mouth_open_from_audio, frames)
        found["voice"] = _slice_series(timeline.voice, frames)
        found["energy"] = _slice_series(timeline.energy_db, frames)
    return {name: series for name, series in found.items() if any(value is not None for value in series)}


def _slice_series(series: Series, frames: range, *, start_frame: int = 0) -> Series:
    """The values of some frames of the source; None where the series does not reach."""
    return tuple(series[k - start_frame] if 0 <= k - start_frame < len(series) else None for k in frames)


# ---- finding rows


def _find_record(set_folder: Path, table: Table[R], column: str, value: str | None) -> R | None:
    row = None if value is None else _find_row(set_folder, table, column, value)
    return None if row is None else tables.from_arrow(row, table)[0]


def _find_row(set_folder: Path, table: Table[R], column: str, value: str) -> pa.Table | None:
    """The first row of a table that has the value: its ids are read first, then only the part that holds it."""
    for path in tables.part_files(set_folder, table):
        place = pc.index(tables.read_file(path, table, [column])[column], value).as_py()
        if place >= 0:
            return tables.read_file(path, table).slice(place, 1)
    return None


def _resolve_clip_id(set_folder: Path, name: str) -> str:
    ids = tables.read_table(set_folder, tables.MEASURES, ["clip_id"])["clip_id"]
    begins = ids.filter(pc.starts_with(ids, name)) if name else ids.slice(0, 0)
    if name in begins.to_pylist() or len(begins) == 1:
        return name if len(begins) != 1 else str(begins[0].as_py())
    near = ", ".join(begins.slice(0, 3).to_pylist()) if len(begins) else nearest_id(ids.combine_chunks(), name)
    raise ConfigError(
        where=str(set_folder),
        expected="the id of a candidate, or a beginning that only one has",
        got=f"{name!r}, with which {len(begins):,} candidates begin",
        hint=f"did you mean {near}?" if near else "measure something first: the set has no candidates",
    )


def nearest_id(ids: pa.Array, name: str) -> str:
    """The id most like a mistyped one; empty when there are no ids."""
    if not len(ids):
        return ""
    # A million comparisons take half a minute: letters in the same place choose the few.
    fixed = np.asarray(ids.to_pylist(), "S")
    letters, width = fixed.view(np.uint8).reshape(len(ids), -1), fixed.itemsize
    asked = np.frombuffer(name.encode(errors="replace")[:width].ljust(width, b"\0"), np.uint8)
    # As it stands, and moved by one for a letter too many or too few.
    same = [((letters == moved) & (moved != 0)).sum(axis=1) for moved in (asked, np.roll(asked, 1), np.roll(asked, -1))]
    score = same[0] + np.maximum(same[1], same[2])
    few = [ids[int(k)].as_py() for k in np.argsort(-score, kind="stable")[:_MAX_CLOSE_IDS]]
    return str(difflib.get_close_matches(name, few, n=1, cutoff=0.0)[0])
