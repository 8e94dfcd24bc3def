"""Names, units and descriptions of measurements as readers see them."""

from functools import lru_cache

from xsheet.pages.wording import readable
from xsheet.schemas.clip import Measures
from xsheet.schemas.columns import iter_fields

_TITLES = {
    "clip.seconds": "duration",
    "face.share_of_frames": "frames with the face",
    "face.faces_median": "faces in the picture",
    "face.height_px": "face height",
    "face.height_share": "face height / picture height",
    "face.yaw_abs_deg": "head turn",
    "face.pitch_abs_deg": "head pitch",
    "face.sharpness": "face sharpness",
    "face.cut_off": "face cut by the edge",
    "picture.luma_mean": "brightness",
    "picture.frozen_share": "frozen frames",
    "picture.letterbox_share": "letterbox",
    "picture.camera_motion": "camera motion",
    "picture.text_likelihood": "burnt-in text",
    "sound.voice_share": "voice",
    "sound.silent_share": "digital silence",
    "sound.loudness_db": "loudness",
    "sound.snr_db": "voice-to-noise ratio",
    "sound.clipped_share": "clipped samples",
    "sound.music_likelihood": "music",
    "abs_offset_frames": "absolute offset",
    "offset_frames": "offset",
    "windows": "voiced windows",
    "speed_p90": "speed",
    "visible_share": "visible",
}
_UNITS = {"px": "px", "deg": "°", "db": "dB", "frames": "frames", "seconds": "s", "p90": "widths/s"}
_DESCRIPTIONS = {
    "clip.seconds": "duration of the candidate",
    "abs_offset_frames": "lips against voice in frames of 40 ms, after correction",
    "offset_frames": "frames of 40 ms, after correction; positive: the voice is late",
    "speed_p90": "90th percentile, shoulder widths per second",
}


def measurement_title(path: str) -> str:
    """A measurement in words: 'face height' for 'face.height_px'."""
    name = path.rpartition(".")[2]
    words = _TITLES.get(path) or _TITLES.get(name) or readable(name)
    match path.split("."):
        case ["sync", scorer, _]:
            return f"{readable(scorer)}: {words}"
        case ["motion", part, _]:
            return f"{readable(part)}: {words}"
    return words


def reason_text(reason: str) -> str:
    """A reason of a verdict in words."""
    return readable(reason)


def measurement_unit(path: str) -> str:
    """Unit of a measurement; empty for shares and scores."""
    name = path.rpartition(".")[2]
    return "" if name == "share_of_frames" else _UNITS.get(name.rpartition("_")[2], "")


def format_value(value: float, path: str) -> str:
    """A value with its unit, such as '0.95', '12.5°' or '210 px'."""
    unit, digits = measurement_unit(path), f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return digits + unit if unit in ("", "°") else f"{digits} {unit}"


def measurement_description(path: str) -> str:
    """Description of a measurement in the data contract."""
    section, *_, name = path.split(".")
    description = _DESCRIPTIONS.get(path) or _DESCRIPTIONS.get(name)
    column = f"motion[].{name}" if section == "motion" else f"{section}.{name}"
    return description or _column_descriptions().get(column, "")


@lru_cache
def _column_descriptions() -> dict[str, str]:
    return {path: column.description for path, column in iter_fields(Measures)}
