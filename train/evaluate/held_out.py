"""Held-out clips: cached clips with their signals and annotations.

V variants (stretches, each as it is and mirrored), C latent channels, F latent frames, H x W cells, T frames shown,
L x Q sound features of a frame, S series.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsheet.annotate.text.mirror import mirror_signals
from xsheet.annotate.text.training_text import clip_annotation
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.reader import open_media
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Feature, Signals
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import find_layer
from xsheet.schemas.source import SplitName
from xsheet.schemas.time import CLIP_RATE, Span, frame_at, frame_start_us
from xsheet.train.data.cache.build import Cache
from xsheet.train.data.cache.files import TensorStore, extra_conditioning_entry
from xsheet.train.data.dataset import select_clips
from xsheet.train.data.framing import BucketFit, fit_to_bucket
from xsheet.train.data.settings import PictureEncodingSettings, StageDatasetSettings
from xsheet.train.data.visibility import JOINT_COLUMNS, joints_of, only_shown

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredClip:
    """A cached clip with its signals at the encoded frames."""

    clip_id: str
    extractor: str  # of the signals
    latent_VCFHW: Tensor  # float16
    series_VTS: Tensor  # float32, NaN where nothing was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutClip:
    """The first crop of a cached clip with its annotation and signals."""

    clip: Clip
    span: Span  # of the stretch in the clip; what follows begins with it
    annotation: Annotation
    complete_phase_ids: frozenset[str]  # ids of its phases that the stretch does not cut
    signals: Signals  # of the whole clip
    latent_CFHW: Tensor
    audio_TLQ: Tensor
    face_FHW: Tensor  # share of each cell that the face covers
    mouth_FHW: Tensor  # the same for the mouth
    identity_X: Tensor | None  # whose face it is, where the cache keeps that
    waveform: Samples  # 640 samples for every frame at 25 fps


def measured_clips(cache: Cache, *, split: SplitName, names: Sequence[str]) -> list[MeasuredClip]:
    """All clips of a split that have signals."""
    settings, tensor_store = picture_settings(cache), TensorStore(cache.set_folder)
    clips = {clip.clip_id: clip for clip in tables.iter_records(cache.set_folder, tables.CLIPS)}
    features = {
        row.clip_id: row for row in select_clips(cache, StageDatasetSettings(text="brief"), split=split).features
    }
    measured = []
    for signals in _signals(cache, features.keys()):
        clip = clips[signals.clip_id]
        views = [signals, mirror_signals(signals, aspect=clip.width / clip.height)] if settings.mirror else [signals]
        series = [
            _series(view, source_frames(span, features[clip.clip_id], settings), names)
            for span in _bucket_fit(clip, settings).crop_spans(settings)
            for view in views
        ]
        latent = tensor_store.read(Path(features[clip.clip_id].tensor_entry))["latent"]
        measured.append(
            MeasuredClip(
                clip_id=clip.clip_id, extractor=signals.extractor, latent_VCFHW=latent, series_VTS=torch.stack(series)
            )
        )
    return measured


def held_out_clips(cache: Cache, *, split: SplitName, limit: int) -> Iterator[HeldOutClip]:
    """Clips of a split that have phases and signals, by id.

    Raises:
        ConfigError: the split has none.
        ContractError, MediaError: a file is lost or broken.
    """
    settings, tensor_store = picture_settings(cache), TensorStore(cache.set_folder)
    rows = select_clips(cache, StageDatasetSettings(text="blocks"), split=split).features[:limit]
    clips = {clip.clip_id: clip for clip in tables.iter_records(cache.set_folder, tables.CLIPS)}
    features = {row.clip_id: row for row in rows}
    annotations = _annotations(cache, {row.annotation_id for row in rows if row.annotation_id is not None})
    for signals in _signals(cache, features.keys()):
        feature, clip = features[signals.clip_id], clips[signals.clip_id]
        bucket_fit = _bucket_fit(clip, settings)
        span = bucket_fit.crop_spans(settings)[0]
        joints_JT2 = joints_of({name: getattr(signals, name) for name in JOINT_COLUMNS}, signals.frames)
        annotation = only_shown(annotations[clip.clip_id], joints_JT2, bucket_fit)
        tensors = tensor_store.read(Path(feature.tensor_entry))
        with open_media(cache.set_folder / clip.media_path, root=cache.set_folder) as media:
            waveform = media.sound(span)
        if waveform is None:
            raise ConfigError(where=clip.media_path, expected="audio", got="none", hint="run `xsheet curate run` again")
        yield HeldOutClip(
            clip=clip,
            span=span,
            annotation=clip_annotation(annotation, span),
            complete_phase_ids=frozenset(
                p.phase_id for p in annotation.phases if span.start_us <= p.start_us and p.end_us <= span.end_us
            ),
            signals=signals,
            latent_CFHW=tensors["latent"][0].float(),
            audio_TLQ=tensors["audio"][0].float(),
            face_FHW=tensors["face"][0].float() / 255,
            mouth_FHW=tensors["mouth"][0].float() / 255,
            identity_X=_identity(cache, feature),
            waveform=waveform,
        )


def count_held_out(cache: Cache, *, split: SplitName, limit: int) -> int:
    """How many clips `held_out_clips` yields; ConfigError if the split has none."""
    rows = select_clips(cache, StageDatasetSettings(text="blocks"), split=split).features[:limit]
    return sum(1 for _ in _signals(cache, {row.clip_id for row in rows}))


def picture_settings(cache: Cache) -> PictureEncodingSettings:
    """Framing settings of a cache."""
    return PictureEncodingSettings.model_validate_json(json.dumps(cache.spec.clips["picture"]))


def source_frames(span: Span, feature: Feature, settings: PictureEncodingSettings) -> NDArray[np.int64]:
    """Index in the clip at 25 fps of each encoded frame, (T,)."""
    start = frame_at(span.start_us, settings.rate)
    shown = range(start, start + feature.frames)
    return np.array([frame_at(frame_start_us(k, settings.rate), CLIP_RATE) for k in shown])


def _bucket_fit(clip: Clip, settings: PictureEncodingSettings) -> BucketFit:
    """The crops of a clip; they do not depend on the face."""
    found = fit_to_bucket(clip, settings, face=None)
    if not isinstance(found, BucketFit):
        raise ConfigError(
            where=clip.clip_id, expected="a clip that fits the cache", got=str(found.message),
            hint="run `xsheet train cache` again",
        )  # fmt: skip
    return found


def _identity(cache: Cache, feature: Feature) -> Tensor | None:
    if cache.spec.extra_conditioning is None:
        return None
    return TensorStore(cache.set_folder).read(extra_conditioning_entry(cache.spec, feature))["identity"]


def _annotations(cache: Cache, ids: set[str]) -> dict[str, Annotation]:
    layer = cache.spec.texts["layer"]
    if layer is None:
        raise ConfigError(
            where=str(cache.set_folder), expected="a cache with phases", got="brief captions alone",
            hint="cache with cache.text.layer set to a layer of the set",
        )  # fmt: skip
    rows = find_layer(cache.set_folder, layer).read()
    return {row.clip_id: row for row in rows if row.annotation_id in ids}


def _signals(cache: Cache, clip_ids: Collection[str]) -> Iterator[Signals]:
    return (one for one in tables.iter_records(cache.set_folder, tables.SIGNALS) if one.clip_id in clip_ids)


def _series(signals: Signals, frames: NDArray[np.int64], names: Sequence[str]) -> Tensor:
    columns = []
    for name in names:
        values = getattr(signals, name) or (None,) * signals.frames
        columns.append([np.nan if values[k] is None else values[k] for k in frames.tolist()])
    return torch.tensor(columns, dtype=torch.float32).T
