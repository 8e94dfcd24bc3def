"""Settings of a training run: a section per part, each beside its owner; presets `tiny` and `wan2.2-ti2v-5b`."""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from xsheet.model.config import PHASE_BINDINGS, ActAvatarConfig, AudioDepthSchedule, PhaseBinding
from xsheet.model.variants import VariantSettings, variant_of
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel
from xsheet.train.data.conditioning import DRIVING_SERIES
from xsheet.train.data.encoders import named_config
from xsheet.train.data.settings import CacheSettings, EncoderSettings, LoaderSettings
from xsheet.train.loop.loop import LoopSettings
from xsheet.train.loop.step import ComputeSettings
from xsheet.train.pretrained import TINY_BASE, avatar_sha256, backbone_sha256
from xsheet.train.stages import StageSettings

if TYPE_CHECKING:
    from xsheet.model.transformer import ActAvatarTransformer


class TrainSettings(StrictModel):
    """A training run of one or more stages."""

    cache: CacheSettings = Field(
        default=CacheSettings(), description="cached features of clips, and the model that they are for"
    )
    loader: LoaderSettings = Field(default=LoaderSettings(), description="batches of cached clips")
    pretrained_backbone: str | None = Field(
        default=None,
        description="pretrained transformer: a folder or .safetensors in Wan's or diffusers' layout; null = "
        "random weights",
    )
    pretrained_avatar: str | None = Field(
        default=None,
        description="trained avatar to start from, with audio, phases and text encoder: the folder of an export, "
        "a .safetensors file of a stage that trained all parts, or tiny-base, which is part of the "
        "package",
    )
    seed: int = Field(
        default=0, ge=0, description="seed of order, noise, σ, crops, flips, dropped conditions and new weights"
    )
    compute: ComputeSettings = Field(
        default=ComputeSettings(), description="how a step is computed: precision, micro-batches, memory"
    )
    loop: LoopSettings = Field(default=LoopSettings(), description="intervals of logs, checkpoints and validation")
    audio_depth_schedule: AudioDepthSchedule = Field(
        default="power", description="strength of the audio residual per block; ActAvatar's schedule"
    )
    phase_binding: tuple[PhaseBinding, ...] = Field(
        default=PHASE_BINDINGS,
        description="how text is bound to phases: table (the paper's vectors), interval (TIE's rotation of "
        "queries and keys by their times), clock (times added to keys and values; our addition); [] ="
        " by the words alone",
    )
    variant: VariantSettings | None = Field(
        default=None, description="a model variant by its `name`; null = ActAvatar's own audio path"
    )
    stages: tuple[StageSettings, ...] = Field(
        min_length=1, description="stages in order; each continues from the previous ones"
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.pretrained_avatar is not None and self.pretrained_backbone is not None:
            raise ValueError("expected pretrained_avatar or pretrained_backbone, got both; an avatar has a backbone")
        if self.pretrained_avatar == TINY_BASE and (self.cache.model, self.cache.encoders) != (
            "tiny",
            EncoderSettings(),
        ):
            raise ValueError(f"expected cache.model tiny with its own encoders for {TINY_BASE}, got others")
        names = self.stage_names
        if len(set(names)) != len(names):
            raise ValueError(f"expected unique names of stages, got {', '.join(names)}")
        cached = self.cache.extra_conditioning
        variant_of(self.variant).check_cache(
            identity_dim=None if cached is None else cached.identity_dim, motion_dim=len(DRIVING_SERIES)
        )
        for stage in self.stages:
            stored = "float32" if stage.lora is None else stage.lora.frozen_dtype
            if stored != "float32" and self.compute.dtype != "bfloat16":
                raise ValueError(
                    f"expected compute.dtype bfloat16 with stages.{stage.name}.lora.frozen_dtype {stored}, "
                    f"got {self.compute.dtype}"
                )
            if stage.trainable_parts == ("phases",) and not {"table", "clock"} & set(self.phase_binding):
                raise ValueError(
                    f"expected table or clock in phase_binding, since stages.{stage.name} trains phases alone, "
                    f"got {', '.join(self.phase_binding)}, which have no weights"
                )
        return self

    @property
    def config_and_class(self) -> "tuple[ActAvatarConfig, type[ActAvatarTransformer]]":
        """Config and class of the model."""
        config = named_config(self.cache.model).model_copy(
            update={
                "audio_depth_schedule": self.audio_depth_schedule,
                "phase_binding": self.phase_binding,
                "frame_rate": float(self.cache.picture.fps),
            }
        )
        return variant_of(self.variant).build_config(config)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages, in order."""
        return tuple(stage.name for stage in self.stages)

    def stage(self, name: str) -> StageSettings:
        """The settings of one stage.

        Raises:
            ConfigError: no stage has this name.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        near = difflib.get_close_matches(name, self.stage_names, n=1, cutoff=0.0)
        raise ConfigError(
            where="stage", expected=f"one of {', '.join(self.stage_names)}", got=repr(name),
            hint=f"did you mean {near[0]!r}?" if near else "name a stage of the settings",
        )  # fmt: skip

    def previous_stages(self, name: str) -> tuple[StageSettings, ...]:
        """The stages before one, in order."""
        return self.stages[: self.stages.index(self.stage(name))]

    def select_stages(self, names: Iterable[str] | None) -> tuple[str, ...]:
        """These stages in the order of the settings; None selects all.

        Raises:
            ConfigError: no stage has one of these names.
        """
        if names is None:
            return self.stage_names
        wanted = {self.stage(name).name for name in names}
        return tuple(name for name in self.stage_names if name in wanted)

    def identity(self, name: str) -> dict[str, Any]:
        """What decides the weights of a stage, besides its clips and initial weights, as plain values.

        Micro-batches, recomputation and workers are left out: they may change between two runs of a stage. The number
        of steps counts only where the learning rate depends on it, so that a stage can be made longer.
        """
        stage = self.stage(name).model_dump(mode="json", exclude={"name"})
        if self.stage(name).optim.lr_schedule == "constant":
            del stage["steps"]
        return {
            "model": self.config_and_class[0].model_dump(mode="json"),
            "variant": None if self.variant is None else self.variant.model_dump(mode="json"),
            "pretrained_backbone": None
            if self.pretrained_backbone is None
            else backbone_sha256(self.pretrained_backbone),
            "pretrained_avatar": None if self.pretrained_avatar is None else avatar_sha256(self.pretrained_avatar),
            "seed": self.seed,
            "loader": self.loader.model_dump(mode="json", include={"batch_size", "mirror_probability"}),
            "compute": self.compute.model_dump(mode="json", include={"dtype", "gradient_sum"}),
            name: stage,
        }
