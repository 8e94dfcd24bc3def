"""Rows of a table by an id. Only ids are in memory; rows are read when they are asked for."""

from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

from xsheet.schemas.columns import Record
from xsheet.schemas.tables import Table, from_arrow, read_file, read_slice

R = TypeVar("R", bound=Record)


class RowIndex(Generic[R]):
    """The rows of some files of one table, by one of their ids."""

    def __init__(self, files: Iterable[Path], table: Table[R], *, key: str = "clip_id") -> None:
        self._table = table
        self._row_locations: dict[str, list[tuple[Path, int]]] = {}
        for path in files:
            for row, one in enumerate(read_file(path, table, [key])[key].to_pylist()):
                if one is not None:
                    self._row_locations.setdefault(one, []).append((path, row))

    def get_all(self, one: str) -> list[R]:
        """The rows of an id, in stored order.

        Raises:
            ContractError: a row breaks the contract, or its file was changed meanwhile.
        """
        slices = [read_slice(path, self._table, range(row, row + 1)) for path, row in self._row_locations.get(one, ())]
        return [record for rows in slices for record in from_arrow(rows, self._table)]

    def get_first(self, one: str) -> R | None:
        """The first row of an id, if there is any; raises as `all`."""
        return next(iter(self.get_all(one)), None)
