"""The clips of the audit report: cards of the worst clips, compressed cards of the others, and a table of all."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xsheet.audit.pipeline import AuditResult
from xsheet.audit.report.details import CLIPS_PER_BLOCK, ClipDetail, clip_details, pack_blocks, read_clips
from xsheet.audit.report.filmstrips import Filmstrip, render_filmstrips
from xsheet.audit.report.findings import LayerFindings
from xsheet.audit.review.queue import QueueEntry
from xsheet.curate.media.thumbnails import read_thumbnail
from xsheet.pages.clips import file_names
from xsheet.pages.environment import json_for_script
from xsheet.pages.images import jpeg_data_uri
from xsheet.pages.wording import printable
from xsheet.runtime.executor import Execution
from xsheet.schemas.annotation import Scores
from xsheet.schemas.clip import Clip
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.time import seconds_from_us

MAX_ROWS = 5_000
"""Rows of the table, the worst clips first; the layer has all."""
MAX_DETAILED_CLIPS = 2_000
"""Clips with a card, some ten milliseconds each."""
MAX_PACKED_BYTES = 9_000_000
"""Of the compressed cards; the whole page stays below 15 MB."""
MAX_THUMBNAIL_BYTES = 3_000_000
"""Of the thumbnails in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipCard:
    """One clip as a card shows it."""

    rank: int  # in the queue; 0 is the worst
    entry: QueueEntry
    detail: ClipDetail
    scores: Scores | None = None  # of the audit, by family of checks
    filmstrip: Filmstrip | None = None
    thumbnail: str | None = None  # data URI; only without a filmstrip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSection:
    """All clips as HTML and JSON."""

    worst_cards: Sequence[str]
    packed_blocks: Sequence[str]  # of CLIPS_PER_BLOCK cards, in the order of the table after worst_cards
    packed_count: int  # cards in packed_blocks
    rows_as_json: str
    total: int

    @property
    def listed_count(self) -> int:
        """Rows of the table."""
        return min(self.total, MAX_ROWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSelection:
    """The layer of a report, and what its cards show."""

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
    """The annotations with their counts and scores of one audit, in its order."""
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
    """Render the clips of a layer.

    Args:
        selection: the layer and what its cards show.
        entries: all annotations, the worst first.
        render: renders a card as HTML with every value escaped.
    """
    chosen = entries[:MAX_DETAILED_CLIPS]
    filmstrips = _render_filmstrips(selection, chosen[: selection.filmstrip_count])
    ranks = {entry.annotation_id: rank for rank, entry in enumerate(chosen)}
    thumbnails, cards = _ThumbnailBudget(selection.set_folder), [""] * len(chosen)
    details = clip_details(
        selection.set_folder,
        selection.layer,
        ranks,
        other_layers=selection.other_layers,
        findings=selection.findings,
        page=selection.page,
    )
    for detail in details:
        rank = ranks[detail.annotation.annotation_id]
        filmstrip = filmstrips.get(detail.annotation.clip_id)
        card = ClipCard(
            rank=rank,
            entry=chosen[rank],
            detail=detail,
            scores=selection.scores.get(detail.annotation.annotation_id),
            filmstrip=filmstrip,
            thumbnail=None if filmstrip is not None else thumbnails(detail.clip),
        )
        cards[rank] = render(card)
    worst, others = cards[: selection.filmstrip_count], cards[selection.filmstrip_count :]
    blocks = _blocks_within_limit(pack_blocks(others))
    return ClipSection(
        worst_cards=worst,
        packed_blocks=blocks,
        packed_count=min(len(others), CLIPS_PER_BLOCK * len(blocks)),
        rows_as_json=rows_as_json(entries[:MAX_ROWS], _file_names(selection, entries[:MAX_ROWS])),
        total=len(entries),
    )


def _render_filmstrips(selection: ClipSelection, entries: Sequence[QueueEntry]) -> dict[str, Filmstrip]:
    """Filmstrips of some clips; a clip with several samples is decoded once."""
    clips = list(read_clips(selection.set_folder, {entry.clip_id for entry in entries}))
    return render_filmstrips(selection.set_folder, clips, execution=selection.execution)


class _ThumbnailBudget:
    """Thumbnails of clips as data URIs, up to MAX_THUMBNAIL_BYTES in total."""

    def __init__(self, set_folder: Path) -> None:
        self._set_folder = set_folder
        self._bytes_left = MAX_THUMBNAIL_BYTES

    def __call__(self, clip: Clip | None) -> str | None:
        jpeg = None if clip is None else read_thumbnail(self._set_folder, clip.source_id, clip.span)
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


def _file_names(selection: ClipSelection, entries: Sequence[QueueEntry]) -> Mapping[str, str]:
    return file_names(selection.set_folder, {entry.clip_id for entry in entries})


def rows_as_json(entries: Sequence[QueueEntry], names: Mapping[str, str]) -> str:
    """The table as JSON without "<", so that no value ends the script; COLUMNS in page.js names the columns.

    Args:
        entries: the rows.
        names: file names by clip id.
    """
    rows = [
        [
            printable(entry.clip_id),
            printable(names.get(entry.clip_id, "")),
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
    return json_for_script(rows)
