"""Gauges: the limits that a set was judged by, each beside the measurement it judges, with words for people."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from xsheet.curate.decide import LIMIT_OF, Judged, failures
from xsheet.curate.verdict_limits import Limits
from xsheet.schemas import tables
from xsheet.schemas.clip import Measures
from xsheet.schemas.document import walk
from xsheet.schemas.manifest import RunManifest
from xsheet.schemas.settings import settings_sha256

_TITLES = {
    "clip.seconds": "length",
    "face.share_of_frames": "frames with the face",
    "face.faces_median": "faces in the picture",
    "face.height_px": "face height",
    "face.height_share": "face height by picture height",
    "face.yaw_abs_deg": "head turn",
    "face.pitch_abs_deg": "head pitch",
    "face.sharpness": "face sharpness",
    "face.cut_off": "face cut by the edge",
    "picture.luma_mean": "brightness",
    "picture.frozen_share": "frozen picture",
    "picture.letterbox_share": "letterbox",
    "picture.camera_motion": "camera motion",
    "picture.text_likelihood": "burnt-in text",
    "sound.voice_share": "voice",
    "sound.silent_share": "digital silence",
    "sound.loudness_db": "loudness",
    "sound.snr_db": "voice over noise",
    "sound.clipped_share": "clipped samples",
    "sound.music_likelihood": "music",
    "abs_offset_frames": "offset, either way",
    "offset_frames": "offset",
    "windows": "voiced windows",
    "speed_p90": "speed",
    "visible_share": "in the picture",
}
_UNITS = {"px": "px", "deg": "°", "db": "dB", "frames": "frames", "seconds": "s", "p90": "widths/s"}
_MEANINGS = {
    "clip.seconds": "length of the candidate",
    "abs_offset_frames": "frames of 40 ms between lips and voice, after the correction where there was one",
    "offset_frames": "frames of 40 ms, after the correction where there was one; positive = the voice is late",
    "speed_p90": "90th percentile, shoulder widths per second",
}


@dataclass(frozen=True, slots=True)
class Gauge:
    """A limit that is set, and what it judges."""

    judged: Judged
    limit: float

    @property
    def text(self) -> str:
        """Such as "≥ 100 px"."""
        return f"{'≥' if self.judged.sense == 'min' else '≤'} {with_unit(self.limit, self.judged.measure)}"

    def headroom(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far values are on the good side of the limit; negative where they fail, NaN where not measured."""
        return values - self.limit if self.judged.sense == "min" else self.limit - values


def gauges(limits: Limits | None) -> tuple[Gauge, ...]:
    """The limits that are set, in the order of the reasons they give."""
    if limits is None:
        return ()
    found = ((judged, judged.value(limits)) for judged in LIMIT_OF)
    return tuple(Gauge(judged, value) for judged, value in found if value is not None)


def reason_order(limits: Limits | None) -> tuple[str, ...]:
    """Every reason that the limits can give, in the order in which a verdict lists them."""
    return () if limits is None else tuple(failures(tables.arrow_schema(tables.MEASURES).empty_table(), limits))


def title_of(path: str) -> str:
    """A measurement in words: 'face height' for 'face.height_px'."""
    name = path.rpartition(".")[2]
    words = _TITLES.get(path) or _TITLES.get(name) or name.replace("_", " ")
    match path.split("."):
        case ["sync", scorer, _]:
            return f"{scorer}: {words}"
        case ["motion", part, _]:
            return f"{part}: {words}"
    return words


def words(reason: str) -> str:
    """A reason of a verdict as people write it."""
    return reason.replace("_", " ")


def unit_of(path: str) -> str:
    """Unit of a measurement as people write it; empty where it has none (shares, scores)."""
    name = path.rpartition(".")[2]
    return "" if name == "share_of_frames" else _UNITS.get(name.rpartition("_")[2], "")


def with_unit(value: float, path: str) -> str:
    """A value of a measurement, such as '0.95', '12.5°' or '210 px'."""
    unit, digits = unit_of(path), f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return digits + unit if unit in ("", "°") else f"{digits} {unit}"


def meaning_of(path: str) -> str:
    """What the contract says of a measurement."""
    section, *_, name = path.split(".")
    told = _MEANINGS.get(path) or _MEANINGS.get(name)
    return told or _contract().get(f"motion[].{name}" if section == "motion" else f"{section}.{name}", "")


@lru_cache
def _contract() -> dict[str, str]:
    return {path: column.meaning for path, column in walk(Measures)}


# ---- which limits


def judging_limits(set_folder: Path) -> Limits | None:
    """The limits whose hash the verdicts carry, from the manifests of the set; None when no manifest has them."""
    for path in tables.part_files(set_folder, tables.VERDICTS):
        hashes = tables.read_file(path, tables.VERDICTS, ["limits_sha256"])["limits_sha256"]
        if len(hashes):
            return next(
                (one for one in _limits_in_manifests(set_folder) if settings_sha256(one) == hashes[0].as_py()), None
            )
    return None


def _limits_in_manifests(set_folder: Path) -> Iterator[Limits]:
    for told in reversed(read_manifests(set_folder)):
        yield from _limits_inside(told.settings)


def _limits_inside(value: Any) -> Iterator[Limits]:
    """Every section of some settings that is a full set of limits, wherever the verb keeps it."""
    if not isinstance(value, dict):
        return
    if set(value) == set(Limits.model_fields):
        try:
            yield Limits.model_validate(value)
        except ValidationError:
            return  # of another version; its hash cannot be that of ours either
    for inside in value.values():
        yield from _limits_inside(inside)


def read_manifests(set_folder: Path) -> tuple[RunManifest, ...]:
    """Manifests of all runs over a set, the earliest first; what is no manifest is left out."""
    found = []
    for path in sorted((set_folder / "manifests").glob("*.json")):
        try:
            found.append(RunManifest.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            continue  # a report shows what it can read; `xsheet schemas check` complains
    return tuple(found)
