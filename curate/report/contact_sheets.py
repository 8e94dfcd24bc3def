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

from xsheet.curate.media.thumbnails import read_still
from xsheet.curate.report.applied_limits import Gauge
from xsheet.curate.report.candidates import Candidates, Ints
from xsheet.curate.report.funnel import near_limit
from xsheet.curate.report.wording import title_of, with_unit, words
from xsheet.schemas import tables
from xsheet.schemas.time import seconds_from_us

KEPT, REJECTED, BORDERLINE = 48, 16, 8
"""Pictures of a sheet (of one reason, of one side of one limit)."""
MAX_BYTES = 9_000_000
"""Of all pictures of a page, as they are spelled in it; the page itself stays below 15 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One candidate on a sheet."""

    clip_id: str
    caption: str
    picture: str | None  # data URI; None where there is no still
    film: str | None  # link to the clip, where it can be reached from the page
    is_kept: bool
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Candidates that have something in common."""

    title: str
    note: str
    shown: tuple[Shown, ...]
    total: int


class Sheets:
    """Makes sheets of one set; it counts the bytes it hands out and shows no more pictures than a page can carry."""

    def __init__(self, set_folder: Path, candidates: Candidates, *, page: Path) -> None:
        self._set_folder = set_folder
        self._page = page
        self._candidates = candidates
        self._clips = tables.read_table(set_folder, tables.CLIPS, ["clip_id", "media_path"])
        self._bytes_left = MAX_BYTES

    def kept(self) -> Sheet:
        """What the set is made of."""
        rows = np.flatnonzero(self._candidates.kept)
        return self._sheet("kept", "spread over the set", rows[_evenly(len(rows), KEPT)], total=len(rows))

    def rejected(self, reason: str, judges: Sequence[Gauge] = ()) -> Sheet:
        """What one reason takes away: first those that nothing else stands against.

        Args:
            reason: as verdicts name it.
            judges: the limits that give this reason; the value that failed one stands beside its picture.
        """
        alone, all_ = self._candidates.failing(reason, alone=True), self._candidates.failing(reason)
        rows = alone if len(alone) >= REJECTED else np.concatenate([alone, np.setdiff1d(all_, alone)])
        note = f"{len(alone):,} of {len(all_):,} for this reason alone"
        return self._sheet(words(reason), note, rows[_evenly(len(rows), REJECTED)], judges, total=len(all_))

    def borderline(self, gauge: Gauge) -> tuple[Sheet, Sheet]:
        """The nearest to a limit on its good side, and on its bad side."""
        passing, failing = near_limit(self._candidates, gauge)
        title = f"{title_of(gauge.judged.measure)} {gauge.text}"
        return (
            self._sheet(title, "just kept", passing[:BORDERLINE], [gauge], total=len(passing)),
            self._sheet(title, "just lost", failing[:BORDERLINE], [gauge], total=len(failing)),
        )

    def _sheet(self, title: str, note: str, rows: Ints, judges: Sequence[Gauge] = (), *, total: int) -> Sheet:
        return Sheet(title=title, note=note, shown=tuple(self._show(int(row), judges) for row in rows), total=total)

    def _show(self, row: int, judges: Sequence[Gauge]) -> Shown:
        found = self._candidates
        clip_id, kept = found.clip_ids[row].as_py(), bool(found.kept[row])
        start, end = seconds_from_us(int(found.start_us[row])), seconds_from_us(int(found.end_us[row]))
        return Shown(
            clip_id=clip_id,
            caption=self._value(row, judges) or f"{end - start:.1f} s",
            picture=self._picture(clip_id),
            film=self._film(clip_id),
            is_kept=kept,
            says=f"{clip_id}, {start:.1f} to {end:.1f} s, {'kept' if kept else 'not kept'}",
        )

    def _value(self, row: int, judges: Sequence[Gauge]) -> str:
        """The value that one of some limits judged: the first that fails, else the first that was measured."""
        values = [(gauge, self._candidates.values[gauge.judged.measure][row : row + 1]) for gauge in judges]
        there = [(gauge, value) for gauge, value in values if not np.isnan(value[0])]
        there.sort(key=lambda pair: bool(pair[0].headroom(pair[1])[0] >= 0))
        return with_unit(float(there[0][1][0]), there[0][0].judged.measure) if there else ""

    def _picture(self, clip_id: str) -> str | None:
        data = read_still(self._set_folder, clip_id)
        if data is None:
            return None
        spelled = "data:image/jpeg;base64," + base64.b64encode(data).decode()
        if len(spelled) > self._bytes_left:
            return None
        self._bytes_left -= len(spelled)
        return spelled

    def _film(self, clip_id: str) -> str | None:
        """Link from a page inside the set to a clip; none from elsewhere, since a set may be moved without the page."""
        place = pc.index(self._clips["clip_id"], clip_id).as_py()
        folder = self._page.resolve().parent
        if place < 0 or not folder.is_relative_to(self._set_folder.resolve()):
            return None
        up = len(folder.relative_to(self._set_folder.resolve()).parts)
        # "./" keeps a path that looks like a scheme from being one.
        return (up * "../" or "./") + quote(self._clips["media_path"][place].as_py())


def _evenly(count: int, most: int) -> Ints:
    """At most `most` indices below `count`, evenly spaced."""
    return np.arange(count) if count <= most else np.arange(most) * count // most
