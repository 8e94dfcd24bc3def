"""The motion prior: a small flow-matching transformer over the measured series of a set, driven by audio and script.

settings   of a prior: the preset and overrides
motion     audio and a script to series: prior.motion
preview    series as an animated face in a page of its own

It is trained by the same loop, cache and phase binding as the avatar; its codec encodes series in place of pictures
(model/encoders/motion.py). Stretches of which the script says nothing get the motion that people of the set make.
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
