"""Audio and a script to motion: the series of a person who speaks and acts, without pictures.

    signals = sample_motion(load_prior(run), script, read_audio(file), SampleSettings(steps=25))

T frames, S series.
"""

from pathlib import Path

import numpy as np
import torch

from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.model.config import latent_frames
from xsheet.model.encoders.motion import SPREADS
from xsheet.schemas.clip import Signals
from xsheet.schemas.errors import ConfigError
from xsheet.train.data.motion import motion_series
from xsheet.train.sample.long_sample import LongSample
from xsheet.train.sample.sampler import SampleSettings, TrainedModel, load_trained
from xsheet.train.sample.script import SCRIPT_ID, ActionScript

PRIOR_EXTRACTOR = "motion prior"
PRIOR_SAMPLING = ("steps=25", "guidance.scale=3", "guidance.audio_scale=3")
"""Overrides of SampleSettings for a prior: with the guidance of the avatar its motion overshoots."""


def load_prior(run: Path, *, device: str = "cpu") -> TrainedModel:
    """The last finished stage of a prior; ConfigError if the run trained something else."""
    trained = load_trained(run, device=device)
    if trained.settings.cache.encoders.video != "motion":
        raise ConfigError(
            where=str(run), expected="a run of `xsheet train prior`",
            got=f"a model of {trained.settings.cache.model}", hint="give the folder of a motion prior",
        )  # fmt: skip
    return trained


def prior_spreads(trained: TrainedModel) -> dict[str, float]:
    """Unit of each series of a prior: its usual spread."""
    return {**SPREADS, **trained.settings.cache.encoders.motion_spreads}


def sample_motion(trained: TrainedModel, script: ActionScript, audio: Samples, settings: SampleSettings) -> Signals:
    """Series of the audio at 25 fps, to a whole latent frame.

    Those of train.data.motion.ABSOLUTE aside, they are relative to rest.

    Raises:
        ConfigError: a script that does not fit, or audio without a whole frame.
    """
    if len(audio) < SAMPLES_PER_FRAME:
        raise ConfigError(
            where="the audio", expected="at least one frame of 40 ms", got=f"{len(audio)} samples",
            hint="give longer audio",
        )  # fmt: skip
    lengths = sorted(trained.settings.cache.picture.frame_counts)
    frames = max((n for n in lengths if n <= len(audio) // SAMPLES_PER_FRAME), default=lengths[0])
    everywhere = torch.ones(latent_frames(frames), 1, 1)
    motion_TS = LongSample(
        trained=trained,
        first=np.zeros(len(SPREADS), np.float32),  # at rest, looking ahead
        masks=(everywhere, everywhere),
        frames=frames,
        waveform=audio,
        settings=settings,
    ).sample(script)
    shown = motion_TS[: max(1, len(audio) // SAMPLES_PER_FRAME)]
    series = motion_series(shown)
    return Signals(
        clip_id=SCRIPT_ID, frames=len(shown), extractor=PRIOR_EXTRACTOR,
        **{name: tuple(values.tolist()) for name, values in series.items()},
    )  # fmt: skip
