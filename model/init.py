"""Initial weights of a model trained from scratch, and of the parts that a pretrained backbone lacks."""

from torch import Generator, nn

from xsheet.model.audio import AudioAttention, AudioProjector
from xsheet.model.config import ActAvatarConfig
from xsheet.model.phases import PhaseClock, PhaseTable
from xsheet.model.transformer import ActAvatarBlock, ActAvatarTransformer


def init_transformer(
    config: ActAvatarConfig, *, rng: Generator, kind: type[ActAvatarTransformer] = ActAvatarTransformer
) -> ActAvatarTransformer:
    """Build a model initialised as in Wan's code: Xavier, small embeddings, and an output layer of zeros.

    diffusers keeps torch's defaults, which depend on the global generator and give a non-zero initial output.
    """
    model = kind(**config.model_dump())
    for linear in _linears(model):
        _xavier(linear, rng)
    embedder = model.condition_embedder
    for linear in _linears(embedder.text_embedder) + _linears(embedder.time_embedder):
        nn.init.normal_(linear.weight, std=0.02, generator=rng)
    for module in model.modules():
        if isinstance(module, ActAvatarBlock | ActAvatarTransformer):
            nn.init.normal_(module.scale_shift_table, std=config.hidden_dim**-0.5, generator=rng)
    nn.init.zeros_(model.proj_out.weight)
    init_new_parts(model, rng=rng)
    return model


def init_new_parts(model: ActAvatarTransformer, *, rng: Generator) -> None:
    """Initialise phase bindings and audio path so that the model still equals its backbone at interval strength 0."""
    for module in model.modules():
        if isinstance(module, AudioProjector | AudioAttention):
            for linear in _linears(module):
                _xavier(linear, rng)
        if isinstance(module, AudioAttention):
            nn.init.zeros_(module.to_out.weight)
        if isinstance(module, PhaseTable | PhaseClock):
            nn.init.zeros_(module.weight)
    model.init_conditioning(rng)


def init_linears(root: nn.Module, *, rng: Generator) -> None:
    """Initialise all linear layers of a module: Xavier weights, zero biases."""
    for linear in _linears(root):
        _xavier(linear, rng)


def _linears(root: nn.Module) -> list[nn.Linear | nn.Conv3d]:
    """Return linear layers and patch embeddings (a Conv3d is linear in each patch)."""
    return [module for module in root.modules() if isinstance(module, nn.Linear | nn.Conv3d)]


def _xavier(linear: nn.Linear | nn.Conv3d, rng: Generator) -> None:
    nn.init.xavier_uniform_(linear.weight.data.flatten(1), generator=rng)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
