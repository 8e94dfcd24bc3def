"""The fingerprint of a cache: everything that affects its values, as plain values that can be compared.

Pictures and audio are encoded once for all texts, so they have a separate fingerprint: for a new annotation layer only
texts are encoded. Extra conditioning is separate too, and absent if no variant needs it.
"""

from dataclasses import dataclass
from typing import Any

from xsheet.annotate.text.training_text import TRAINING_TEXT_VERSION
from xsheet.schemas.ids import content_key
from xsheet.schemas.tables import FEATURES
from xsheet.train.data.conditioning import EXTRA_CONDITIONING_VERSION
from xsheet.train.data.encoders import Encoders
from xsheet.train.data.settings import CacheSettings
from xsheet.train.data.visibility import HIDING_VERSION

FORMAT = 1  # of the files of tensors: names, shapes, types


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """Sources and settings of a cache."""

    clips: dict[str, Any]
    texts: dict[str, Any]
    extra_conditioning: dict[str, Any] | None = None

    @property
    def clips_key(self) -> str:
        """Hash of what decides latents, audio and masks."""
        return content_key("clips", self.clips)

    @property
    def texts_key(self) -> str:
        """Hash of what decides the texts; they depend on the crops."""
        return content_key("texts", self.texts, self.clips["picture"])

    @property
    def extra_conditioning_key(self) -> str | None:
        """Hash of what decides the extra conditioning; it depends on the crops."""
        return (
            None
            if self.extra_conditioning is None
            else content_key("extra_conditioning", self.extra_conditioning, self.clips["picture"])
        )

    @property
    def fingerprint(self) -> str:
        """Hash of the whole spec, as the features table keeps it."""
        control = () if self.extra_conditioning is None else (self.extra_conditioning_key,)
        return content_key("cache", self.clips_key, self.texts_key, *control)

    @property
    def sections(self) -> dict[str, Any]:
        """The spec as plain values."""
        sections = {"clips": self.clips, "texts": self.texts, "extra_conditioning": self.extra_conditioning}
        return {name: part for name, part in sections.items() if part is not None}


def cache_spec(settings: CacheSettings, encoders: Encoders, *, layer: str | None) -> CacheSpec:
    """The spec of these settings with these encoders.

    Args:
        settings: of the cache.
        encoders: opened, for their fingerprints.
        layer: the layer that was found, as LAYER@RUN.
    """
    written = {"format": FORMAT, "features": list(FEATURES.version), "storage": "float16"}
    return CacheSpec(
        clips=written
        | {
            "video": encoders.video.fingerprint(),
            "audio": encoders.audio.fingerprint(),
            "values": "uint8 RGB; sound in -1..1",
            "picture": settings.picture.model_dump(mode="json"),
        },
        texts=written
        | {
            "text": encoders.text.fingerprint(),
            "tokens": encoders.text.max_tokens,
            "layer": layer,
            "blocks_version": TRAINING_TEXT_VERSION,
            "hiding_version": HIDING_VERSION,
            "settings": settings.text.model_dump(mode="json", exclude={"layer"}),
        },
        extra_conditioning=None
        if settings.extra_conditioning is None
        else {"format": FORMAT, "version": EXTRA_CONDITIONING_VERSION}
        | settings.extra_conditioning.model_dump(mode="json"),
    )


def spec_differences(wanted_spec: CacheSpec, found: dict[str, Any]) -> list[str]:
    """Differences of two specs, as "texts.layer: x, not y"; hashes shortened."""
    ours = _flatten(wanted_spec.sections)
    theirs = _flatten({part: sections for part, sections in found.items() if part != "fingerprint"})
    return [
        f"{key}: {_shorten(theirs.get(key))}, not {_shorten(ours.get(key))}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]


def _flatten(values: dict[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": value}
    return flat


def _shorten(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
