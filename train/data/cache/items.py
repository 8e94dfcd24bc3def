"""The clips of a set, each with the measurements of its face and its annotation in a layer."""

import heapq
from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xsheet.runtime.executor import Item
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.errors import ContractError
from xsheet.schemas.ids import content_key
from xsheet.schemas.layers import LayerRun
from xsheet.train.data.cache.fingerprint import CacheSpec
from xsheet.train.data.cache.task import EncodeJob
from xsheet.train.data.conditioning import ConditioningSource, identity_vector, to_series
from xsheet.train.data.framing import BucketFit, fit_to_bucket
from xsheet.train.data.masks import FaceSeries
from xsheet.train.data.motion import motion_array
from xsheet.train.data.settings import CacheSettings, ExtraConditioningSettings
from xsheet.train.data.visibility import JOINT_COLUMNS, JOINTS, joints_of

_FACE_COLUMNS = {"x_T": "head_x", "y_T": "head_y", "height_T": "head_height", "roll_deg_T": "roll_deg"}


class CacheItems:
    """The clips of a set as items of the cache task; holds one part of the signals table in memory at a time.

    Raises:
        ContractError: no clips, or a layer that describes other files.
    """

    def __init__(
        self, set_folder: Path, layer: LayerRun | None, spec: CacheSpec, *, settings: CacheSettings, limit: int | None
    ) -> None:
        self._set, self._spec, self._extra_conditioning = set_folder, spec, settings.extra_conditioning
        self._is_motion = settings.encoders.video == "motion"
        clips = sorted(tables.iter_records(set_folder, tables.CLIPS), key=lambda clip: clip.clip_id)[:limit]
        if not clips:
            raise ContractError(
                where=str(set_folder), expected="clips", got="none",
                hint="run `xsheet curate run` first; its report says why no clip was kept",
            )  # fmt: skip
        self._clips = {clip.clip_id: clip for clip in clips}
        self._annotations = {} if layer is None else _annotations(layer, self._clips)
        likely = [
            c.clip_id
            for c in clips
            if c.samples and isinstance(fit_to_bucket(c, settings.picture, face=None), BucketFit)
        ]
        self._identity_vectors = (
            {} if settings.extra_conditioning is None else _identity_vectors(set_folder, settings.extra_conditioning)
        )
        self._round_trip_clips = set(
            heapq.nsmallest(settings.round_trip.clip_count, likely, key=lambda one: content_key("check", one))
        )

    def __len__(self) -> int:
        return len(self._clips)

    def __iter__(self) -> Iterator[Item]:
        left = dict(self._clips)
        for clip_id, face, joints_JT2, signals in _iterate_faces(
            self._set, with_signals=self._extra_conditioning is not None or self._is_motion
        ):
            clip = left.pop(clip_id, None)
            if clip is not None:
                yield self._item(clip, face, joints_JT2, signals)
        for clip in left.values():  # nothing was measured of them
            nowhere = np.full(clip.frames, np.nan, np.float32)
            no_face = FaceSeries(x_T=nowhere, y_T=nowhere, height_T=nowhere, roll_deg_T=nowhere)
            yield self._item(clip, no_face, np.full((len(JOINTS), clip.frames, 2), np.nan, np.float32), None)

    def _item(self, clip: Clip, face: FaceSeries, joints_JT2: NDArray[np.float32], signals: Signals | None) -> Item:
        job = EncodeJob(
            clip=clip,
            face=face,
            joints_JT2=joints_JT2,
            annotation=self._annotations.get(clip.clip_id),
            conditioning_source=None
            if self._extra_conditioning is None
            else self._conditioning_source(clip, signals, dim=self._extra_conditioning.identity_dim),
            motion_TS=motion_array(signals or _unmeasured(clip)) if self._is_motion else None,
            checks_round_trip=clip.clip_id in self._round_trip_clips,
        )
        return Item(key=job.key(self._spec.fingerprint), name=clip.clip_id, payload=job)

    def _conditioning_source(self, clip: Clip, signals: Signals | None, *, dim: int) -> ConditioningSource:
        return ConditioningSource(
            signals=signals or _unmeasured(clip),
            identity_X=self._identity_vectors.get(clip.track_id or "", (0.0,) * dim),
            aspect=clip.width / clip.height,
        )


def _unmeasured(clip: Clip) -> Signals:
    return Signals(clip_id=clip.clip_id, frames=clip.frames, extractor="none")


def _annotations(layer: LayerRun, clips: Mapping[str, Clip]) -> dict[str, Annotation]:
    """The usable annotation of every clip; the first sample where there are several."""
    annotations: dict[str, Annotation] = {}
    for row in layer.read():
        if row.clip_id not in clips or row.base is None:
            continue
        if row.media_sha256 not in (None, clips[row.clip_id].media_sha256):
            raise ContractError(
                where=f"{layer}, clip {row.clip_id}", expected="an annotation of the clip's file",
                got="an annotation of an earlier file",
                hint="annotate the set again: its clips have been rewritten since",
            )  # fmt: skip
        annotations.setdefault(row.clip_id, row)
    return annotations


def _iterate_faces(
    set_folder: Path, *, with_signals: bool
) -> Iterator[tuple[str, FaceSeries, NDArray[np.float32], Signals | None]]:
    """Face and joints of every clip and, on request, all of its signals."""
    columns = ["clip_id", "frames", *_FACE_COLUMNS.values(), *JOINT_COLUMNS]
    for file in tables.part_files(set_folder, tables.SIGNALS):
        rows = tables.read_file(file, tables.SIGNALS, columns).to_pylist()
        all_of_them = tables.iter_file_records(file, tables.SIGNALS) if with_signals else repeat(None)
        for row, signals in zip(rows, all_of_them, strict=False):
            face = FaceSeries(**{name: to_series(row[column], row["frames"]) for name, column in _FACE_COLUMNS.items()})
            yield row["clip_id"], face, joints_of(row, row["frames"]), signals


def _identity_vectors(set_folder: Path, settings: ExtraConditioningSettings) -> dict[str, tuple[float, ...]]:
    """Identity vector of every face track."""
    rows = tables.read_table(
        set_folder, tables.TRACKS, ["track_id", "identity_embedding", "identity_model"]
    ).to_pylist()
    return {
        row["track_id"]: identity_vector(
            row["identity_embedding"],
            row["identity_model"],
            wanted_model=settings.identity_model,
            dim=settings.identity_dim,
        )
        for row in rows
    }
