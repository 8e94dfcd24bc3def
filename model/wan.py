"""The one door to diffusers: the classes that ours are built on."""

from importlib.util import find_spec

from xsheet.torchvision_compat import import_torchvision

# diffusers imports peft, peft transformers' models, and those torchvision where it is installed; beside a CPU build of
# torch that fails. This must come first, so it is the one import of ours that does something.
if find_spec("torchvision") is not None:
    import_torchvision()

from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel, WanTransformerBlock

__all__ = ["AutoencoderKLWan", "WanTransformer3DModel", "WanTransformerBlock"]
