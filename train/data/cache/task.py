"""One clip to its features: latents, sound, masks, texts, written as files of tensors (xsheet.train.data.cache.files).

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
from safetensors.torch import load_file
from torch import Tensor

from xsheet.curate.media.reader import Media, open_media
from xsheet.model.config import latent_frames
from xsheet.runtime.executor import Item, Rejected, Row
from xsheet.schemas import ids
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip
from xsheet.schemas.columns import RECORD, Id, NonNegative
from xsheet.schemas.errors import ContractError
from xsheet.schemas.run import Feature
from xsheet.schemas.time import CLIP_RATE, frame_at, frame_start_us
from xsheet.train.data.cache.files import clip_path, control_path, half, save, shares, stacked_texts, text_path
from xsheet.train.data.cache.fingerprint import Recipe
from xsheet.train.data.conditioning import Measured
from xsheet.train.data.encoders import Encoders, open_encoders
from xsheet.train.data.framing import Framing, frame
from xsheet.train.data.masks import Face, face_masks
from xsheet.train.data.settings import CacheSettings
from xsheet.train.data.texts import Form, Told, mirrored, tell

Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipJob:
    """A clip to encode, with what was measured and said of it."""

    clip: Clip
    face: Face
    annotation: Annotation | None
    measured: Measured | None  # where a variant asks for it
    is_checked: bool  # decode it again and compare

    def key(self, fingerprint: str) -> str:
        """Identity of the item."""
        said = None if self.annotation is None else self.annotation.annotation_id
        control = () if self.measured is None else (self.measured.digest,)
        return ids.content_key("cache", fingerprint, self.clip.clip_id, self.digest, said, self.is_checked, *control)

    @property
    def digest(self) -> str:
        """Hash of what its latents, sound and masks are made from."""
        measured = hashlib.sha256(b"".join(series.tobytes() for series in astuple(self.face))).hexdigest()
        return ids.content_key(self.clip.media_sha256, measured)


@record(config=RECORD, frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """How near a clip comes to what was shown when its cached latent is decoded."""

    TAG: ClassVar[str] = "round_trip"
    clip_id: Annotated[Id, "clip"]
    psnr_db: Annotated[NonNegative, "peak signal-to-noise ratio over all pictures of its first crop"]


class CacheTask:
    """Encodes clips and writes their tensors below the set; the payload of an item is a ClipJob.

    Pictures and sound that are encoded already, for another layer perhaps, are not encoded again.
    """

    name = "cache"

    def __init__(self, settings: CacheSettings, recipe: Recipe, *, set_folder: Path, device: str) -> None:
        self.stage = "frame"
        self._settings = settings
        self._recipe = recipe
        self._set = set_folder.absolute()
        self._device = device
        self._encoders: Encoders | None = None

    def open(self) -> None:
        """The encoders."""
        self._encoders = open_encoders(self._settings, device=self._device)

    @torch.inference_mode()
    def __call__(self, item: Item, /) -> Sequence[Row] | Rejected:
        """The row of features, and that of the round trip where it is asked for."""
        job: ClipJob = item.payload
        assert self._encoders is not None
        self.stage = "frame"
        framing = frame(job.clip, self._settings.picture, face=job.face.median)
        if isinstance(framing, Rejected):
            return framing
        if job.clip.samples == 0:
            return Rejected("frame", "no_audio", "a clip without sound cannot teach lips")
        shard = self._set / clip_path(self._recipe, job.clip.clip_id, job.digest)
        rows: list[Row] = []
        if job.is_checked or not shard.exists():
            with open_media(self._set / job.clip.media_path, root=self._set) as media:
                self.stage = "decode"
                pictures = _pictures(media, framing, job, self._settings)
                if not shard.exists():
                    self.stage = "encode"
                    save(shard, self._encoded(media, pictures, framing, job))
            if job.is_checked:
                self.stage = "check"
                rows.append(RoundTrip(clip_id=job.clip.clip_id, psnr_db=self._round_trip(shard, pictures[0])))
        self.stage = "text"
        told = self._told(job, framing)
        feature = self._feature(job, framing, told)
        save(self._set / text_path(self._recipe, feature), stacked_texts(told, self._encoders.text))
        if job.measured is not None:
            self.stage = "control"
            stretches = [_frames_at_25(start, framing, self._settings) for start in framing.starts]
            tensors = job.measured.tensors(stretches, mirror=self._settings.picture.mirror)
            save(self._set / control_path(self._recipe, feature), tensors)
        return [feature, *rows]

    def _encoded(self, media: Media, pictures: Sequence[Pictures], framing: Framing, job: ClipJob) -> dict[str, Tensor]:
        assert self._encoders is not None
        video, per_frame = self._encoders.video, self._settings.picture.samples_per_frame
        heard = media.sound()
        if heard is None:
            raise ContractError(
                where=job.clip.media_path, expected=f"{job.clip.samples} samples", came="no sound",
                todo="run `xsheet curate run` again",
            )  # fmt: skip
        whole = torch.from_numpy(np.pad(heard, (0, -len(heard) % per_frame)))  # the last frame may begin and not end
        audio_TLQ = self._encoders.sound.encode(whole[None].to(self._device), samples_per_frame=per_frame)[0]
        seen = [job.face.at(_frames_at_25(start, framing, self._settings)) for start in framing.starts]
        masks = [face_masks(face, framing, cell=video.stride[1:]) for face in seen]
        latents = [latent for shown in pictures for latent in self._latents(shown)]
        frames = framing.bucket.frames
        return {
            "latent": half(torch.stack(latents), where=job.clip.clip_id),
            "audio": half(torch.stack([audio_TLQ[s : s + frames] for s in framing.starts]), where=job.clip.clip_id),
            "face": shares([face for face, _ in masks]),
            "mouth": shares([mouth for _, mouth in masks]),
        }

    def _latents(self, shown: Pictures) -> list[Tensor]:
        """Of one crop, and of its mirror image."""
        assert self._encoders is not None
        video = self._encoders.video
        rgb = torch.from_numpy(shown)[None].to(self._device)
        latent = video.encode(rgb)
        if not self._settings.picture.mirror:
            return [latent[0]]
        flipped = video.flipped(latent)
        return [latent[0], (video.encode(rgb.flip(3)) if flipped is None else flipped)[0]]

    def _round_trip(self, shard: Path, shown: Pictures) -> float:
        assert self._encoders is not None
        latent = load_file(shard)["latent"][:1].float().to(self._device)
        decoded = self._encoders.video.decode(latent)[0].cpu().numpy()
        error = np.square(decoded.astype(np.float64) - shown).mean()
        return float(10 * np.log10(255**2 / max(error, 1e-9)))

    def _told(self, job: ClipJob, framing: Framing) -> list[Mapping[Form, Told]]:
        """The texts of every variant."""
        assert self._encoders is not None
        picture, text = self._settings.picture, self._settings.text
        views = [job.annotation, mirrored(job.annotation)] if picture.mirror else [job.annotation]
        return [
            tell(
                said, span, forms=text.forms, encoder=self._encoders.text, policy=text.blocks, rate=picture.rate
            )
            for span in framing.spans(picture)
            for said in views
        ]  # fmt: skip

    def _feature(self, job: ClipJob, framing: Framing, told: Sequence[Mapping[Form, Told]]) -> Feature:
        frames, height, width = framing.bucket
        return Feature(
            clip_id=job.clip.clip_id,
            fingerprint=self._recipe.fingerprint,
            annotation_id=None if job.annotation is None else job.annotation.annotation_id,
            shard=clip_path(self._recipe, job.clip.clip_id, job.digest).as_posix(),
            frames=frames,
            latent_frames=latent_frames(frames),
            height=height,
            width=width,
            text_tokens=max(len(one.phase_N) for texts in told for one in texts.values()),
        )


def _pictures(media: Media, framing: Framing, job: ClipJob, settings: CacheSettings) -> list[Pictures]:
    """The pictures of every crop, (T, H, W, 3) each."""
    if media.clip_frames != job.clip.frames:
        raise ContractError(
            where=job.clip.media_path, expected=f"{job.clip.frames} frames at {CLIP_RATE} fps",
            came=str(media.clip_frames), todo="run `xsheet curate run` again",
        )  # fmt: skip
    frames, wanted = framing.bucket.frames, framing.starts[-1] + framing.bucket.frames
    shown: list[Pictures] = []
    for one in media.frames(rate=settings.picture.rate, size=framing.scaled):
        shown.append(np.ascontiguousarray(framing.cut(one.rgb)))
        if len(shown) == wanted:
            break
    return [np.stack(shown[start : start + frames]) for start in framing.starts]


def _frames_at_25(start: int, framing: Framing, settings: CacheSettings) -> NDArray[np.int64]:
    shown = range(start, start + framing.bucket.frames)
    return np.array([frame_at(frame_start_us(k, settings.picture.rate), CLIP_RATE) for k in shown])
