"""diffusers' custom pipeline of an exported avatar: portrait, audio and script to a video; needs `pip install xsheet`.

pipe = DiffusionPipeline.from_pretrained(FOLDER, custom_pipeline=FOLDER, trust_remote_code=True)
pipe(portrait="ada.png", audio="ada.wav", script="nod.yaml", out="ada.mp4")
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from xsheet.model.conditioning import GuidanceSettings
from xsheet.model.transformer import ActAvatarTransformer
from xsheet.train.exported.load import load_exported
from xsheet.train.sample.sample import SampleFiles, sample
from xsheet.train.sample.sampler import SampleSettings, TrainedModel
from xsheet.train.sample.script import ActionScript
from xsheet.train.sample.script_sources import read_script


class AvatarPipeline(DiffusionPipeline):
    """A portrait that speaks an audio track and performs the timed actions of a script."""

    avatar: ActAvatarTransformer  # set by register_modules
    device: torch.device

    def __init__(self, avatar: ActAvatarTransformer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.register_modules(avatar=avatar)  # type: ignore[attr-defined]
        self._folder = Path(str(avatar.config["_name_or_path"])).parent
        self._trained: TrainedModel | None = None

    def __call__(  # noqa: PLR0913 - diffusers' settings of a pipeline
        self,
        *,
        portrait: str | Path,
        audio: str | Path,
        script: str | Path | Mapping[str, Any],
        out: str | Path,
        num_inference_steps: int = 40,
        guidance_scale: float = 5,
        audio_guidance_scale: float | None = None,
        seed: int = 0,
    ) -> Path:
        """Write a video with its audio and return its path.

        Args:
            portrait: PNG or JPEG, or a video, of which the first frame is taken.
            audio: WAV, or a video with audio.
            script: a file that `xsheet train sample --script` reads, or `{"base": ..., "phases": [...]}`.
            out: .mp4 file to write.
            num_inference_steps: Euler steps.
            guidance_scale: of text, and of audio unless `audio_guidance_scale` is set.
            audio_guidance_scale: of audio alone; costs a third pass.
            seed: of the noise.

        Raises:
            xsheet.schemas.errors.ConfigError: a portrait, audio or script that cannot be used.
        """
        requested = (
            ActionScript.model_validate(dict(script), strict=False)
            if isinstance(script, Mapping)
            else read_script(Path(script))
        )
        files = SampleFiles(portrait=Path(portrait), audio=Path(audio), script=requested, out=Path(out))
        guidance = GuidanceSettings(scale=guidance_scale, audio_scale=audio_guidance_scale)
        settings = SampleSettings(steps=num_inference_steps, guidance=guidance, seed=seed)
        sample(self._on_device(), files, settings)
        return files.out

    def _on_device(self) -> TrainedModel:
        """The model with its encoders, where the pipeline was moved to."""
        trained = self._trained
        if trained is None or trained.device != self.device:
            trained = load_exported(self._folder, transformer=self.avatar, device=str(self.device))
            self._trained = trained
        return trained
