"""First weights of a model that is trained from nothing, and of the parts that a pretrained base does not have."""

from torch import Generator, nn

from xsheet.model.audio import AudioAttention, AudioProjector
from xsheet.model.config import ActAvatarConfig
from xsheet.model.transformer import ActAvatarBlock, ActAvatarTransformer


def init_transformer(
    config: ActAvatarConfig, *, rng: Generator, kind: type[ActAvatarTransformer] = ActAvatarTransformer
) -> ActAvatarTransformer:
    """A model with the first weights of Wan's own code: Xavier, small embeddings, and a last layer that says zero.

    diffusers leaves torch's defaults, which depend on the global generator and let a fresh model say something.
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
    """First weights of the phase table and the audio path, with which the model is still its base."""
    for module in model.modules():
        if isinstance(module, AudioProjector | AudioAttention):
            for linear in _linears(module):
                _xavier(linear, rng)
        if isinstance(module, AudioAttention):
            nn.init.zeros_(module.to_out.weight)
    nn.init.zeros_(model.phase_table.weight)
    model.init_conditioning(rng)


def init_linears(root: nn.Module, *, rng: Generator) -> None:
    """Xavier for every map of a part, zeros for its biases."""
    for linear in _linears(root):
        _xavier(linear, rng)


def _linears(root: nn.Module) -> list[nn.Linear | nn.Conv3d]:
    """The patch embedding counts: each patch goes through it alone."""
    return [module for module in root.modules() if isinstance(module, nn.Linear | nn.Conv3d)]


def _xavier(linear: nn.Linear | nn.Conv3d, rng: Generator) -> None:
    nn.init.xavier_uniform_(linear.weight.data.flatten(1), generator=rng)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
