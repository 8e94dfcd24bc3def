"""Read the signals of a set clip by clip, one row group in memory and without validation.

An audit reads the signals of every clip. The writer has validated them; validating them again would cost more than all
checks of an annotation, so the records are filled directly from the columns.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from xsheet.schemas.clip import Signals
from xsheet.schemas.tables import SIGNALS, part_files, read_file, read_footer, read_slice

_SIGNAL_FIELDS = tuple(field.name for field in fields(Signals))


class SignalsReader:
    """Signals by clip id; caches one row group (50 clips), so read clips in the order of the table."""

    def __init__(self, set_folder: Path) -> None:
        self._row_locations: dict[str, tuple[Path, int]] = {}
        self._groups: dict[Path, list[range]] = {}
        for file in part_files(set_folder, SIGNALS):
            self._groups[file] = _row_groups(file)
            for row, clip_id in enumerate(read_file(file, SIGNALS, ["clip_id"])["clip_id"].to_pylist()):
                self._row_locations[clip_id] = file, row
        self._loaded_rows: tuple[Path, range] | None = None
        self._columns: dict[str, pa.Array] = {}

    def __call__(self, clip_id: str) -> Signals | None:
        """The signals of a clip; None if the set has none."""
        location = self._row_locations.get(clip_id)
        if location is None:
            return None
        file, row = location
        if self._loaded_rows is None or file != self._loaded_rows[0] or row not in self._loaded_rows[1]:
            rows = next(group for group in self._groups[file] if row in group)
            table = read_slice(file, SIGNALS, rows).combine_chunks()
            self._loaded_rows, self._columns = (
                (file, rows),
                {name: table[name].combine_chunks() for name in _SIGNAL_FIELDS},
            )
        return _signals(self._columns, row - self._loaded_rows[1].start)


def _row_groups(file: Path) -> list[range]:
    metadata = read_footer(file)
    groups, start = [], 0
    for k in range(metadata.num_row_groups):
        stop = start + metadata.row_group(k).num_rows
        groups.append(range(start, stop))
        start = stop
    return groups


def _signals(columns: dict[str, pa.Array], row: int) -> Signals:
    signals = object.__new__(Signals)
    for name, column in columns.items():
        object.__setattr__(signals, name, _value(column, row))
    return signals


def _value(column: pa.Array, row: int) -> Any:
    value = column[row]
    if not isinstance(value, pa.ListScalar):
        return value.as_py()
    series = value.values
    # Through numpy if no value is missing: ten times as fast.
    return tuple(series.to_pylist() if series.null_count else series.to_numpy().tolist())
