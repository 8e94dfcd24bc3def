"""Variants of the model that the same trainer runs. This module alone lists them.

base              the protocol of a variant, and the plain model
fantasy_talking   FantasyTalking (arXiv 2504.04842): clip or frame audio, identity, motion intensity, mouth loss
actalker          ACTalker (arXiv 2504.02542): parallel scans that audio and motion drive, gates
actalker_network, fantasy_talking_network  networks of the two, apart: settings are read without diffusers
scan              selective state-space scan
"""

from typing import Annotated

from pydantic import Field

from xsheet.model.variants.actalker import ACTalker
from xsheet.model.variants.base import PlainVariant, Variant
from xsheet.model.variants.fantasy_talking import FantasyTalking

VariantSettings = Annotated[FantasyTalking | ACTalker, Field(discriminator="name")]
"""A variant by its `name`."""


def variant_of(settings: FantasyTalking | ACTalker | None) -> Variant:
    """The variant of these settings; None is the plain model."""
    return PlainVariant() if settings is None else settings
