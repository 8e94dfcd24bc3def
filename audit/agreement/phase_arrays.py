"""Phases of a layer as numpy columns for the metrics: about fifty bytes per phase instead of a record."""

# pyarrow.compute creates its functions at import time, which type checkers do not see.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.errors import ContractError
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.tables import ANNOTATIONS, read_file

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TRACK_COUNT = len(vocab.TRACKS)
ACTION_COUNT = len(vocab.ACTIONS)
_COLUMNS = ("clip_id", "sample_index", "status", "duration_us", "phases")


@dataclass(frozen=True, slots=True, eq=False)
class PhaseArrays:
    """Phases of A annotations as N rows, by annotation, track and start; those of one track never overlap.

    `track` and `action` are indices in vocab.TRACKS and vocab.ACTIONS.
    """

    clip_ids: NDArray[np.str_]  # (A,)
    sample_index: Ints  # (A,) which of K samples; 0 where the layer has none
    duration_us: Ints  # (A,)
    annotation_index: Ints  # (N,) annotation, ascending
    track: Ints  # (N,)
    action: Ints  # (N,)
    start_us: Ints  # (N,)
    end_us: Ints  # (N,)
    confidence: Floats  # (N,) NaN where none is stated

    def __len__(self) -> int:
        return len(self.annotation_index)

    @property
    def annotation_count(self) -> int:
        """Number of annotations, those without phases included."""
        return len(self.clip_ids)

    def take(self, annotations: Ints) -> "PhaseArrays":
        """These annotations, in this order; indices may repeat."""
        rows, of = self.phase_rows(annotations)
        return PhaseArrays(
            clip_ids=self.clip_ids[annotations],
            sample_index=self.sample_index[annotations],
            duration_us=self.duration_us[annotations],
            annotation_index=of,
            **self._phase_columns(rows),
        )

    def phase_rows(self, annotations: Ints) -> tuple[Ints, Ints]:
        """(M,) phases of these annotations, one after the other, and (M,) which of the annotations each is of."""
        first = np.searchsorted(self.annotation_index, annotations, "left")
        count = np.searchsorted(self.annotation_index, annotations, "right") - first
        return concatenated_ranges(first, count), np.repeat(np.arange(len(annotations)), count)

    def _phase_columns(self, rows: Ints) -> "_PhaseColumns":
        return {
            "track": self.track[rows],
            "action": self.action[rows],
            "start_us": self.start_us[rows],
            "end_us": self.end_us[rows],
            "confidence": self.confidence[rows],
        }

    def sort_phases(self) -> "PhaseArrays":
        """The same, with its phases in the order that every function here relies on."""
        order = np.lexsort((self.start_us, self.track, self.annotation_index))
        return PhaseArrays(
            clip_ids=self.clip_ids,
            sample_index=self.sample_index,
            duration_us=self.duration_us,
            annotation_index=self.annotation_index[order],
            **self._phase_columns(order),
        )


class _PhaseColumns(TypedDict):
    track: Ints
    action: Ints
    start_us: Ints
    end_us: Ints
    confidence: Floats


def phase_arrays(annotations: Iterable[Annotation]) -> PhaseArrays:
    """Annotations as columns, without those whose status is not ok."""
    rows = [one for one in annotations if one.status == "ok"]
    phases = [(of, p) for of, one in enumerate(rows) for p in one.phases]
    return PhaseArrays(
        clip_ids=np.array([one.clip_id for one in rows], dtype=np.str_),
        sample_index=np.array([one.sample_index or 0 for one in rows], dtype=np.int64),
        duration_us=np.array([one.duration_us for one in rows], dtype=np.int64),
        annotation_index=np.array([of for of, _ in phases], dtype=np.int64),
        track=np.array([vocab.TRACKS.index(p.track) for _, p in phases], dtype=np.int64),
        action=np.array([vocab.ACTIONS.index(p.action) for _, p in phases], dtype=np.int64),
        start_us=np.array([p.start_us for _, p in phases], dtype=np.int64),
        end_us=np.array([p.end_us for _, p in phases], dtype=np.int64),
        confidence=np.array([np.nan if p.confidence is None else p.confidence for _, p in phases], dtype=np.float64),
    ).sort_phases()


def layer_phase_arrays(layer: LayerRun) -> Iterator[PhaseArrays]:
    """Columns of a layer, one file at a time, without making its records (20 times as fast).

    Raises:
        ContractError: a file of another version, a word that the vocabulary does not have, or phases that no record
            would hold.
    """
    for file in layer.files:
        rows = read_file(file, ANNOTATIONS, _COLUMNS)
        yield _from_arrow(rows.filter(pc.field("status") == "ok").combine_chunks(), location=str(file))


def align_by_clip(a: Iterable[PhaseArrays], b: Iterable[PhaseArrays]) -> Iterator[tuple[PhaseArrays, PhaseArrays]]:
    """Annotations of the clips that both have, in blocks whose rows go together; the first block is empty.

    Flat in memory when both come in about the same order of clips, and right in any order.
    """
    left, right = phase_arrays(()), phase_arrays(())
    yield left, right
    for new_left, new_right in zip_longest(a, b, fillvalue=phase_arrays(())):
        left, right = concatenate(left, new_left), concatenate(right, new_right)
        _, at_left, at_right = np.intersect1d(left.clip_ids, right.clip_ids, return_indices=True)
        yield left.take(at_left), right.take(at_right)
        left = left.take(np.delete(np.arange(left.annotation_count), at_left))
        right = right.take(np.delete(np.arange(right.annotation_count), at_right))


def keep_first_samples(units: PhaseArrays) -> PhaseArrays:
    """Keep the first sample of each clip; consistency.py compares the samples."""
    return units if not units.sample_index.any() else units.take(np.flatnonzero(units.sample_index == 0))


def concatenate(a: PhaseArrays, b: PhaseArrays) -> PhaseArrays:
    """All of a, then all of b."""
    return PhaseArrays(
        clip_ids=np.concatenate([a.clip_ids, b.clip_ids]),
        sample_index=np.concatenate([a.sample_index, b.sample_index]),
        duration_us=np.concatenate([a.duration_us, b.duration_us]),
        annotation_index=np.concatenate([a.annotation_index, b.annotation_index + a.annotation_count]),
        track=np.concatenate([a.track, b.track]),
        action=np.concatenate([a.action, b.action]),
        start_us=np.concatenate([a.start_us, b.start_us]),
        end_us=np.concatenate([a.end_us, b.end_us]),
        confidence=np.concatenate([a.confidence, b.confidence]),
    )


def concatenated_ranges(first: Ints, lengths: Ints) -> Ints:
    """first[0], first[0] + 1, ... count[0] times, then the same for the next."""
    ends = np.cumsum(lengths)
    return np.asarray(np.repeat(first - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0))


def timeline_offsets(units: PhaseArrays, horizon_us: int) -> Ints:
    """(N,) where the clock of each phase's track begins when all tracks of all clips lie on one line of time.

    Raises:
        ContractError: a clip so long that the line leaves 60 bits.
    """
    if horizon_us * TRACK_COUNT * max(units.annotation_count, 1) >= 2**60:
        raise ContractError(
            where="phases", expected="clips of hours at most", got=f"{horizon_us} µs", hint="cut the source into clips"
        )
    return (units.annotation_index * TRACK_COUNT + units.track) * horizon_us


def horizon_us(*layers: PhaseArrays) -> int:
    """A time after the end of every clip and phase."""
    return 1 + max(
        (int(column.max(initial=0)) for one in layers for column in (one.end_us, one.duration_us)), default=0
    )


def _from_arrow(rows: pa.Table, *, location: str) -> PhaseArrays:
    phases = rows["phases"].combine_chunks()
    inside = phases.flatten()
    units = PhaseArrays(
        clip_ids=np.array(rows["clip_id"].to_pylist(), dtype=np.str_),
        sample_index=rows["sample_index"].fill_null(0).to_numpy().astype(np.int64),
        duration_us=rows["duration_us"].to_numpy(),
        annotation_index=np.repeat(np.arange(len(rows)), pc.list_value_length(phases).to_numpy(zero_copy_only=False)),
        track=_vocabulary_indices(inside.field("track"), vocab.TRACKS, location),
        action=_vocabulary_indices(inside.field("action"), vocab.ACTIONS, location),
        start_us=inside.field("start_us").to_numpy(),
        end_us=inside.field("end_us").to_numpy(),
        confidence=inside.field("confidence").to_numpy(zero_copy_only=False),
    )
    return _validated(units.sort_phases(), location)


def _validated(units: PhaseArrays, where: str) -> PhaseArrays:
    """The same, if it is what every function here relies on: the records, which check it too, were never made."""
    same_track = (np.diff(units.annotation_index) == 0) & (np.diff(units.track) == 0)
    breaches = {
        "0 <= start < end": (units.start_us < 0) | (units.start_us >= units.end_us),
        "phases of one track that do not overlap": same_track & (units.start_us[1:] < units.end_us[:-1]),
        "confidences of 0 to 1": (units.confidence < 0) | (units.confidence > 1),
    }
    for rule, broken in breaches.items():
        if broken.any():
            clip = units.clip_ids[units.annotation_index[np.flatnonzero(broken)[0]]]
            raise ContractError(
                where=f"{where}, clip {clip}", expected=rule, got="a violation", hint="write layers with xsheet only"
            )
    return units


def _vocabulary_indices(words: pa.Array, vocabulary: tuple[str, ...], where: str) -> Ints:
    found = pc.index_in(words, value_set=pa.array(vocabulary))
    if found.null_count:
        unknown = words.filter(pc.is_null(found))[0].as_py()
        raise ContractError(
            where=where,
            expected="a term of the vocabulary",
            got=repr(unknown),
            hint="install the version of xsheet that wrote it",
        )
    return np.asarray(found.to_numpy(zero_copy_only=False)).astype(np.int64)
