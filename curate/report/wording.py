"""Words and numbers for people: names of measurements, units, lengths, text that came from outside."""

from functools import lru_cache

from xsheet.schemas.clip import Measures
from xsheet.schemas.contract import iter_fields

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
_DESCRIPTIONS = {
    "clip.seconds": "length of the candidate",
    "abs_offset_frames": "frames of 40 ms between lips and voice, after the correction where there was one",
    "offset_frames": "frames of 40 ms, after the correction where there was one; positive = the voice is late",
    "speed_p90": "90th percentile, shoulder widths per second",
}


def measurement_title(path: str) -> str:
    """A measurement in words: 'face height' for 'face.height_px'."""
    name = path.rpartition(".")[2]
    words = _TITLES.get(path) or _TITLES.get(name) or name.replace("_", " ")
    match path.split("."):
        case ["sync", scorer, _]:
            return f"{scorer}: {words}"
        case ["motion", part, _]:
            return f"{part}: {words}"
    return words


def reason_text(reason: str) -> str:
    """A reason of a verdict as people write it."""
    return reason.replace("_", " ")


def measurement_unit(path: str) -> str:
    """Unit of a measurement as people write it; empty where it has none (shares, scores)."""
    name = path.rpartition(".")[2]
    return "" if name == "share_of_frames" else _UNITS.get(name.rpartition("_")[2], "")


def format_value(value: float, path: str) -> str:
    """A value of a measurement, such as '0.95', '12.5°' or '210 px'."""
    unit, digits = measurement_unit(path), f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return digits + unit if unit in ("", "°") else f"{digits} {unit}"


def measurement_description(path: str) -> str:
    """What the contract says of a measurement."""
    section, *_, name = path.split(".")
    told = _DESCRIPTIONS.get(path) or _DESCRIPTIONS.get(name)
    return told or _column_descriptions().get(f"motion[].{name}" if section == "motion" else f"{section}.{name}", "")


@lru_cache
def _column_descriptions() -> dict[str, str]:
    return {path: column.description for path, column in iter_fields(Measures)}


def format_duration(seconds: float) -> str:
    """A length in the unit that people would use."""
    if seconds >= 3600 * 100:
        return f"{seconds / 3600:,.0f} h"
    if seconds >= 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"


def printable(text: str) -> str:
    """Text from file names, tags and messages with controls and overrides of the writing direction spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
