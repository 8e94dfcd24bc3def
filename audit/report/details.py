"""Details of single clips, and their compression into blocks of text."""

# pyarrow.compute creates its functions at import time, invisible to type checkers.
# pyright: reportAttributeAccessIssue=false

import base64
import gzip
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from xsheet.annotate.lookup import SignalsLookup
from xsheet.audit.report.axis import AxisInput, build_time_axis
from xsheet.audit.report.findings import LayerFindings
from xsheet.audit.views import load_clip_metadata
from xsheet.pages.clips import clip_link, file_names
from xsheet.pages.time_axis import TimeAxis
from xsheet.schemas.annotation import Annotation, Finding, Phase
from xsheet.schemas.clip import Clip
from xsheet.schemas.columns import Record
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.tables import ANNOTATIONS, CLIPS, Table, from_arrow, part_files, read_file

R = TypeVar("R", bound=Record)
CLIPS_PER_BLOCK = 20  # clips that a browser unpacks together
_BATCH_ROWS = 64  # signals of one clip take 150 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDetail:
    """One annotation with everything that its card shows."""

    annotation: Annotation
    file_name: str  # of the source; empty where it is unknown
    findings: Sequence[Finding]
    axis: TimeAxis
    clip: Clip | None  # None where the set does not have it
    video_link: str | None  # None where the page lies outside of the set


def clip_details(
    set_folder: Path,
    layer: LayerRun,
    annotation_ids: Collection[str],
    *,
    other_layers: Mapping[str, LayerRun],
    findings: LayerFindings,
    page: Path,
) -> Iterator[ClipDetail]:
    """Details of some annotations of a layer, in stored order, a few in memory at a time.

    Args:
        set_folder: the set.
        layer: the layer.
        annotation_ids: the annotations.
        other_layers: layers to draw beside it, by name.
        findings: findings about it.
        page: path of the page; cards link to the clips if it lies inside the set.

    Raises:
        ContractError: a file that this code does not read.
    """
    chosen = list(_rows(layer.files, ANNOTATIONS, "annotation_id", annotation_ids))
    clip_ids = {one.clip_id for one in chosen}
    clips = {clip.clip_id: clip for clip in read_clips(set_folder, clip_ids)}
    others = [(name, _phases_by_clip(other, clip_ids)) for name, other in other_layers.items()]
    found_by_id, names = findings.by_annotation(annotation_ids), file_names(set_folder, clip_ids)
    signals_of, metadata = SignalsLookup(set_folder), load_clip_metadata(set_folder)
    for annotation in chosen:
        clip, found = clips.get(annotation.clip_id), found_by_id.get(annotation.annotation_id, [])
        axis_input = AxisInput(
            duration_us=annotation.duration_us,
            phases=annotation.phases,
            other_layers=[(name, rows[annotation.clip_id]) for name, rows in others if annotation.clip_id in rows],
            findings=found,
            signals=signals_of(annotation.clip_id),
            cuts_us=() if clip is None else metadata[clip.clip_id].cuts_us,
        )
        yield ClipDetail(
            annotation=annotation,
            file_name=names.get(annotation.clip_id, ""),
            findings=found,
            axis=build_time_axis(axis_input),
            clip=clip,
            video_link=None if clip is None else clip_link(set_folder, clip.media_path, page),
        )


def read_clips(set_folder: Path, clip_ids: Collection[str]) -> Iterator[Clip]:
    """Some clips, in stored order."""
    return _rows(part_files(set_folder, CLIPS), CLIPS, "clip_id", clip_ids)


def layer_label(layer: LayerRun) -> str:
    """Layer name and producer."""
    return f"{layer.layer} · {layer.producer}"


def label_layers(layer: LayerRun, others: Sequence[LayerRun]) -> dict[str, LayerRun]:
    """Other layers by label; a label that occurs twice gets the run id."""
    found: dict[str, LayerRun] = {}
    for other in others:
        name = layer_label(other)
        found[name if name not in {layer_label(layer), *found} else f"{other.layer} · {other.run.run_id[:12]}"] = other
    return found


def pack_blocks(pieces: Sequence[str]) -> Iterator[str]:
    """Compress pieces of HTML into blocks of CLIPS_PER_BLOCK pieces; the result is deterministic."""
    for first in range(0, len(pieces), CLIPS_PER_BLOCK):
        block = json.dumps(pieces[first : first + CLIPS_PER_BLOCK], ensure_ascii=False).encode()
        yield base64.b64encode(gzip.compress(block, 9, mtime=0)).decode()


def _phases_by_clip(layer: LayerRun, clip_ids: Collection[str]) -> Mapping[str, Sequence[Phase]]:
    """Phases of another layer by clip id; of several samples the first."""
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
