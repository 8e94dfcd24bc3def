"""Contact sheets: a deterministic choice of candidates, each with its thumbnail, file name and one value.

Kept and rejected candidates are spread evenly over the set in stored order, so that no source fills a sheet. Borderline
candidates are those nearest to a limit on either side of it: review them before you move a limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from xsheet.curate.media.thumbnails import read_thumbnail
from xsheet.curate.report.applied_limits import AppliedLimit
from xsheet.curate.report.candidates import CandidateTable, Ints
from xsheet.curate.report.funnel import borderline_rows
from xsheet.curate.report.wording import format_value, measurement_title, reason_text
from xsheet.pages.clips import clip_link, file_name, source_paths
from xsheet.pages.images import jpeg_data_uri
from xsheet.schemas import tables
from xsheet.schemas.time import Span, seconds_from_us

KEPT_ENTRIES, REJECTED_ENTRIES, BORDERLINE_ENTRIES = 48, 16, 8
"""Pictures of one sheet: of all kept candidates, of one reason, of one side of one limit."""
MAX_PICTURE_BYTES = 9_000_000
"""Of all data URIs of a page; the whole page stays below 15 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetEntry:
    """One candidate on a sheet."""

    clip_id: str
    file_name: str  # of its source; empty where the source is unknown
    caption: str
    picture_uri: str | None  # data URI; None without a thumbnail
    clip_url: str | None  # None where the page lies outside of the set, or no clip was written
    is_kept: bool
    alt_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactSheet:
    """Some candidates that share a reason or lie on one side of a limit."""

    title: str
    note: str
    entries: tuple[SheetEntry, ...]
    total: int


class ContactSheets:
    """Builds the sheets of one page; the pictures of all sheets together keep to MAX_PICTURE_BYTES."""

    def __init__(self, set_folder: Path, candidates: CandidateTable, *, page: Path) -> None:
        self._set_folder = set_folder
        self._page = page
        self._candidates = candidates
        self._clips = tables.read_table(set_folder, tables.CLIPS, ["clip_id", "media_path"])
        self._source_paths = source_paths(set_folder, set(candidates.source_ids.dictionary.to_pylist()))
        self._bytes_left = MAX_PICTURE_BYTES

    def kept(self) -> ContactSheet:
        """Kept candidates."""
        rows = np.flatnonzero(self._candidates.kept)
        return self._sheet(
            "kept", "spread evenly over the set", rows[_evenly_spaced(len(rows), KEPT_ENTRIES)], total=len(rows)
        )

    def rejected(self, reason: str, limits: Sequence[AppliedLimit] = ()) -> ContactSheet:
        """Candidates rejected for one reason, those without any other reason first.

        Args:
            reason: as in the verdicts.
            limits: the limits behind the reason; the caption shows the value that failed one.
        """
        only, all_ = self._candidates.rows_failing(reason, only=True), self._candidates.rows_failing(reason)
        rows = only if len(only) >= REJECTED_ENTRIES else np.concatenate([only, np.setdiff1d(all_, only)])
        note = f"{len(only):,} of {len(all_):,} for this reason only"
        return self._sheet(
            reason_text(reason), note, rows[_evenly_spaced(len(rows), REJECTED_ENTRIES)], limits, total=len(all_)
        )

    def borderline(self, limit: AppliedLimit) -> tuple[ContactSheet, ContactSheet]:
        """The candidates nearest to a limit that pass it, and those that fail it."""
        passing, failing = borderline_rows(self._candidates, limit)
        title = f"{measurement_title(limit.rule.measure_path)} {limit.text}"
        return (
            self._sheet(title, "just kept", passing[:BORDERLINE_ENTRIES], [limit], total=len(passing)),
            self._sheet(title, "just rejected", failing[:BORDERLINE_ENTRIES], [limit], total=len(failing)),
        )

    def _sheet(
        self, title: str, note: str, rows: Ints, limits: Sequence[AppliedLimit] = (), *, total: int
    ) -> ContactSheet:
        return ContactSheet(
            title=title, note=note, entries=tuple(self._entry(int(row), limits) for row in rows), total=total
        )

    def _entry(self, row: int, limits: Sequence[AppliedLimit]) -> SheetEntry:
        candidates = self._candidates
        clip_id, kept = candidates.clip_ids[row].as_py(), bool(candidates.kept[row])
        start, end = (seconds_from_us(int(us[row])) for us in (candidates.start_us, candidates.end_us))
        path = self._source_paths.get(candidates.source_ids[row].as_py(), "")
        verdict = "kept" if kept else "rejected"
        return SheetEntry(
            clip_id=clip_id,
            file_name=file_name(path),
            caption=self._caption(row, limits) or f"{end - start:.1f} s",
            picture_uri=self._picture_uri(row),
            clip_url=self._clip_url(clip_id),
            is_kept=kept,
            alt_text=f"{path or 'unknown file'}, {start:.1f} to {end:.1f} s, {verdict}, {clip_id}",
        )

    def _caption(self, row: int, limits: Sequence[AppliedLimit]) -> str:
        """The value of the first limit that fails, else of the first limit with a value; empty without any."""
        values = [(limit, self._candidates.values[limit.rule.measure_path][row : row + 1]) for limit in limits]
        known = [(limit, value) for limit, value in values if not np.isnan(value[0])]
        known.sort(key=lambda pair: bool(pair[0].headroom(pair[1])[0] >= 0))
        return format_value(float(known[0][1][0]), known[0][0].rule.measure_path) if known else ""

    def _picture_uri(self, row: int) -> str | None:
        candidates = self._candidates
        span = Span(int(candidates.start_us[row]), int(candidates.end_us[row]))
        data = read_thumbnail(self._set_folder, candidates.source_ids[row].as_py(), span)
        if data is None:
            return None
        uri = jpeg_data_uri(data)
        if len(uri) > self._bytes_left:
            return None
        self._bytes_left -= len(uri)
        return uri

    def _clip_url(self, clip_id: str) -> str | None:
        row = pc.index(self._clips["clip_id"], clip_id).as_py()
        return None if row < 0 else clip_link(self._set_folder, self._clips["media_path"][row].as_py(), self._page)


def _evenly_spaced(count: int, limit: int) -> Ints:
    """At most `limit` indices below `count`, evenly spaced."""
    return np.arange(count) if count <= limit else np.arange(limit) * count // limit
