"""The clips of the page: the worst with pictures, all others packed until somebody asks, and a table of them all."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xsheet.audit.pipeline import AuditResult
from xsheet.audit.report.details import CLIPS_PER_BLOCK, ClipDetail, clip_details, pack_blocks, read_clips
from xsheet.audit.report.filmstrips import Filmstrip, jpeg_data_uri, render_filmstrips
from xsheet.audit.report.findings import LayerFindings
from xsheet.audit.review.queue import QueueEntry
from xsheet.curate.media.thumbnails import read_thumbnail
from xsheet.curate.report.wording import printable
from xsheet.runtime.executor import Execution
from xsheet.schemas.annotation import Scores
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.time import seconds_from_us

MAX_ROWS = 5_000
"""Of the table, the worst; the layer has the rest."""
MAX_DETAILED_CLIPS = 2_000
"""Clips whose details are drawn at all, some ten milliseconds each."""
MAX_PACKED_BYTES = 9_000_000
"""Of the packed clips, as they are spelled in the page; with pictures and rows it stays below 15 MB."""
MAX_THUMBNAIL_BYTES = 3_000_000
"""Of the still pictures among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipCard:
    """One clip as the page shows it."""

    rank: int  # in the queue, 0 = the worst
    entry: QueueEntry
    detail: ClipDetail
    scores: Scores | None = None  # of the audit, by family
    filmstrip: Filmstrip | None = None
    thumbnail: str | None = None  # source of one picture, where there is no strip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSection:
    """All clips, ready to be put into the page."""

    worst_cards: Sequence[str]
    packed_blocks: Sequence[str]  # of details.CLIPS_PER_BLOCK pieces each, in the order of the rows behind the worst
    packed_count: int  # pieces in them
    rows_as_json: str  # JSON
    total: int

    @property
    def listed_count(self) -> int:
        """Rows of the table."""
        return min(self.total, MAX_ROWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSelection:
    """What of a set the page is about."""

    set_folder: Path
    layer: LayerRun
    other_layers: Mapping[str, LayerRun]
    findings: LayerFindings
    scores: Mapping[str, Scores]  # of the audit, by annotation
    page: Path
    filmstrip_count: int
    execution: Execution


def apply_audit_scores(
    entries: Sequence[QueueEntry], audited: AuditResult, findings: LayerFindings
) -> list[QueueEntry]:
    """The annotations with what one audit came to, in its order."""
    known, checks = {entry.annotation_id: entry for entry in entries}, findings.checks_by_annotation()
    return [
        replace(
            known[one.annotation_id],
            errors=one.errors,
            warnings=one.warnings,
            score=one.scores.overall,
            checks=checks.get(one.annotation_id, ()),
        )
        for one in audited.annotations
    ]


def build_clip_section(
    selection: ClipSelection, entries: Sequence[QueueEntry], *, render: Callable[[ClipCard], str]
) -> ClipSection:
    """The clips of a layer, given its annotations the worst first.

    Args:
        selection: what the page is about.
        entries: all annotations, the worst first.
        render: a card as markup, every value in it escaped.
    """
    chosen = entries[:MAX_DETAILED_CLIPS]
    films = _render_filmstrips(selection, chosen[: selection.filmstrip_count])
    places = {entry.annotation_id: place for place, entry in enumerate(chosen)}
    stills, pieces = _ThumbnailBudget(selection.set_folder), [""] * len(chosen)
    found = clip_details(
        selection.set_folder,
        selection.layer,
        places,
        other_layers=selection.other_layers,
        findings=selection.findings,
        page=selection.page,
    )
    for detail in found:
        place = places[detail.annotation.annotation_id]
        strip = films.get(detail.annotation.clip_id)
        card = ClipCard(
            rank=place,
            entry=chosen[place],
            detail=detail,
            scores=selection.scores.get(detail.annotation.annotation_id),
            filmstrip=strip,
            thumbnail=None if strip is not None else stills(detail.annotation.clip_id),
        )
        pieces[place] = render(card)
    worst, others = pieces[: selection.filmstrip_count], pieces[selection.filmstrip_count :]
    blocks = _blocks_within_limit(pack_blocks(others))
    return ClipSection(
        worst_cards=worst,
        packed_blocks=blocks,
        packed_count=min(len(others), CLIPS_PER_BLOCK * len(blocks)),
        rows_as_json=rows_as_json(entries[:MAX_ROWS]),
        total=len(entries),
    )


def _render_filmstrips(wanted: ClipSelection, entries: Sequence[QueueEntry]) -> dict[str, Filmstrip]:
    """Pictures of the worst clips; of one clip's several samples once."""
    clips = list(read_clips(wanted.set_folder, {entry.clip_id for entry in entries}))
    return render_filmstrips(wanted.set_folder, clips, execution=wanted.execution)


class _ThumbnailBudget:
    """One small picture of each clip, until they take too much room."""

    def __init__(self, set_folder: Path) -> None:
        self._set_folder = set_folder
        self._bytes_left = MAX_THUMBNAIL_BYTES

    def __call__(self, clip_id: str) -> str | None:
        jpeg = read_thumbnail(self._set_folder, clip_id)
        if jpeg is None or len(jpeg) > self._bytes_left:
            return None
        self._bytes_left -= len(jpeg)
        return jpeg_data_uri(jpeg)


def _blocks_within_limit(blocks: Iterable[str]) -> list[str]:
    left, kept = MAX_PACKED_BYTES, []
    for block in blocks:
        if len(block) > left:
            break
        left -= len(block)
        kept.append(block)
    return kept


def rows_as_json(entries: Sequence[QueueEntry]) -> str:
    """The table as JSON that ends no script: see ROW in page.js for its columns."""
    rows = [
        [
            printable(entry.clip_id),
            entry.score,
            entry.errors,
            entry.warnings,
            entry.phases,
            round(seconds_from_us(entry.duration_us), 2),
            entry.response_status,
            list(entry.checks),
            list(entry.actions),
        ]
        for entry in entries
    ]
    return json.dumps(rows, separators=(",", ":")).replace("<", "\\u003c")
