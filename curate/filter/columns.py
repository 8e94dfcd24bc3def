"""Measures as arrays: one value per candidate from rows of the table `measures`."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute creates its functions at import, invisible to type checkers.

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xsheet.schemas.time import US_PER_S

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

MOTION_PARTS = {"hands": ("hand_left", "hand_right"), "head": ("head",)}


def measure_values(measures: pa.Table, measure_path: str) -> Numbers:
    """One measure of every candidate; NaN where not measured.

    Args:
        measures: rows of the table, with the columns that the path needs.
        measure_path: 'clip.seconds', 'face.<field>', 'picture.<field>', 'sound.<field>', 'sync.<scorer>.<field>' (after
            the offset correction, if any; 'abs_offset_frames' is |offset|), or 'motion.<hands|head>.<field>'.
    """
    match measure_path.split("."):
        case ["clip", "seconds"]:
            return _to_numbers(pc.subtract(measures["end_us"], measures["start_us"])) / US_PER_S
        case ["sync", scorer, name]:
            if name == "abs_offset_frames":
                return np.abs(_sync_values(measures, scorer, "offset_frames"))
            return _sync_values(measures, scorer, name)
        case ["motion", group, name]:
            return _motion_values(measures, MOTION_PARTS[group], name)
        case [section, name]:
            return _to_numbers(pc.struct_field(measures[section], name))
    raise ValueError(f"expected the path of a measure like 'face.height_px', got {measure_path!r}")


def _sync_values(measures: pa.Table, scorer: str, name: str) -> Numbers:
    """Of one scorer, the first or the second one; NaN where it did not score."""
    values = np.where(_scored_by(measures, "sync", scorer), _first_sync_values(measures, name), np.nan)
    if measures["sync_second"].null_count == len(measures):
        return values
    second = _to_numbers(pc.struct_field(measures["sync_second"], name))
    return np.where(_scored_by(measures, "sync_second", scorer), second, values)


def _first_sync_values(measures: pa.Table, name: str) -> Numbers:
    """Of the first scorer, after the offset correction where there was one."""
    corrected = to_mask(measures["sync_corrected"].is_valid())
    original, rescored = (_to_numbers(pc.struct_field(measures[column], name)) for column in ("sync", "sync_corrected"))
    return np.where(corrected, rescored, original)


def _motion_values(measures: pa.Table, parts: tuple[str, ...], name: str) -> Numbers:
    lists = measures["motion"].combine_chunks()
    rows, entries = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False), pc.list_flatten(lists)
    in_group = to_mask(pc.is_in(pc.struct_field(entries, "part"), value_set=pa.array(parts)))
    best = np.full(len(measures), np.nan)
    np.fmax.at(best, rows[in_group], _to_numbers(pc.struct_field(entries, name))[in_group])
    return best


def has_section(measures: pa.Table, section: str) -> Mask:
    """Candidates with any measure of a section of the limits; for sync, with a measurable offset."""
    if section == "clip":
        return np.ones(len(measures), dtype=bool)
    if section == "motion":
        return to_mask(pc.greater(pc.list_value_length(measures["motion"]), 0))
    if section == "sync":
        return ~np.isnan(_first_sync_values(measures, "offset_frames"))
    return to_mask(measures[section].is_valid())


def has_scorer(measures: pa.Table, scorer: str) -> Mask:
    """Candidates whose first or second sync scorer has a name that begins with `scorer`."""
    return _scored_by(measures, "sync", scorer) | _scored_by(measures, "sync_second", scorer)


def _scored_by(measures: pa.Table, column: str, scorer: str) -> Mask:
    return to_mask(pc.starts_with(pc.struct_field(measures[column], "scorer"), scorer))


def equal_mask(column: pa.ChunkedArray, value: str) -> Mask:
    """Rows equal to a value."""
    return to_mask(pc.equal(column, value))


def to_mask(column: pa.ChunkedArray) -> Mask:
    """Convert a boolean column to an array; null becomes False."""
    filled: Mask = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return filled


def _to_numbers(column: pa.ChunkedArray) -> Numbers:
    numbers: Numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers
