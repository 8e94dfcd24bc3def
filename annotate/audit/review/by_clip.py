"""Rows of a table by clip. Only ids are in memory; rows are read when their clip is asked for."""

from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

from xsheet.schemas.columns import Record
from xsheet.schemas.tables import Table, from_arrow, read_file, read_slice

R = TypeVar("R", bound=Record)


class ByClip(Generic[R]):
    """The rows of some files of one table, by their clip_id."""

    def __init__(self, files: Iterable[Path], table: Table[R]) -> None:
        self._table = table
        self._places: dict[str, list[tuple[Path, int]]] = {}
        for path in files:
            for row, clip_id in enumerate(read_file(path, table, ["clip_id"])["clip_id"].to_pylist()):
                if clip_id is not None:
                    self._places.setdefault(clip_id, []).append((path, row))

    def get(self, clip_id: str) -> list[R]:
        """The rows of a clip, in stored order.

        Raises:
            ContractError: a row breaks the contract, or its file was changed meanwhile.
        """
        places = self._places.get(clip_id, ())
        return [
            one
            for path, row in places
            for one in from_arrow(read_slice(path, self._table, range(row, row + 1)), self._table)
        ]
