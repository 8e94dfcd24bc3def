"""One clip to its features: latents, sound, masks, texts, as entries of the cache (xsheet.train.data.cache.files).

T frames shown, L x Q sound features.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as record
from torch import Tensor

from xsheet.curate.media.reader import MediaReader, open_media
from xsheet.model.config import latent_frames
from xsheet.runtime.executor import Item, Rejected, Row
from xsheet.schemas import ids
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Feature
from xsheet.schemas.columns import RECORD, Id, NonNegative
from xsheet.schemas.errors import ContractError
from xsheet.schemas.time import CLIP_RATE, frame_at, frame_start_us
from xsheet.train.data.cache.files import (
    TensorStore,
    clip_entry,
    extra_conditioning_entry,
    masks_to_uint8,
    stack_texts,
    text_entry,
    to_float16,
)
from xsheet.train.data.cache.fingerprint import CacheSpec
from xsheet.train.data.conditioning import ConditioningSource
from xsheet.train.data.encoders import Encoders, open_encoders
from xsheet.train.data.framing import BucketFit, fit_to_bucket
from xsheet.train.data.masks import FaceSeries, face_masks
from xsheet.train.data.settings import CacheSettings
from xsheet.train.data.texts import TextForm, TokenizedText, mirrored_or_none, tokenize_texts
from xsheet.train.data.visibility import only_shown

Pictures = NDArray[np.uint8]
Shown = NDArray[np.uint8] | NDArray[np.float32]
"""What is encoded of a crop: pictures (T, H, W, 3), or motion (T, S)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeJob:
    """A clip to encode, with its face and annotation."""

    clip: Clip
    face: FaceSeries
    joints_JT2: NDArray[np.float32]  # wrists and shoulders at 25 fps (xsheet.train.data.visibility)
    annotation: Annotation | None
    conditioning_source: ConditioningSource | None  # where a variant asks for it
    motion_TS: NDArray[np.float32] | None  # of the clip at 25 fps, where motion is encoded in place of pictures
    checks_round_trip: bool  # decode it again and compare

    def key(self, fingerprint: str) -> str:
        """Key of the item."""
        annotation_id = None if self.annotation is None else self.annotation.annotation_id
        joints = hashlib.sha256(self.joints_JT2.tobytes()).hexdigest()
        control = () if self.conditioning_source is None else (self.conditioning_source.digest,)
        return ids.content_key(
            "cache", fingerprint, self.clip.clip_id, self.digest, annotation_id, joints, self.checks_round_trip,
            *control,
        )  # fmt: skip

    @property
    def digest(self) -> str:
        """Hash of the sources of latents, audio and masks."""
        measured = hashlib.sha256(b"".join(series.tobytes() for series in astuple(self.face))).hexdigest()
        motion = () if self.motion_TS is None else (hashlib.sha256(self.motion_TS.tobytes()).hexdigest(),)
        return ids.content_key(self.clip.media_sha256, measured, *motion)


@record(config=RECORD, frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """Fidelity of a decoded latent to the original pictures."""

    TAG: ClassVar[str] = "round_trip"
    clip_id: Annotated[Id, "clip"]
    psnr_db: Annotated[NonNegative, "peak signal-to-noise ratio over all pictures of its first crop"]


class CacheTask:
    """Encodes clips and writes their tensors into the set; the payload of an item is an EncodeJob.

    Pictures and sound that are encoded already, for another layer perhaps, are not encoded again.
    """

    name = "cache"

    def __init__(self, settings: CacheSettings, spec: CacheSpec, *, set_folder: Path, device: str) -> None:
        self.stage = "frame"
        self._settings = settings
        self._spec = spec
        self._set = set_folder.absolute()
        self._device = device
        self._encoders: Encoders | None = None
        self._tensors = TensorStore(self._set)

    def open(self) -> None:
        """Open the encoders."""
        self._encoders = open_encoders(self._settings, device=self._device)

    @torch.inference_mode()
    def __call__(self, item: Item, /) -> Sequence[Row] | Rejected:
        """The features row, and the round trip's where requested."""
        job: EncodeJob = item.payload
        assert self._encoders is not None
        self.stage = "frame"
        framing = fit_to_bucket(job.clip, self._settings.picture, face=job.face.median_box)
        if isinstance(framing, Rejected):
            return framing
        if job.clip.samples == 0:
            return Rejected("frame", "no_audio", "a clip without audio cannot teach lips")
        entry = clip_entry(self._spec, job.clip.clip_id, job.digest)
        is_encoded = entry in self._tensors
        rows: list[Row] = []
        if job.checks_round_trip or not is_encoded:
            with open_media(self._set / job.clip.media_path, root=self._set) as media:
                self.stage = "decode"
                shown = _crops(media, framing, job, self._settings)
                if not is_encoded:
                    self.stage = "encode"
                    self._tensors.save(entry, self._encode(media, shown, framing, job))
            if job.checks_round_trip:
                self.stage = "check"
                rows.append(RoundTrip(clip_id=job.clip.clip_id, psnr_db=self._round_trip_psnr_db(entry, shown[0])))
        self.stage = "text"
        annotation, hidden_phases = job.annotation, 0
        if job.annotation is not None:
            annotation = only_shown(job.annotation, job.joints_JT2, framing)
            hidden_phases = len(job.annotation.phases) - len(annotation.phases)
        texts = self._tokenized_texts(annotation, framing)
        feature = self._feature(job, framing, texts, hidden_phases=hidden_phases)
        self._tensors.save(text_entry(self._spec, feature), stack_texts(texts, self._encoders.text))
        if job.conditioning_source is not None:
            self.stage = "extra_conditioning"
            stretches = [_source_frames(start, framing, self._settings) for start in framing.crop_starts]
            tensors = job.conditioning_source.tensors(stretches, mirror=self._settings.picture.mirror)
            self._tensors.save(extra_conditioning_entry(self._spec, feature), tensors)
        return [feature, *rows]

    def _encode(
        self, media: MediaReader, crops: Sequence[Shown], bucket_fit: BucketFit, job: EncodeJob
    ) -> dict[str, Tensor]:
        assert self._encoders is not None
        video, per_frame = self._encoders.video, self._settings.picture.samples_per_frame
        waveform = media.sound()
        if waveform is None:
            raise ContractError(
                where=job.clip.media_path, expected=f"{job.clip.samples} samples", got="no audio",
                hint="run `xsheet curate run` again",
            )  # fmt: skip
        whole = torch.from_numpy(
            np.pad(waveform, (0, -len(waveform) % per_frame))
        )  # the last frame may begin and not end
        audio_TLQ = self._encoders.audio.encode(whole[None].to(self._device), samples_per_frame=per_frame)[0]
        seen = [
            job.face.at_frames(_source_frames(start, bucket_fit, self._settings)) for start in bucket_fit.crop_starts
        ]
        masks = [face_masks(face, bucket_fit, cell=video.stride[1:]) for face in seen]
        latents = [latent for shown in crops for latent in self._latents(shown)]
        frames = bucket_fit.bucket.frames
        return {
            "latent": to_float16(torch.stack(latents), where=job.clip.clip_id),
            "audio": to_float16(
                torch.stack([audio_TLQ[s : s + frames] for s in bucket_fit.crop_starts]), where=job.clip.clip_id
            ),
            "face": masks_to_uint8([face for face, _ in masks]),
            "mouth": masks_to_uint8([mouth for _, mouth in masks]),
        }

    def _latents(self, shown: Shown) -> list[Tensor]:
        """Latents of one crop and of its mirror image."""
        assert self._encoders is not None
        video = self._encoders.video
        crop = torch.from_numpy(shown)[None].to(self._device)
        latent = video.encode(crop)
        if not self._settings.picture.mirror:
            return [latent[0]]
        flipped = video.mirror(latent)
        return [latent[0], (video.encode(crop.flip(3)) if flipped is None else flipped)[0]]

    def _round_trip_psnr_db(self, entry: Path, pictures_THW3: Shown) -> float:
        assert self._encoders is not None
        latent = self._tensors.read(entry)["latent"][:1].float().to(self._device)
        decoded = self._encoders.video.decode(latent)[0].cpu().numpy()
        error = np.square(decoded.astype(np.float64) - pictures_THW3).mean()
        return float(10 * np.log10(255**2 / max(error, 1e-9)))

    def _tokenized_texts(
        self, straight: Annotation | None, bucket_fit: BucketFit
    ) -> list[Mapping[TextForm, TokenizedText]]:
        """Texts of every crop, straight and mirrored."""
        assert self._encoders is not None
        picture, text = self._settings.picture, self._settings.text
        views = [straight, mirrored_or_none(straight)] if picture.mirror else [straight]
        return [
            tokenize_texts(
                annotation, span, forms=text.forms, encoder=self._encoders.text, policy=text.blocks, rate=picture.rate
            )
            for span in bucket_fit.crop_spans(picture)
            for annotation in views
        ]  # fmt: skip

    def _feature(
        self,
        job: EncodeJob,
        bucket_fit: BucketFit,
        texts_by_crop: Sequence[Mapping[TextForm, TokenizedText]],
        *,
        hidden_phases: int,
    ) -> Feature:
        frames, height, width = bucket_fit.bucket
        return Feature(
            clip_id=job.clip.clip_id,
            fingerprint=self._spec.fingerprint,
            annotation_id=None if job.annotation is None else job.annotation.annotation_id,
            tensor_entry=clip_entry(self._spec, job.clip.clip_id, job.digest).as_posix(),
            frames=frames,
            latent_frames=latent_frames(frames),
            height=height,
            width=width,
            text_tokens=max(len(one.phase_N) for texts in texts_by_crop for one in texts.values()),
            hidden_phases=hidden_phases,
        )


def _crops(media: MediaReader, bucket_fit: BucketFit, job: EncodeJob, settings: CacheSettings) -> Sequence[Shown]:
    """Pictures of every crop, or its motion: then nothing is decoded."""
    if job.motion_TS is None:
        return _read_crops(media, bucket_fit, job, settings)
    return [job.motion_TS[_source_frames(start, bucket_fit, settings)] for start in bucket_fit.crop_starts]


def _read_crops(media: MediaReader, bucket_fit: BucketFit, job: EncodeJob, settings: CacheSettings) -> list[Pictures]:
    """Pictures of every crop, (T, H, W, 3) each."""
    if media.frame_count_at_clip_rate != job.clip.frames:
        raise ContractError(
            where=job.clip.media_path, expected=f"{job.clip.frames} frames at {CLIP_RATE} fps",
            got=str(media.frame_count_at_clip_rate), hint="run `xsheet curate run` again",
        )  # fmt: skip
    frames, wanted = bucket_fit.bucket.frames, bucket_fit.crop_starts[-1] + bucket_fit.bucket.frames
    shown: list[Pictures] = []
    for one in media.frames(rate=settings.picture.rate, size=bucket_fit.scaled_size):
        shown.append(np.ascontiguousarray(bucket_fit.crop_picture(one.rgb)))
        if len(shown) == wanted:
            break
    return [np.stack(shown[start : start + frames]) for start in bucket_fit.crop_starts]


def _source_frames(start: int, bucket_fit: BucketFit, settings: CacheSettings) -> NDArray[np.int64]:
    shown = range(start, start + bucket_fit.bucket.frames)
    return np.array([frame_at(frame_start_us(k, settings.picture.rate), CLIP_RATE) for k in shown])
