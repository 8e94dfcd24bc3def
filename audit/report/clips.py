"""The clips of the page: the worst with pictures, all others packed until somebody asks, and a table of them all."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xsheet.audit.pipeline import Audited
from xsheet.audit.report.details import PER_BLOCK, Detail, clips_of, details, packed
from xsheet.audit.report.filmstrips import Strip, data_uri, strips
from xsheet.audit.report.findings import Findings
from xsheet.audit.review.queue import Entry
from xsheet.curate.media.thumbnails import read_still
from xsheet.curate.report.wording import printable
from xsheet.runtime.executor import Execution
from xsheet.schemas.annotation import Scores
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.time import seconds_from_us

MAX_ROWS = 5_000
"""Of the table, the worst; the layer has the rest."""
MAX_DETAILS = 2_000
"""Clips whose details are drawn at all, some ten milliseconds each."""
MAX_PACKED_BYTES = 9_000_000
"""Of the packed clips, as they are spelled in the page; with pictures and rows it stays below 15 MB."""
MAX_STILL_BYTES = 3_000_000
"""Of the still pictures among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One clip as the page shows it."""

    place: int  # in the queue, 0 = the worst
    entry: Entry
    detail: Detail
    scores: Scores | None = None  # of the audit, by family
    strip: Strip | None = None
    still: str | None = None  # source of one picture, where there is no strip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPages:
    """All clips, ready to be put into the page."""

    worst: Sequence[str]
    blocks: Sequence[str]  # of details.PER_BLOCK pieces each, in the order of the rows behind the worst
    packed: int  # pieces in them
    rows: str  # JSON
    total: int

    @property
    def listed(self) -> int:
        """Rows of the table."""
        return min(self.total, MAX_ROWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of a set the page is about."""

    set_folder: Path
    layer: LayerRun
    beside: Mapping[str, LayerRun]
    findings: Findings
    scores: Mapping[str, Scores]  # of the audit, by annotation
    page: Path
    shown: int
    how: Execution


def judged_entries(entries: Sequence[Entry], audited: Audited, findings: Findings) -> list[Entry]:
    """The annotations with what one audit came to, in its order."""
    known, checks = {entry.annotation_id: entry for entry in entries}, findings.checks()
    return [
        replace(
            known[one.annotation_id],
            errors=one.errors,
            warnings=one.warnings,
            score=one.scores.overall,
            checks=checks.get(one.annotation_id, ()),
        )
        for one in audited.judged
    ]


def clip_pages(wanted: Wanted, entries: Sequence[Entry], *, render: Callable[[Card], str]) -> ClipPages:
    """The clips of a layer, given its annotations the worst first.

    Args:
        wanted: what the page is about.
        entries: all annotations, the worst first.
        render: a card as markup, every value in it escaped.
    """
    chosen = entries[:MAX_DETAILS]
    films = _strips(wanted, chosen[: wanted.shown])
    places = {entry.annotation_id: place for place, entry in enumerate(chosen)}
    stills, pieces = _Stills(wanted.set_folder), [""] * len(chosen)
    found = details(
        wanted.set_folder, wanted.layer, places, beside=wanted.beside, findings=wanted.findings, page=wanted.page
    )
    for detail in found:
        place = places[detail.annotation.annotation_id]
        strip = films.get(detail.annotation.clip_id)
        card = Card(
            place=place,
            entry=chosen[place],
            detail=detail,
            scores=wanted.scores.get(detail.annotation.annotation_id),
            strip=strip,
            still=None if strip is not None else stills(detail.annotation.clip_id),
        )
        pieces[place] = render(card)
    worst, others = pieces[: wanted.shown], pieces[wanted.shown :]
    blocks = _fitting(packed(others))
    return ClipPages(
        worst=worst,
        blocks=blocks,
        packed=min(len(others), PER_BLOCK * len(blocks)),
        rows=table_json(entries[:MAX_ROWS]),
        total=len(entries),
    )


def _strips(wanted: Wanted, entries: Sequence[Entry]) -> dict[str, Strip]:
    """Pictures of the worst clips; of one clip's several samples once."""
    clips = list(clips_of(wanted.set_folder, {entry.clip_id for entry in entries}))
    return strips(wanted.set_folder, clips, how=wanted.how)


class _Stills:
    """One small picture of each clip, until they take too much room."""

    def __init__(self, set_folder: Path) -> None:
        self._set_folder = set_folder
        self._left = MAX_STILL_BYTES

    def __call__(self, clip_id: str) -> str | None:
        jpeg = read_still(self._set_folder, clip_id)
        if jpeg is None or len(jpeg) > self._left:
            return None
        self._left -= len(jpeg)
        return data_uri(jpeg)


def _fitting(blocks: Iterable[str]) -> list[str]:
    left, kept = MAX_PACKED_BYTES, []
    for block in blocks:
        if len(block) > left:
            break
        left -= len(block)
        kept.append(block)
    return kept


def table_json(entries: Sequence[Entry]) -> str:
    """The table as JSON that ends no script: see ROW in page.js for its columns."""
    rows = [
        [
            printable(entry.clip_id), entry.score, entry.errors, entry.warnings, entry.phases,
            round(seconds_from_us(entry.duration_us), 2), entry.reply, list(entry.checks), list(entry.actions),
        ]
        for entry in entries
    ]  # fmt: skip
    return json.dumps(rows, separators=(",", ":")).replace("<", "\\u003c")
