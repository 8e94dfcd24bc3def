"""The motion prior: a small flow-matching transformer over the motion curves of a set, driven by audio and script.

settings   of a prior: the preset and overrides
motion     audio and a script to series: prior.motion
preview    series as an animated face on a self-contained page

It uses the training loop, cache and phase binding of the avatar; its codec encodes series instead of pictures
(model/encoders/motion.py). Spans without an action in the script get typical motion of the set.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from xsheet.schemas.settings import load_settings
from xsheet.train.settings import TrainSettings


def prior_settings(overrides: Sequence[str] = (), config: Path | None = None) -> TrainSettings:
    """The preset `motion-prior` with overrides."""
    preset = files("xsheet.train") / "presets" / "motion-prior.yaml"
    return load_settings(TrainSettings, preset=preset, config=config, overrides=overrides)
