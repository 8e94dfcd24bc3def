"""Tables of a set from the stored results of a run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from xsheet.curate.dedup.near_duplicates import near_duplicates
from xsheet.curate.tasks.cpu_usage import CpuUsage
from xsheet.curate.tasks.probe import with_measured_fields, with_outcome
from xsheet.runtime.executor import Item, Outcome, RunResults
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, Measures, PartMotion, Signals
from xsheet.schemas.source import FaceTrack, Fingerprint, Shot, SourceVideo, Timeline


def with_analysis(sources: Sequence[SourceVideo], items: Sequence[Item], analysed: RunResults) -> list[SourceVideo]:
    """The sources with what their analysis found, or why it did not."""
    outcomes = {item.payload.source.source_id: outcome for item, outcome in _items_with_outcomes(items, analysed)}
    measured = {row.source_id: row for row in analysed.rows(SourceVideo)}
    return [_with_result(source, outcomes.get(source.source_id), measured.get(source.source_id)) for source in sources]


def write_analysis_tables(set_folder: Path, analysed: RunResults) -> None:
    """Write the tables that come of the decode alone."""
    tables.write_table(set_folder, tables.TIMELINES, analysed.rows(Timeline))
    tables.write_table(set_folder, tables.FINGERPRINTS, analysed.rows(Fingerprint))
    duplicates = near_duplicates(tables.read_table(set_folder, tables.FINGERPRINTS))
    tables.write_table(set_folder, tables.NEAR_DUPLICATES, duplicates)
    tables.write_table(set_folder, tables.TRACKS, analysed.rows(FaceTrack))


def write_segment_tables(
    set_folder: Path,
    sources: Sequence[SourceVideo],
    items: Sequence[Item],
    segmented: RunResults,
    *,
    motion: dict[str, tuple[PartMotion, ...]] | None = None,
) -> list[SourceVideo]:
    """Write sources, shots and candidates; return the sources with their final status.

    Args:
        set_folder: the set.
        sources: all of them, with the result of the decode.
        items: of the segment task, in the order of the tables.
        segmented: its results.
        motion: known motion of clips, by id.
    """
    ended = {item.payload.source.source_id: outcome for item, outcome in _items_with_outcomes(items, segmented)}
    failed = {source_id: outcome for source_id, outcome in ended.items() if outcome.status != "ok"}
    rows = [with_outcome(row, failed[row.source_id]) if row.source_id in failed else row for row in sources]
    keys = [item.key for item in items]
    tables.write_table(set_folder, tables.SOURCES, rows)
    tables.write_table(set_folder, tables.SHOTS, (row for key in keys for row in segmented.rows_of(key, Shot)))
    tables.write_table(set_folder, tables.MEASURES, _measures(items, segmented, motion or {}))
    return rows


def write_clip_tables(set_folder: Path, items: Sequence[Item], segmented: RunResults, exported: RunResults) -> None:
    """Write the tables of exported clips, and add their motion to `measures`."""
    tables.write_table(set_folder, tables.CLIPS, exported.rows(Clip))
    tables.write_table(set_folder, tables.SIGNALS, exported.rows(Signals))
    motion = {row.clip_id: row.motion for row in exported.rows(Measures)}
    tables.write_table(set_folder, tables.MEASURES, _measures(items, segmented, motion))


def cpu_seconds_by_analyser(rows: Iterable[CpuUsage]) -> dict[str, float]:
    """Sum CPU seconds per analyser into manifest entries; the prefix `cpu.` sets them apart from wall-clock steps."""
    total: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        total[f"cpu.{row.analyser}"] += row.cpu_s
    return dict(total)


def _measures(
    items: Sequence[Item], segmented: RunResults, motion: dict[str, tuple[PartMotion, ...]]
) -> Iterator[Measures]:
    for item in items:
        for row in segmented.rows_of(item.key, Measures):
            yield replace(row, motion=motion[row.clip_id]) if row.clip_id in motion else row


def _items_with_outcomes(items: Sequence[Item], results: RunResults) -> Iterator[tuple[Item, Outcome]]:
    by_key = {item.key: item for item in items}
    return ((by_key[outcome.key], outcome) for outcome in results.outcomes())


def _with_result(source: SourceVideo, outcome: Outcome | None, measured: SourceVideo | None) -> SourceVideo:
    if outcome is not None and outcome.status != "ok":
        return with_outcome(source, outcome)
    # A byte-identical duplicate was not decoded itself.
    if source.duplicate_of or measured is None or outcome is None:
        return source
    return replace(with_measured_fields(source, measured), analysis_key=outcome.key)
