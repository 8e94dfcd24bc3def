"""Settings of a training run: a section per part, each beside its owner; presets `tiny` and `wan2.2-ti2v-5b`."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from xsheet.model.config import ActAvatarConfig, AudioDepthSchedule, PhaseMask
from xsheet.model.transformer import ActAvatarTransformer
from xsheet.model.variants.actalker import ACTalkerSettings
from xsheet.model.variants.fantasy_talking import FantasyTalkingSettings
from xsheet.schemas.settings import StrictModel
from xsheet.train.data.encoders import named_config
from xsheet.train.data.settings import CacheSettings, LoaderSettings
from xsheet.train.loop.loop import LoopSettings
from xsheet.train.loop.step import ComputeSettings
from xsheet.train.stages import StageSettings
from xsheet.train.variants import check_extra_conditioning, variant_model

StageName = Literal["stage1", "stage2"]


class TrainSettings(StrictModel):
    """A training run of two stages."""

    cache: CacheSettings = Field(
        default=CacheSettings(), description="how clips became features; also the model's size"
    )
    loader: LoaderSettings = Field(default=LoaderSettings(), description="how cached clips are shown")
    pretrained_backbone: str | None = Field(
        default=None, description="pretrained transformer: folder or .safetensors, Wan's or diffusers'; null = new"
    )
    seed: int = Field(default=0, ge=0, description="of order, noise, σ, crops, flips, dropped conditions, new weights")
    compute: ComputeSettings = Field(default=ComputeSettings(), description="how a step is computed")
    loop: LoopSettings = Field(default=LoopSettings(), description="when the loop speaks and saves")
    audio_depth_schedule: AudioDepthSchedule = Field(
        default="power", description="how much of the sound each block hears; ActAvatar's schedule"
    )
    phase_mask: PhaseMask = Field(
        default="none", description="ablation: words of a phase are seen only around its time"
    )
    fantasy_talking: FantasyTalkingSettings | None = Field(
        default=None, description="this variant in place of ActAvatar's sound; its loss has lips_only 0.8"
    )
    actalker: ACTalkerSettings | None = Field(default=None, description="the other variant")
    stage1: StageSettings = Field(description="sound, from brief captions")
    stage2: StageSettings = Field(description="everything, from compiled phase blocks")

    @model_validator(mode="after")
    def _check_consistency(self) -> "TrainSettings":
        if self.fantasy_talking is not None and self.actalker is not None:
            raise ValueError("fantasy_talking and actalker stand for the same part of the model: remove one of the two")
        variant = self.fantasy_talking or self.actalker
        if variant is not None:
            check_extra_conditioning(variant, self.cache.extra_conditioning)
        return self

    @property
    def config_and_class(self) -> tuple[ActAvatarConfig, type[ActAvatarTransformer]]:
        """Config and class of the model."""
        size = named_config(self.cache.model)
        size = size.model_copy(
            update={"audio_depth_schedule": self.audio_depth_schedule, "phase_mask": self.phase_mask}
        )
        return variant_model(size, self.fantasy_talking or self.actalker)

    def stage(self, name: StageName) -> StageSettings:
        """The settings of one stage."""
        return self.stage1 if name == "stage1" else self.stage2

    def previous_stages(self, name: StageName) -> dict[StageName, StageSettings]:
        """The stages that a stage builds upon."""
        return {} if name == "stage1" else {"stage1": self.stage1}

    def identity(self, name: StageName) -> dict[str, Any]:
        """What decides the weights of a stage, beside its clips and first weights; plain values, in words.

        Micro-batches, recomputation and workers are not in it: they may change between two runs of a stage. The number
        of steps is only where the learning rate depends on it, so that a stage can be made longer.
        """
        stage = self.stage(name).model_dump(mode="json")
        if self.stage(name).optim.lr_schedule == "constant":
            del stage["steps"]
        return {
            "model": self.config_and_class[0].model_dump(mode="json"),
            "pretrained_base": self.pretrained_backbone is not None,
            "seed": self.seed,
            "data": self.loader.model_dump(mode="json", include={"batch", "mirrored"}),
            "compute": self.compute.model_dump(mode="json", include={"dtype", "add"}),
            name: stage,
        }


def parse_stages(text: str) -> tuple[StageName, ...]:
    """Of "1,2": stage1, stage2; ValueError for anything but 1, 2 and 1,2."""
    known: Mapping[str, tuple[StageName, ...]] = {"1": ("stage1",), "2": ("stage2",), "1,2": ("stage1", "stage2")}
    if text not in known:
        raise ValueError(f"expected 1, 2 or 1,2, got {text!r}")
    return known[text]
