"""The fingerprint of a cache: all that decides its numbers, in words, so that two that differ can say where.

Pictures and sound are encoded once for all texts, so they have a fingerprint of their own; a new annotation layer costs
new texts only. What the variants are told besides stands apart likewise, and not at all where none asks for it.
"""

from dataclasses import dataclass
from typing import Any

from xsheet.annotate.text.training_text import BLOCKS_VERSION
from xsheet.schemas.ids import content_key
from xsheet.schemas.tables import FEATURES
from xsheet.train.data.conditioning import CONTROL_VERSION
from xsheet.train.data.encoders import Encoders
from xsheet.train.data.settings import CacheSettings

FORMAT = 1  # of the files of tensors: names, shapes, types


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a cache was made of."""

    clips: dict[str, Any]
    texts: dict[str, Any]
    control: dict[str, Any] | None = None

    @property
    def clips_key(self) -> str:
        """Hash over all that decides latents, sound and masks."""
        return content_key("clips", self.clips)

    @property
    def texts_key(self) -> str:
        """Hash over all that decides the texts; they follow the crops."""
        return content_key("texts", self.texts, self.clips["picture"])

    @property
    def control_key(self) -> str | None:
        """Hash over all that decides what variants are told; it follows the crops."""
        return None if self.control is None else content_key("control", self.control, self.clips["picture"])

    @property
    def fingerprint(self) -> str:
        """Hash over all: what the features table keeps."""
        control = () if self.control is None else (self.control_key,)
        return content_key("cache", self.clips_key, self.texts_key, *control)

    @property
    def parts(self) -> dict[str, Any]:
        """What it says, in plain values."""
        said = {"clips": self.clips, "texts": self.texts, "control": self.control}
        return {name: part for name, part in said.items() if part is not None}


def recipe_of(settings: CacheSettings, encoders: Encoders, *, layer: str | None) -> Recipe:
    """The recipe of these settings with these weights.

    Args:
        settings: of the cache.
        encoders: opened, for their fingerprints.
        layer: the layer that was found, as LAYER@RUN.
    """
    written = {"format": FORMAT, "features": list(FEATURES.version), "storage": "float16"}
    return Recipe(
        clips=written
        | {
            "video": encoders.video.fingerprint(),
            "sound": encoders.sound.fingerprint(),
            "values": "uint8 RGB; sound in -1..1",
            "picture": settings.picture.model_dump(mode="json"),
        },
        texts=written
        | {
            "text": encoders.text.fingerprint(),
            "tokens": encoders.text.tokens,
            "layer": layer,
            "blocks_version": BLOCKS_VERSION,
            "said": settings.text.model_dump(mode="json", exclude={"layer"}),
        },
        control=None
        if settings.control is None
        else {"format": FORMAT, "version": CONTROL_VERSION} | settings.control.model_dump(mode="json"),
    )


def differences(wanted: Recipe, found: dict[str, Any]) -> list[str]:
    """What two recipes do not share, as "texts.layer: x, not y"; hashes shortened."""
    ours = _flat(wanted.parts)
    theirs = _flat({part: said for part, said in found.items() if part != "fingerprint"})
    return [
        f"{key}: {_short(theirs.get(key))}, not {_short(ours.get(key))}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]


def _flat(values: dict[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": value}
    return flat


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
