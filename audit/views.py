"""Views of a layer: each annotation with its clip, signals, samples and parents, read batch by batch."""

# pyarrow.compute creates its functions at import time, which type checkers do not see.
# pyright: reportAttributeAccessIssue=false

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from xsheet.annotate.motion.annotator import MotionSettings
from xsheet.audit.agreement.consistency import SampleConsistency, sample_consistency
from xsheet.audit.agreement.phase_arrays import phase_arrays
from xsheet.audit.checks.base import AnnotationView, ClipMetadata, with_clip_evidence
from xsheet.audit.checks.evidence import ClipEvidence
from xsheet.audit.signal_rows import SignalsReader
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.layers import LayerRun, list_layers
from xsheet.schemas.tables import (
    ANNOTATIONS,
    CLIPS,
    MEASURES,
    SHOTS,
    from_arrow,
    read_file,
    read_footer,
    read_slice,
    read_table,
)
from xsheet.schemas.time import CLIP_RATE, frame_start_us

_BATCH_ROWS = 2_500  # half a row group of schemas.tables; about 30 MB of records


class LayerViews:
    """Builds the check input of every annotation of a layer."""

    def __init__(self, set_folder: Path, layer: LayerRun, *, rules: MotionSettings | None = None) -> None:
        """`rules`: motion rules that give the checks their limits; None is the default."""
        self._layer, self._rules = layer, rules
        self._clips = load_clip_metadata(set_folder)
        self._missing_parents = find_missing_parents(set_folder, layer)
        self._signals = SignalsReader(set_folder)
        self._cached_evidence: tuple[str, ClipEvidence | None] = ("", None)

    def __iter__(self) -> Iterator[AnnotationView]:
        for rows in annotation_batches(self._layer):
            support, sample_f1 = _sample_consistency(rows)
            for k, row in enumerate(rows):
                yield self.view(row, support=support.get(k, {}), sample_f1=sample_f1.get(row.clip_id))

    def view(
        self, annotation: Annotation, *, support: Mapping[str, float] | None = None, sample_f1: float | None = None
    ) -> AnnotationView:
        """One annotation with everything the set knows about its clip."""
        evidence = self._clip_evidence(annotation.clip_id)
        view = AnnotationView(
            annotation=annotation,
            run=self._layer.run,
            clip=self._clips.get(annotation.clip_id),
            missing_parents=self._missing_parents.get(annotation.annotation_id, ()),
            support_by_phase=support or {},
            sample_f1=sample_f1,
        )
        return view if evidence is None else with_clip_evidence(view, evidence)

    def _clip_evidence(self, clip_id: str) -> ClipEvidence | None:
        if self._cached_evidence[0] != clip_id:
            signals = self._signals(clip_id)
            self._cached_evidence = clip_id, None if signals is None else ClipEvidence(signals, limits=self._rules)
        return self._cached_evidence[1]


def annotation_batches(layer: LayerRun) -> Iterator[list[Annotation]]:
    """Annotations of a layer in batches; the samples of a clip, which are stored together, share a batch."""
    pending: list[Annotation] = []
    for rows in _row_batches(layer):
        pending += rows
        if pending and pending[0].sample_index is not None:
            last = pending[-1].clip_id
            cut = next((k for k in range(len(pending) - 1, -1, -1) if pending[k].clip_id != last), -1) + 1
            if cut:
                yield pending[:cut]
            pending = pending[cut:]
        else:
            yield pending
            pending = []
    if pending:
        yield pending


def _row_batches(layer: LayerRun) -> Iterator[list[Annotation]]:
    for file in layer.files:
        count: int = read_footer(file).num_rows
        for first in range(0, count, _BATCH_ROWS):
            batch = read_slice(file, ANNOTATIONS, range(first, min(first + _BATCH_ROWS, count)))
            yield from_arrow(batch, ANNOTATIONS)


def _sample_consistency(rows: Sequence[Annotation]) -> tuple[dict[int, dict[str, float]], dict[str, float]]:
    """Support by row and phase id, and mean F1 by clip id, for clips with several samples."""
    if len(rows) < 2 or rows[0].sample_index is None or len({row.clip_id for row in rows}) == len(rows):
        return {}, {}
    usable = [k for k, row in enumerate(rows) if row.status == "ok"]
    consistency: SampleConsistency = sample_consistency(phase_arrays(rows[k] for k in usable))
    sample_counts = dict(zip(consistency.clip_ids.tolist(), consistency.sample_counts.tolist(), strict=True))
    # PhaseArrays are sorted by annotation, track and start: the same order maps the shares back to phase ids.
    support: dict[int, dict[str, float]] = defaultdict(dict)
    shares = iter(consistency.support.tolist())
    for k in usable:
        phases = sorted(rows[k].phases, key=lambda p: (vocab.TRACKS.index(p.track), p.start_us))
        shared = {phase.phase_id: share for phase, share in zip(phases, shares, strict=False)}
        if sample_counts[rows[k].clip_id] > 1:
            support[k] = shared
    f1_by_clip = zip(consistency.clip_ids.tolist(), consistency.f1.tolist(), strict=True)
    return support, {clip: f1 for clip, f1 in f1_by_clip if sample_counts[clip] > 1}


def load_clip_metadata(set_folder: Path) -> dict[str, ClipMetadata]:
    """Duration, media hash, cuts and camera motion by clip id."""
    clips = read_table(
        set_folder, CLIPS, ["clip_id", "source_id", "start_us", "end_us", "frames", "media_sha256"]
    ).to_pydict()
    boundaries = _shot_boundaries(set_folder)
    measures = read_table(set_folder, MEASURES, ["clip_id", "picture"]).combine_chunks()
    camera = dict(
        zip(
            measures["clip_id"].to_pylist(),
            pc.struct_field(measures["picture"], "camera_motion").to_pylist() if len(measures) else (),
            strict=True,
        )
    )
    return {
        clip_id: ClipMetadata(
            duration_us=frame_start_us(frames, CLIP_RATE),
            media_sha256=sha256,
            cuts_us=tuple(us - start for us in boundaries.get(source, ()) if start < us < end),
            camera_motion=camera.get(clip_id),
        )
        for clip_id, source, start, end, frames, sha256 in zip(*clips.values(), strict=True)
    }


def _shot_boundaries(set_folder: Path) -> dict[str, list[int]]:
    """Start and end times of shots by source id, µs in the source."""
    shots = read_table(set_folder, SHOTS, ["source_id", "start_us", "end_us"]).to_pydict()
    boundaries: dict[str, set[int]] = defaultdict(set)
    for source, start, end in zip(shots["source_id"], shots["start_us"], shots["end_us"], strict=True):
        boundaries[source].update((start, end))
    return {source: sorted(times) for source, times in boundaries.items()}


def find_missing_parents(set_folder: Path, layer: LayerRun) -> dict[str, tuple[str, ...]]:
    """Parent ids, by annotation, that no layer it may derive from contains; empty for most sets."""
    place = vocab.LAYERS.index(layer.layer)
    # A human layer may derive from another one; only the normalised layer derives from raw responses.
    earlier = [
        other
        for other in list_layers(set_folder)
        if vocab.LAYERS.index(other.layer) <= place and str(other) != str(layer)
    ]
    files = list(
        chain.from_iterable(other.files for other in earlier if layer.layer == "normalised" or other.layer != "raw")
    )
    known = pa.chunked_array(
        [chunk for file in files for chunk in read_file(file, ANNOTATIONS, ["annotation_id"])["annotation_id"].chunks],
        pa.string(),
    )
    missing: dict[str, tuple[str, ...]] = {}
    for file in layer.files:
        rows = read_file(file, ANNOTATIONS, ["annotation_id", "parent_ids"]).combine_chunks()
        named = rows["parent_ids"].combine_chunks()
        is_lost = pc.invert(pc.is_in(named.flatten(), value_set=known))
        owners, parents = pc.list_parent_indices(named).filter(is_lost), named.flatten().filter(is_lost)
        for owner, parent in zip(owners.to_pylist(), parents.to_pylist(), strict=True):
            annotation_id = rows["annotation_id"][owner].as_py()
            missing[annotation_id] = (*missing.get(annotation_id, ()), parent)
    return missing
