"""Everything known about one candidate: its source, every measurement beside its limit, and its series."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xsheet.curate.filter.columns import measure_values
from xsheet.curate.filter.decide import rule_masks
from xsheet.curate.report.applied_limits import AppliedLimit, applied_limits, limits_of_verdicts
from xsheet.curate.report.candidates import MEASUREMENTS
from xsheet.pages.clips import file_name
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, Measures, Verdict
from xsheet.schemas.columns import Record, Series
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import FaceTrack, NearDuplicate, Shot, SourceVideo, Split, Timeline
from xsheet.schemas.tables import Table
from xsheet.schemas.time import CLIP_RATE, Span, frames_in

R = TypeVar("R", bound=Record)
_MAX_CLOSE_IDS = 200  # ids compared by difflib, some 20 µs each
_MAX_LISTED = 5  # candidates of a file in an error


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCheck:
    """One measurement and the limit that judges it."""

    measure_path: str
    value: float | None  # None: not measured
    limit: AppliedLimit | None
    passes: bool | None  # None: no limit judges it


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateDetails:
    """One candidate with its rows of all tables; None where the set has no such row."""

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
    """Look up a candidate.

    Args:
        set_folder: the set.
        name: its clip id, a prefix of it that no other has, or the file name or path of a source with one candidate.

    Raises:
        ConfigError: no such candidate, or several; the message names the nearest.
        ContractError: a table that this code does not read.
    """
    clip_id = _resolve_clip_id(set_folder, name)
    row = _find_row(set_folder, tables.MEASURES, "clip_id", clip_id)
    assert row is not None  # the id comes from this table
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
        of_path = [limit for limit in limits if limit.rule.measure_path == path]
        for limit in of_path:
            missing, failing = (bool(mask[0]) for mask in rule_masks(row, limit.rule, limit.value))
            if known is not None or missing:
                yield LimitCheck(measure_path=path, value=known, limit=limit, passes=not (missing or failing))
        if not of_path and known is not None:
            yield LimitCheck(measure_path=path, value=known, limit=None, passes=None)


def _candidate_series(measures: Measures, track: FaceTrack | None, timeline: Timeline | None) -> dict[str, Series]:
    frames = frames_in(measures.span, CLIP_RATE)
    series: dict[str, Series] = {}
    if track is not None:
        series["mouth opening (video)"] = _slice_series(track.mouth_open, frames, start_frame=track.start_frame)
        series["head turn"] = _slice_series(track.yaw_deg, frames, start_frame=track.start_frame)
    if timeline is not None:
        series["mouth opening (from audio)"] = _slice_series(timeline.mouth_open_from_audio, frames)
        series["voice"] = _slice_series(timeline.voice, frames)
        series["energy"] = _slice_series(timeline.energy_db, frames)
    return {name: values for name, values in series.items() if any(value is not None for value in values)}


def _slice_series(series: Series, frames: range, *, start_frame: int = 0) -> Series:
    """Values of some frames of the source; None outside of the series."""
    return tuple(series[k - start_frame] if 0 <= k - start_frame < len(series) else None for k in frames)


def _find_record(set_folder: Path, table: Table[R], column: str, value: str | None) -> R | None:
    row = None if value is None else _find_row(set_folder, table, column, value)
    return None if row is None else tables.from_arrow(row, table)[0]


def _find_row(set_folder: Path, table: Table[R], column: str, value: str) -> pa.Table | None:
    """The first row of a table with this value; only the part that holds it is read in full."""
    for path in tables.part_files(set_folder, table):
        place = pc.index(tables.read_file(path, table, [column])[column], value).as_py()
        if place >= 0:
            return tables.read_file(path, table).slice(place, 1)
    return None


def _resolve_clip_id(set_folder: Path, name: str) -> str:
    """The candidate with this id, with the only id that starts so, or the only one of the file with this name."""
    rows = tables.read_table(set_folder, tables.MEASURES, ["clip_id", "source_id", "start_us", "end_us"])
    ids = rows["clip_id"]
    matching = ids.filter(pc.starts_with(ids, name)).to_pylist() if name else []
    if name in matching or len(matching) == 1:
        return name if name in matching else str(matching[0])
    of_file = rows.filter(pc.is_in(rows["source_id"], value_set=_source_ids(set_folder, name)))
    if not matching and len(of_file) == 1:
        return str(of_file["clip_id"][0].as_py())
    if matching:
        got, hint = f"{name!r}, with which {len(matching):,} ids start", ", ".join(matching[:3])
    elif len(of_file):
        got, hint = f"{name!r}, a file with {len(of_file):,} candidates", _describe_candidates(of_file)
    else:
        got, hint = f"{name!r}, which matches none of {len(ids):,} candidates", nearest_id(ids.combine_chunks(), name)
    raise ConfigError(
        where=str(set_folder),
        expected="a candidate: its clip id, the start of it, or the name of its file",
        got=got,
        hint=f"did you mean {hint}?" if hint else "run `xsheet curate run` first: the set has no candidates",
    )


def _source_ids(set_folder: Path, name: str) -> pa.Array:
    """Sources whose path, file name or file name without extension is `name`."""
    rows = tables.read_table(set_folder, tables.SOURCES, ["source_id", "path"])
    chosen = [
        source_id
        for source_id, path in zip(rows["source_id"].to_pylist(), rows["path"].to_pylist(), strict=True)
        if name in (path, file_name(path), PurePosixPath(path).stem)
    ]
    return pa.array(chosen, pa.string())


def _describe_candidates(rows: pa.Table) -> str:
    """The first candidates of a file with their times, in the order of the file."""
    listed = [
        f"{row['clip_id']} {Span(row['start_us'], row['end_us'])}"
        for row in rows.sort_by("start_us").slice(0, _MAX_LISTED).to_pylist()
    ]
    return ", ".join([*listed, "…"] if len(rows) > _MAX_LISTED else listed)


def nearest_id(ids: pa.Array, name: str) -> str:
    """The id closest to a mistyped one; empty without ids."""
    if not len(ids):
        return ""
    # difflib over a million ids takes half a minute: equal letters in equal places preselect a few.
    fixed = np.asarray(ids.to_pylist(), "S")
    letters, width = fixed.view(np.uint8).reshape(len(ids), -1), fixed.itemsize
    typed = np.frombuffer(name.encode(errors="replace")[:width].ljust(width, b"\0"), np.uint8)
    # Unshifted, and shifted by one for a missing or an extra letter.
    same = [((letters == moved) & (moved != 0)).sum(axis=1) for moved in (typed, np.roll(typed, 1), np.roll(typed, -1))]
    score = same[0] + np.maximum(same[1], same[2])
    preselected = [ids[int(k)].as_py() for k in np.argsort(-score, kind="stable")[:_MAX_CLOSE_IDS]]
    return str(difflib.get_close_matches(name, preselected, n=1, cutoff=0.0)[0])
