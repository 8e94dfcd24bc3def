"""A stage by its settings: which parts learn, from which texts, for how long; and which keys those parts are."""

from typing import Literal

from pydantic import Field, model_validator
from torch import Generator, nn

from xsheet.schemas.settings import StrictModel
from xsheet.train.data.settings import ShownSettings
from xsheet.train.loop.lora import LoraSettings, lora_targets, put_in
from xsheet.train.loop.loss import LossSettings
from xsheet.train.loop.model import Learner, part_keys
from xsheet.train.loop.optim import OptimSettings

Part = Literal["base", "audio", "phases", "text"]


class StageSettings(StrictModel):
    """One stage of training."""

    shown: ShownSettings = Field(description="clips and texts")
    trains: tuple[Part, ...] = Field(min_length=1, description="parts whose weights move; all others stay")
    lora: LoraSettings | None = Field(default=None, description="null = whole weights")
    steps: int = Field(ge=1, description="steps of the stage; the paper's 20,000 and 14,000")
    optim: OptimSettings = Field(default=OptimSettings(), description="how weights move")
    loss: LossSettings = Field(default=LossSettings(), description="noise and dropped conditions")

    @model_validator(mode="after")
    def _whole(self) -> "StageSettings":
        if len(set(self.trains)) != len(self.trains):
            raise ValueError("a part stands twice in trains")
        if self.lora is not None and "base" in self.trains:
            raise ValueError("lora stands for the base: remove one of the two")
        return self


def keys_handed_on(learner: Learner, stage: StageSettings) -> frozenset[str]:
    """Keys of a plain learner whose weights the stage changes; low-rank updates are merged into theirs at its end."""
    parts = part_keys(learner)
    keys = frozenset[str]().union(*(parts[part] for part in stage.trains))
    return keys | (
        frozenset(f"transformer.{key}" for key in lora_targets(learner.transformer))
        if stage.lora is not None
        else frozenset()
    )


def freeze_the_rest(learner: Learner, stage: StageSettings, *, rng: Generator) -> None:
    """Let exactly the stage's weights take gradients; with LoRA, put the updates in, which say nothing yet."""
    parts = part_keys(learner)
    trained = frozenset[str]().union(*(parts[part] for part in stage.trains))
    parameters = dict(learner.named_parameters())
    if stage.lora is not None:
        put_in(learner.transformer, stage.lora, rng=rng)  # it freezes everything else, so it must come first
    for key, parameter in parameters.items():
        parameter.requires_grad_(key in trained)


def trained_parameters(learner: nn.Module) -> dict[str, nn.Parameter]:
    """What takes gradients, by key."""
    return {key: parameter for key, parameter in learner.named_parameters() if parameter.requires_grad}
