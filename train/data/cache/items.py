"""The clips of a set, each with what was measured of its face and what a layer says of it."""

import heapq
from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path

import numpy as np

from xsheet.runtime.executor import Item
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.errors import ContractError
from xsheet.schemas.ids import content_key
from xsheet.schemas.layers import LayerRun
from xsheet.train.data.cache.fingerprint import Recipe
from xsheet.train.data.cache.task import ClipJob
from xsheet.train.data.conditioning import Measured, face_numbers, series
from xsheet.train.data.framing import Framing, frame
from xsheet.train.data.masks import Face
from xsheet.train.data.settings import CacheSettings, ControlSettings

_FACE = {"x_T": "head_x", "y_T": "head_y", "height_T": "head_height", "roll_deg_T": "roll_deg"}


class CacheItems:
    """The clips of a set as items of the cache task, one part of the signals in memory at a time.

    Raises:
        ContractError: no clips, or a layer that describes other files.
    """

    def __init__(
        self, set_folder: Path, layer: LayerRun | None, recipe: Recipe, *, settings: CacheSettings, limit: int | None
    ) -> None:
        self._set, self._recipe, self._control = set_folder, recipe, settings.control
        clips = sorted(tables.iterate(set_folder, tables.CLIPS), key=lambda clip: clip.clip_id)[:limit]
        if not clips:
            raise ContractError(
                where=str(set_folder), expected="clips", came="none",
                todo="run `xsheet curate run` first; its report says why no clip was kept",
            )  # fmt: skip
        self._clips = {clip.clip_id: clip for clip in clips}
        self._said = {} if layer is None else _said(layer, self._clips)
        likely = [c.clip_id for c in clips if c.samples and isinstance(frame(c, settings.picture, face=None), Framing)]
        self._faces = {} if settings.control is None else _known_faces(set_folder, settings.control)
        self._checked = set(heapq.nsmallest(settings.check.clips, likely, key=lambda one: content_key("check", one)))

    def __len__(self) -> int:
        return len(self._clips)

    def __iter__(self) -> Iterator[Item]:
        left = dict(self._clips)
        for clip_id, face, signals in _measured(self._set, whole=self._control is not None):
            clip = left.pop(clip_id, None)
            if clip is not None:
                yield self._item(clip, face, signals)
        for clip in left.values():  # nothing was measured of them
            nowhere = np.full(clip.frames, np.nan, np.float32)
            yield self._item(clip, Face(x_T=nowhere, y_T=nowhere, height_T=nowhere, roll_deg_T=nowhere), None)

    def _item(self, clip: Clip, face: Face, signals: Signals | None) -> Item:
        job = ClipJob(
            clip=clip,
            face=face,
            annotation=self._said.get(clip.clip_id),
            measured=None if self._control is None else self._told(clip, signals, numbers=self._control.face_numbers),
            is_checked=clip.clip_id in self._checked,
        )
        return Item(key=job.key(self._recipe.fingerprint), name=clip.clip_id, payload=job)

    def _told(self, clip: Clip, signals: Signals | None, *, numbers: int) -> Measured:
        return Measured(
            signals=signals or Signals(clip_id=clip.clip_id, frames=clip.frames, extractor="none"),
            face_X=self._faces.get(clip.track_id or "", (0.0,) * numbers),
            aspect=clip.width / clip.height,
        )


def _said(layer: LayerRun, clips: Mapping[str, Clip]) -> dict[str, Annotation]:
    """The annotation of every clip that has a usable one: the first sample, where there are several."""
    said: dict[str, Annotation] = {}
    for row in layer.read():
        if row.clip_id not in clips or row.base is None:
            continue
        if row.media_sha256 not in (None, clips[row.clip_id].media_sha256):
            raise ContractError(
                where=f"{layer}, clip {row.clip_id}", expected="an annotation of the clip's file",
                came="one of another", todo="annotate the set again: its clips were written anew since",
            )  # fmt: skip
        said.setdefault(row.clip_id, row)
    return said


def _measured(set_folder: Path, *, whole: bool) -> Iterator[tuple[str, Face, Signals | None]]:
    """The face of every clip, and all of its signals where they are asked for."""
    columns = ["clip_id", "frames", *_FACE.values()]
    for file in tables.part_files(set_folder, tables.SIGNALS):
        rows = tables.read_file(file, tables.SIGNALS, columns).to_pylist()
        all_of_them = tables.iterate_file(file, tables.SIGNALS) if whole else repeat(None)
        for row, signals in zip(rows, all_of_them, strict=False):
            face = Face(**{name: series(row[column], row["frames"]) for name, column in _FACE.items()})
            yield row["clip_id"], face, signals


def _known_faces(set_folder: Path, wanted: ControlSettings) -> dict[str, tuple[float, ...]]:
    """The numbers of the face of every track."""
    rows = tables.read_table(set_folder, tables.TRACKS, ["track_id", "shape", "shape_model"]).to_pylist()
    return {
        row["track_id"]: face_numbers(
            row["shape"], row["shape_model"], wanted=wanted.face_model, numbers=wanted.face_numbers
        )
        for row in rows
    }
