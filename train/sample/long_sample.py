"""One video or motion of any length from a first frame, audio and a script, in windows.

    shown = LongSample(trained=trained, first=picture, masks=masks, frames=33, waveform=audio, settings=settings)
    pictures = shown.sample(script)

T frames, F latent frames, H x W latent cells; a frame is a picture (H, W, 3), or a row of series (S,) for a prior.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsheet.annotate.text.training_text import clip_annotation
from xsheet.curate.media.audio import Samples
from xsheet.model.config import FRAMES_PER_LATENT
from xsheet.model.flow import History
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.time import AUDIO_RATE, US_PER_S, Span, frame_start_us
from xsheet.train.data.settings import PictureEncodingSettings
from xsheet.train.data.texts import TokenizedText, tokenize_script
from xsheet.train.sample.sampler import SampleRequest, SampleSettings, TrainedModel
from xsheet.train.sample.script import ActionScript
from xsheet.train.sample.windows import append_window, plan_windows

log = logging.getLogger(__name__)

Frames = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LongSample:
    """What every window shares."""

    trained: TrainedModel
    first: Frames  # frame 0, as training saw its clips
    masks: tuple[Tensor, Tensor]  # share of latent cells that face and mouth cover, (F, H, W) each
    frames: int  # of a window
    waveform: Samples
    settings: SampleSettings
    identity_X: Tensor | None = None
    read_motion: Callable[[int], Tensor] | None = None  # frames -> (frames, S) of a driver
    on_progress: Callable[[float], None] | None = None  # called with the share of steps done

    def sample(self, script: ActionScript) -> Frames:
        """Frames of the whole audio, decoded."""
        window, annotation = self.settings.window, self._annotation(script)
        starts = self.starts(script)
        texts = self._texts(annotation, starts)
        motion_TX = None if self.read_motion is None else self.read_motion(starts[-1] + self.frames)
        request = self._request(self.first, texts[0], 0, motion_TX, name="sample")
        latents = self._window(request, history=None, place=(0, len(starts)))
        shown = self.trained.decode(latents[0])
        began_s = time.monotonic()
        for k, (before, start) in enumerate(pairwise(starts), start=1):
            kept = 1 + (start - before) // FRAMES_PER_LATENT
            history = History(latent_BCKHW=latents[:, :, kept : kept + window.overlap], sigma=window.history_sigma)
            first = self.first if window.reference == "portrait" else shown[start]
            request = self._request(first, texts[k], start, motion_TX, name=f"sample-{k}")
            latents = self._window(request, history=history, place=(k, len(starts)))
            shown = append_window(shown, self.trained.decode(latents[0]), start=start, overlap=window.overlap)
            left_s = (time.monotonic() - began_s) / k * (len(starts) - 1 - k)
            log.info("window %d of %d, %s left", k + 1, len(starts), timedelta(seconds=round(left_s)))
        return shown[: self._total]

    def starts(self, script: ActionScript) -> tuple[int, ...]:
        """First frame of each window."""
        if self._total == self.frames:
            return (0,)
        rate = self._picture.rate
        actions = [
            (phase.start_us * rate.num / US_PER_S, phase.end_us * rate.num / US_PER_S)
            for phase in self._annotation(script).phases
        ]
        return plan_windows(self._total, frames=self.frames, overlap=self.settings.window.overlap, actions=actions)

    def _annotation(self, script: ActionScript) -> Annotation:
        length_us = max(
            frame_start_us(self._total, self._picture.rate), len(self.waveform) * US_PER_S // AUDIO_RATE.num
        )
        return script.annotation(length_us, where="the script")

    @property
    def _total(self) -> int:
        """Frames of the video: whole latent frames of the audio, and at least a window."""
        audio_frames = len(self.waveform) // self._picture.samples_per_frame
        return max(self.frames, 1 + (audio_frames - 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT)

    @property
    def _picture(self) -> PictureEncodingSettings:
        return self.trained.settings.cache.picture

    def _texts(self, annotation: Annotation, starts: Sequence[int]) -> list[TokenizedText]:
        """Text of each window; logs them, and once what differs from the script."""
        cached, texts, changes = self.trained.settings.cache, list[TokenizedText](), dict[str, None]()
        for start in starts:
            end_us = frame_start_us(start + self.frames, self._picture.rate)
            text, changed = tokenize_script(
                clip_annotation(annotation, Span(frame_start_us(start, self._picture.rate), end_us)),
                form=self.trained.settings.stage(self.trained.stage).dataset.text,
                encoder=self.trained.encoders.text,
                policy=cached.text.blocks,
                rate=self._picture.rate,
                max_blocks=self.trained.model.transformer.model_config.max_phases,
                where="the script",
            )
            log.info("text: %s", text.text)
            texts.append(text)
            changes |= dict.fromkeys(changed)
        for change in changes:
            log.warning("%s", change)
        return texts

    def _window(self, request: SampleRequest, *, history: History | None, place: tuple[int, int]) -> Tensor:
        """Latents of one window, (1, C, F, H, W); `place` is its number, from 0, and the number of windows."""
        k, count = place

        def on_step(step: int) -> None:
            if self.on_progress is not None:
                self.on_progress((k + step / self.settings.steps) / count)

        return self.trained.sample_latents([request], self.settings, history=history, on_step=on_step)

    def _request(
        self, first: Frames, text: TokenizedText, start: int, motion_TX: Tensor | None, *, name: str
    ) -> SampleRequest:
        encoders, per_frame = self.trained.encoders, self._picture.samples_per_frame
        waveform = pad_or_trim(self.waveform[start * per_frame :], self.frames * per_frame)
        audio_TLQ = encoders.audio.encode(torch.from_numpy(waveform)[None], samples_per_frame=per_frame)[0]
        latent = encoders.video.encode(torch.from_numpy(np.ascontiguousarray(first))[None, None])[0]
        return SampleRequest(
            name=name,
            first_C1HW=latent.cpu(),
            audio_TLQ=audio_TLQ[: self.frames].cpu(),
            text=text,
            face_FHW=self.masks[0],
            mouth_FHW=self.masks[1],
            identity_X=self.identity_X,
            motion_TX=None if motion_TX is None else motion_TX[start : start + self.frames],
        )


def pad_or_trim(waveform: Samples, length: int) -> Samples:
    """Trim, or pad with silence."""
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))
