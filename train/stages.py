"""Settings of a stage, and the parameters that it trains."""

from typing import Literal

from pydantic import Field, model_validator
from torch import Generator, nn

from xsheet.schemas.settings import StrictModel
from xsheet.train.data.settings import StageDatasetSettings
from xsheet.train.loop.frozen import store_frozen_layers
from xsheet.train.loop.lora import LoraSettings, add_lora, lora_targets
from xsheet.train.loop.loss import LossSettings
from xsheet.train.loop.model import TrainableModel, part_keys
from xsheet.train.loop.optim import OptimSettings

ModelPart = Literal["backbone", "audio", "phases", "text"]


class StrengthRamp(StrictModel):
    """Strength of the interval binding over a stage: from `start` to `end` in `steps`, then `end`."""

    start: float = Field(default=1, ge=0, le=1, description="strength at step 0; 0 = the plain backbone, bit for bit")
    end: float = Field(default=1, ge=0, le=1, description="strength after the ramp; 1 = the published form")
    steps: int = Field(default=0, ge=0, description="steps of the ramp; our choice, TIE's is unpublished")

    def at(self, step: int) -> float:
        """Strength at a step."""
        share = 1.0 if step >= self.steps else step / self.steps
        return self.start + share * (self.end - self.start)


class StageSettings(StrictModel):
    """One stage of training."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_-]{0,39}$",
        description="name of the stage and of its folder in the run; `--set stages.NAME.steps=5000`",
    )
    dataset: StageDatasetSettings = Field(description="clips and texts of the stage")
    trainable_parts: tuple[ModelPart, ...] = Field(
        min_length=1, description="parts of the model that are trained; all others are frozen"
    )
    lora: LoraSettings | None = Field(default=None, description="low-rank updates; null = full weights")
    steps: int = Field(ge=1, description="steps of the stage; the paper has 20,000 and 14,000")
    optim: OptimSettings = Field(default=OptimSettings(), description="optimizer")
    loss: LossSettings = Field(default=LossSettings(), description="distribution of σ, and dropped conditions")
    interval_strength: StrengthRamp = Field(
        default=StrengthRamp(),
        description="strength of the interval binding; start at 0 for a pretrained backbone that was trained "
        "without it",
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> "StageSettings":
        if len(set(self.trainable_parts)) != len(self.trainable_parts):
            raise ValueError(f"expected each part once in trainable_parts, got {', '.join(self.trainable_parts)}")
        if self.lora is not None and "backbone" in self.trainable_parts:
            raise ValueError("expected lora or the backbone in trainable_parts, got both")
        return self


def stage_weight_keys(model: TrainableModel, stage: StageSettings) -> frozenset[str]:
    """Keys of a plain model whose weights the stage changes; merged low-rank updates included."""
    parts = part_keys(model)
    keys = frozenset[str]().union(*(parts[part] for part in stage.trainable_parts))
    return keys | (
        frozenset(f"transformer.{key}" for key in lora_targets(model.transformer, stage.lora))
        if stage.lora is not None
        else frozenset()
    )


def set_trainable(model: TrainableModel, stage: StageSettings, *, rng: Generator) -> None:
    """Enable gradients for exactly the stage's weights; with LoRA, insert updates that start at zero."""
    parts = part_keys(model)
    trained = frozenset[str]().union(*(parts[part] for part in stage.trainable_parts))
    parameters = dict(model.named_parameters())
    if stage.lora is not None:
        add_lora(model.transformer, stage.lora, rng=rng)  # it freezes everything else, so it must come first
    for key, parameter in parameters.items():
        parameter.requires_grad_(key in trained)
    if stage.lora is not None:
        store_frozen_layers(model.transformer, stage.lora.frozen_dtype)


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters with gradients, by key."""
    return {key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad}
