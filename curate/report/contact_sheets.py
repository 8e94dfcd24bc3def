"""Contact sheets: which candidates to show, and the little that is said beside each. The choice is the same every time.

Kept and rejected candidates are spread evenly over the set in stored order, so that no source fills a sheet. Borderline
ones are those nearest to a limit on either side of it: the ones to look at before a limit is moved.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow.compute as pc

from xsheet.curate.media.thumbnails import read_thumbnail
from xsheet.curate.report.applied_limits import AppliedLimit
from xsheet.curate.report.candidates import CandidateTable, Ints
from xsheet.curate.report.funnel import borderline_rows
from xsheet.curate.report.wording import format_value, measurement_title, reason_text
from xsheet.schemas import tables
from xsheet.schemas.time import seconds_from_us

KEPT_ENTRIES, REJECTED_ENTRIES, BORDERLINE_ENTRIES = 48, 16, 8
"""Pictures of a sheet (of one reason, of one side of one limit)."""
MAX_PICTURE_BYTES = 9_000_000
"""Of all pictures of a page, as they are spelled in it; the page itself stays below 15 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetEntry:
    """One candidate on a sheet."""

    clip_id: str
    caption: str
    picture_uri: str | None  # data URI; None where there is no still
    clip_url: str | None  # link to the clip, where it can be reached from the page
    is_kept: bool
    alt_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactSheet:
    """CandidateTable that have something in common."""

    title: str
    note: str
    entries: tuple[SheetEntry, ...]
    total: int


class ContactSheets:
    """Makes sheets of one set; it counts the bytes it hands out and shows no more pictures than a page can carry."""

    def __init__(self, set_folder: Path, candidates: CandidateTable, *, page: Path) -> None:
        self._set_folder = set_folder
        self._page = page
        self._candidates = candidates
        self._clips = tables.read_table(set_folder, tables.CLIPS, ["clip_id", "media_path"])
        self._bytes_left = MAX_PICTURE_BYTES

    def kept(self) -> ContactSheet:
        """What the set is made of."""
        rows = np.flatnonzero(self._candidates.kept)
        return self._sheet(
            "kept", "spread over the set", rows[_evenly_spaced(len(rows), KEPT_ENTRIES)], total=len(rows)
        )

    def rejected(self, reason: str, limits: Sequence[AppliedLimit] = ()) -> ContactSheet:
        """What one reason takes away: first those that nothing else stands against.

        Args:
            reason: as verdicts name it.
            limits: the limits that give this reason; the value that failed one stands beside its picture.
        """
        alone, all_ = self._candidates.rows_failing(reason, only=True), self._candidates.rows_failing(reason)
        rows = alone if len(alone) >= REJECTED_ENTRIES else np.concatenate([alone, np.setdiff1d(all_, alone)])
        note = f"{len(alone):,} of {len(all_):,} for this reason alone"
        return self._sheet(
            reason_text(reason), note, rows[_evenly_spaced(len(rows), REJECTED_ENTRIES)], limits, total=len(all_)
        )

    def borderline(self, limit: AppliedLimit) -> tuple[ContactSheet, ContactSheet]:
        """The nearest to a limit on its good side, and on its bad side."""
        passing, failing = borderline_rows(self._candidates, limit)
        title = f"{measurement_title(limit.rule.measure_path)} {limit.text}"
        return (
            self._sheet(title, "just kept", passing[:BORDERLINE_ENTRIES], [limit], total=len(passing)),
            self._sheet(title, "just lost", failing[:BORDERLINE_ENTRIES], [limit], total=len(failing)),
        )

    def _sheet(
        self, title: str, note: str, rows: Ints, limits: Sequence[AppliedLimit] = (), *, total: int
    ) -> ContactSheet:
        return ContactSheet(
            title=title, note=note, entries=tuple(self._entry(int(row), limits) for row in rows), total=total
        )

    def _entry(self, row: int, limits: Sequence[AppliedLimit]) -> SheetEntry:
        found = self._candidates
        clip_id, kept = found.clip_ids[row].as_py(), bool(found.kept[row])
        start, end = seconds_from_us(int(found.start_us[row])), seconds_from_us(int(found.end_us[row]))
        return SheetEntry(
            clip_id=clip_id,
            caption=self._caption(row, limits) or f"{end - start:.1f} s",
            picture_uri=self._picture_uri(clip_id),
            clip_url=self._clip_url(clip_id),
            is_kept=kept,
            alt_text=f"{clip_id}, {start:.1f} to {end:.1f} s, {'kept' if kept else 'not kept'}",
        )

    def _caption(self, row: int, limits: Sequence[AppliedLimit]) -> str:
        """The value that one of some limits judged: the first that fails, else the first that was measured."""
        values = [(gauge, self._candidates.values[gauge.rule.measure_path][row : row + 1]) for gauge in limits]
        there = [(gauge, value) for gauge, value in values if not np.isnan(value[0])]
        there.sort(key=lambda pair: bool(pair[0].headroom(pair[1])[0] >= 0))
        return format_value(float(there[0][1][0]), there[0][0].rule.measure_path) if there else ""

    def _picture_uri(self, clip_id: str) -> str | None:
        data = read_thumbnail(self._set_folder, clip_id)
        if data is None:
            return None
        spelled = "data:image/jpeg;base64," + base64.b64encode(data).decode()
        if len(spelled) > self._bytes_left:
            return None
        self._bytes_left -= len(spelled)
        return spelled

    def _clip_url(self, clip_id: str) -> str | None:
        """Link from a page inside the set to a clip; none from elsewhere, since a set may be moved without the page."""
        place = pc.index(self._clips["clip_id"], clip_id).as_py()
        folder = self._page.resolve().parent
        if place < 0 or not folder.is_relative_to(self._set_folder.resolve()):
            return None
        up = len(folder.relative_to(self._set_folder.resolve()).parts)
        # "./" keeps a path that looks like a scheme from being one.
        return (up * "../" or "./") + quote(self._clips["media_path"][place].as_py())


def _evenly_spaced(count: int, limit: int) -> Ints:
    """At most `most` indices below `count`, evenly spaced."""
    return np.arange(count) if count <= limit else np.arange(limit) * count // limit
