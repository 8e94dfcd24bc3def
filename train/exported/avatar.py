"""Classes of the transformer in this folder, for `DiffusionPipeline.from_pretrained`; needs `pip install xsheet`."""

from xsheet.model.transformer import ActAvatarTransformer
from xsheet.model.variants.actalker_network import ACTalkerTransformer
from xsheet.model.variants.fantasy_talking_network import FantasyTalkingTransformer

__all__ = ["ACTalkerTransformer", "ActAvatarTransformer", "FantasyTalkingTransformer"]
