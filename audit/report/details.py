"""Clips in detail: what a page says of each, drawn at once for the worst, packed small for all others."""

# pyarrow.compute makes its functions at import, where no checker sees them.
# pyright: reportAttributeAccessIssue=false

import base64
import gzip
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from xsheet.annotate.lookup import SignalsLookup
from xsheet.audit.report.axis import AxisInput, TimeAxis, build_time_axis
from xsheet.audit.report.findings import LayerFindings
from xsheet.audit.views import load_clip_metadata
from xsheet.schemas.annotation import Annotation, Finding, Phase
from xsheet.schemas.clip import Clip
from xsheet.schemas.columns import Record
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.tables import ANNOTATIONS, CLIPS, Table, from_arrow, part_files, read_file

R = TypeVar("R", bound=Record)
CLIPS_PER_BLOCK = 20  # clips that are unpacked together
_BATCH_ROWS = 64  # rows as records: signals of one clip take 150 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDetail:
    """One annotation with everything that is told of it."""

    annotation: Annotation
    findings: Sequence[Finding]
    axis: TimeAxis
    video_link: str | None  # link to the clip, where it can be reached from the page


def clip_details(
    set_folder: Path,
    layer: LayerRun,
    annotation_ids: Collection[str],
    *,
    other_layers: Mapping[str, LayerRun],
    findings: LayerFindings,
    page: Path,
) -> Iterator[ClipDetail]:
    """Some annotations of a layer in detail, in stored order, a few in memory at a time.

    Args:
        set_folder: the set.
        layer: the layer.
        annotation_ids: those wanted.
        other_layers: other layers by name, to stand beside it.
        findings: what was found about it.
        page: where the page will lie; inside the set its clips can be reached.

    Raises:
        ContractError: a file that this code does not read.
    """
    chosen = list(_rows(layer.files, ANNOTATIONS, "annotation_id", annotation_ids))
    clip_ids = {one.clip_id for one in chosen}
    clips = {clip.clip_id: clip for clip in read_clips(set_folder, clip_ids)}
    others = [(name, _phases_by_clip(other, clip_ids)) for name, other in other_layers.items()]
    about, signals_of, facts = (
        findings.by_annotation(annotation_ids),
        SignalsLookup(set_folder),
        load_clip_metadata(set_folder),
    )
    for annotation in chosen:
        clip, found = clips.get(annotation.clip_id), about.get(annotation.annotation_id, [])
        drawn = AxisInput(
            duration_us=annotation.duration_us,
            phases=annotation.phases,
            other_layers=[(name, rows[annotation.clip_id]) for name, rows in others if annotation.clip_id in rows],
            findings=found,
            signals=signals_of(annotation.clip_id),
            cuts_us=() if clip is None else facts[clip.clip_id].cuts_us,
        )
        film = None if clip is None else _video_link(set_folder, clip, page)
        yield ClipDetail(annotation=annotation, findings=found, axis=build_time_axis(drawn), video_link=film)


def read_clips(set_folder: Path, clip_ids: Collection[str]) -> Iterator[Clip]:
    """Some clips, in stored order."""
    return _rows(part_files(set_folder, CLIPS), CLIPS, "clip_id", clip_ids)


def layer_label(layer: LayerRun) -> str:
    """A layer as people call it: its word, and who made it."""
    return f"{layer.layer} · {layer.producer}"


def label_layers(layer: LayerRun, others: Sequence[LayerRun]) -> dict[str, LayerRun]:
    """Other layers by name; those that are called like another one tell their run too."""
    found: dict[str, LayerRun] = {}
    for other in others:
        name = layer_label(other)
        found[name if name not in {layer_label(layer), *found} else f"{other.layer} · {other.run.run_id[:12]}"] = other
    return found


def pack_blocks(pieces: Sequence[str]) -> Iterator[str]:
    """Pieces of a page as blocks of text, CLIPS_PER_BLOCK of them in each; the same pieces give the same blocks."""
    for first in range(0, len(pieces), CLIPS_PER_BLOCK):
        told = json.dumps(pieces[first : first + CLIPS_PER_BLOCK], ensure_ascii=False).encode()
        yield base64.b64encode(gzip.compress(told, 9, mtime=0)).decode()


def _phases_by_clip(layer: LayerRun, clip_ids: Collection[str]) -> Mapping[str, Sequence[Phase]]:
    """What another layer says of some clips, its first sample where it has several."""
    found: dict[str, Sequence[Phase]] = {}
    for one in _rows(layer.files, ANNOTATIONS, "clip_id", clip_ids):
        if not one.sample_index:
            found.setdefault(one.clip_id, one.phases)
    return found


def _rows(files: Iterable[Path], table: Table[R], column: str, values: Collection[str]) -> Iterator[R]:
    wanted = pa.array(sorted(values), pa.string())
    for file in files:
        rows = read_file(file, table)
        some = rows.filter(pc.is_in(rows[column], value_set=wanted))
        for first in range(0, len(some), _BATCH_ROWS):
            yield from from_arrow(some.slice(first, _BATCH_ROWS), table)


def _video_link(set_folder: Path, clip: Clip, page: Path) -> str | None:
    """From a page inside the set to a clip; none from elsewhere, since a set may be moved without the page."""
    root, folder = set_folder.resolve(), page.resolve().parent
    if not folder.is_relative_to(root):
        return None
    up = len(folder.relative_to(root).parts)
    # "./" keeps a path that looks like a scheme from being one.
    return (up * "../" or "./") + quote(clip.media_path)
