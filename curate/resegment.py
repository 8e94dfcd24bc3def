"""Compute the candidates of a set again, from the stored results of its decodes, and report what changed.

Nothing is decoded and no clip is written. Clips whose candidate is gone, or whose sound would be shifted otherwise,
leave the tables; `curate run` with the same settings writes the missing ones, and finds the files of earlier ones.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute creates its functions at import, invisible to type checkers.

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xsheet.curate.filter.decide import DecisionSummary, decide_set
from xsheet.curate.items import segment_items
from xsheet.curate.pipeline import RunContext, StepTimer, task_versions
from xsheet.curate.result_tables import cpu_seconds_by_analyser, write_segment_tables
from xsheet.curate.settings import CurateSettings
from xsheet.curate.tasks.cpu_usage import CpuUsage
from xsheet.curate.tasks.segment import SegmentTask
from xsheet.runtime.executor import run_task
from xsheet.runtime.lock import write_lock
from xsheet.schemas import tables
from xsheet.schemas.clip import PartMotion
from xsheet.schemas.errors import ContractError
from xsheet.schemas.sets import build_manifest
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us

_MIN_OVERLAP = 0.5  # of the shorter one: below it a candidate is another one, not a moved one


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentChanges:
    """What differs from the candidates before. Moved = another span of one face, half of the shorter one in common."""

    sources: int  # made again
    shots_added: int
    shots_removed: int
    candidates_added: int
    candidates_removed: int
    candidates_moved: int
    candidates_rescored: int  # the same span with other measures
    candidates_unchanged: int
    clips_removed: int  # from the tables; their files stay until `xsheet set check --clean`
    by_source: Mapping[str, int]  # changed candidates by path, most first
    decision: DecisionSummary

    @property
    def counts(self) -> dict[str, int]:
        """Counts for the manifest."""
        counts = {name: value for name, value in asdict(self).items() if isinstance(value, int)}
        return counts | {"candidates": self.decision.all.clips, "kept": self.decision.kept.clips}


def resegment(set_folder: Path, settings: CurateSettings, context: RunContext) -> SegmentChanges:
    """Replace shots, candidates and verdicts of an analysed set.

    Raises:
        ContractError: no source of the set has stored results.
        RunError: stored results are missing, or lack what the sync scorer needs; another process writes to the set.
    """
    with write_lock(set_folder):
        return _resegment(set_folder, settings, context)


def _resegment(set_folder: Path, settings: CurateSettings, context: RunContext) -> SegmentChanges:
    started, clock = datetime.now(UTC), StepTimer()
    sources = [_without_failure(source) for source in tables.iter_records(set_folder, tables.SOURCES)]
    items = segment_items(sources, settings.analysis.segment, set_folder=set_folder)
    if not items:
        raise ContractError(
            where=str(set_folder), expected="sources with stored results of a decode", got="none",
            hint="run `xsheet curate run` over their files",
        )  # fmt: skip
    shots, candidates = (_read_without_motion(set_folder, table) for table in (tables.SHOTS, tables.MEASURES))
    with clock("segment"):
        task = SegmentTask(settings.analysis.segment)
        segmented = run_task(task, items, **context.step_arguments("segment"))
        write_segment_tables(set_folder, sources, items, segmented, motion=_read_motion(set_folder))
    new_shots, new = (_read_without_motion(set_folder, table) for table in (tables.SHOTS, tables.MEASURES))
    clips_removed = _drop_stale_clips(set_folder, new)
    with clock("decide"):
        decision = decide_set(set_folder, settings.limits)
    changes = SegmentChanges(
        sources=len(items),
        shots_added=_count_missing(new_shots["shot_id"], shots["shot_id"]),
        shots_removed=_count_missing(shots["shot_id"], new_shots["shot_id"]),
        clips_removed=clips_removed,
        decision=decision,
        **_candidate_changes(candidates, new, {source.source_id: source.path for source in sources}),
    )
    manifest = build_manifest(
        "curate segment", arguments={"jobs": context.execution.jobs}, settings=settings, distributions=("xsheet",),
        started=started, counts=changes.counts,
        seconds=clock.seconds | cpu_seconds_by_analyser(segmented.new_rows(CpuUsage)),
    )  # fmt: skip
    manifest.model_copy(update={"versions": manifest.versions | _own_version()}).write(set_folder)
    return changes


def _own_version() -> dict[str, str]:
    name = f"xsheet task {SegmentTask.name}"
    return {name: task_versions()[name]}


def _without_failure(source: SourceVideo) -> SourceVideo:
    """A source that only its candidates failed for gets another try."""
    if source.stage != SegmentTask.name:
        return source
    return replace(source, status="ok", stage=None, reason=None, message=None)


def _read_without_motion(set_folder: Path, table: tables.Table[Any]) -> pa.Table:
    """Motion is measured on clips, not on candidates."""
    return tables.read_table(set_folder, table, [name for name in tables.arrow_schema(table).names if name != "motion"])


def _read_motion(set_folder: Path) -> dict[str, tuple[PartMotion, ...]]:
    rows = tables.read_table(set_folder, tables.MEASURES, ["clip_id", "motion"])
    rows = rows.filter(pc.greater(pc.list_value_length(rows["motion"]), 0))
    return {row["clip_id"]: tuple(PartMotion(**part) for part in row["motion"]) for row in rows.to_pylist()}


def _drop_stale_clips(set_folder: Path, candidates: pa.Table) -> int:
    """Remove clips, with their signals, that no candidate describes any more; returns their number."""
    offsets = pc.if_else(
        candidates["sync_corrected"].is_valid(), pc.struct_field(candidates["sync"], "offset_frames"), 0
    )
    shifts_us = {
        clip_id: frame_start_us(-(offset or 0), CLIP_RATE)
        for clip_id, offset in zip(candidates["clip_id"].to_pylist(), offsets.to_pylist(), strict=True)
    }
    clips = tables.read_table(set_folder, tables.CLIPS, ["clip_id", "audio_shift_us"]).to_pylist()
    stale = [clip["clip_id"] for clip in clips if shifts_us.get(clip["clip_id"]) != clip["audio_shift_us"]]
    if stale:
        for table in (tables.CLIPS, tables.SIGNALS, tables.WORDS):
            if not tables.part_files(set_folder, table):
                continue
            tables.write_arrow(set_folder, table, _parts_without(set_folder, table, pa.array(stale, pa.string())))
    return len(stale)


def _parts_without(set_folder: Path, table: tables.Table[Any], clip_ids: pa.Array) -> Iterator[pa.Table]:
    for path in tables.part_files(set_folder, table):
        rows = tables.read_file(path, table)
        yield rows.filter(pc.invert(pc.is_in(rows["clip_id"], value_set=clip_ids)))


def _candidate_changes(old: pa.Table, new: pa.Table, paths: Mapping[str, str]) -> dict[str, Any]:
    """Counts of SegmentChanges, by comparing candidates by id."""
    is_kept = pc.is_in(new["clip_id"], value_set=old["clip_id"].combine_chunks())
    same = new.filter(is_kept)
    before = old.take(pc.index_in(same["clip_id"], value_set=old["clip_id"].combine_chunks()))
    rescored = same.filter(_differs(before, same))
    added = new.filter(pc.invert(is_kept))
    removed = old.filter(pc.invert(pc.is_in(old["clip_id"], value_set=new["clip_id"].combine_chunks())))
    moved = _moved_by_source(removed, added)
    by_source = _per_source(added) + _per_source(removed) + _per_source(rescored)
    by_source.subtract(moved)  # a moved one is among the added and among the removed ones
    ranked = sorted(by_source.items(), key=lambda entry: (-entry[1], paths[entry[0]]))
    return {
        "candidates_added": len(added) - moved.total(),
        "candidates_removed": len(removed) - moved.total(),
        "candidates_moved": moved.total(),
        "candidates_rescored": len(rescored),
        "candidates_unchanged": len(same) - len(rescored),
        "by_source": {paths[source_id]: count for source_id, count in ranked if count},
    }


def _differs(a: pa.Table, b: pa.Table) -> pa.ChunkedArray:
    """Rows of two tables of equal length that differ in any value."""
    a, b = _flatten(a), _flatten(b)
    differs = pa.chunked_array([pa.repeat(False, len(a))])
    for name in a.column_names:
        unequal = pc.fill_null(pc.not_equal(a[name], b[name]), False)
        differs = pc.or_(pc.or_(differs, unequal), pc.xor(a[name].is_null(), b[name].is_null()))
    return differs


def _flatten(rows: pa.Table) -> pa.Table:
    while any(pa.types.is_struct(column.type) for column in rows.columns):
        rows = rows.flatten()
    return rows


def _moved_by_source(removed: pa.Table, added: pa.Table) -> Counter[str]:
    """Pairs of a removed and an added candidate of one face that overlap, per source."""
    free: defaultdict[tuple[str, str | None], list[Span]] = defaultdict(list)
    columns = ["source_id", "track_id", "start_us", "end_us"]
    for row in added.select(columns).to_pylist():
        free[row["source_id"], row["track_id"]].append(Span(row["start_us"], row["end_us"]))
    moved: Counter[str] = Counter()
    for row in removed.select(columns).to_pylist():
        spans, span = free[row["source_id"], row["track_id"]], Span(row["start_us"], row["end_us"])
        nearest = max(spans, key=lambda other: _overlap(span, other), default=None)
        if nearest is not None and _overlap(span, nearest) >= _MIN_OVERLAP:
            spans.remove(nearest)
            moved[row["source_id"]] += 1
    return moved


def _overlap(a: Span, b: Span) -> float:
    common = min(a.end_us, b.end_us) - max(a.start_us, b.start_us)
    return common / min(a.end_us - a.start_us, b.end_us - b.start_us)


def _per_source(rows: pa.Table) -> Counter[str]:
    return Counter(rows["source_id"].to_pylist())


def _count_missing(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> int:
    """How many ids are not among the others."""
    return int(pc.sum(pc.invert(pc.is_in(ids, value_set=others.combine_chunks()))).as_py() or 0)
