"""Curves: what was measured of a clip, small enough for the page's time axis (below 50 kB for ten seconds)."""

import math
from collections.abc import Iterable
from typing import Any

from xsheet.annotate.motion.curves import MOVING, course_of, moving, speeds
from xsheet.schemas import vocab
from xsheet.schemas.clip import Signals
from xsheet.schemas.time import CLIP_RATE, frame_start_us

MIN_FRAMES = 5  # a speed is a difference over four frames
SHOWN: tuple[vocab.Track, ...] = ("head", "gaze", "brows", "mouth", "face", "torso", "arm_left", "arm_right")


def curves_of(signals: Signals) -> dict[str, Any]:
    """Voice, level and mouth opening per frame; per track its speed (1 = small deliberate movement) and its onsets."""
    tracks: dict[vocab.Track, dict[str, Any]] = {}
    if signals.frames >= MIN_FRAMES:
        found = speeds(course_of(signals))
        tracks = {
            track: {
                "speed": _short(found[track] / MOVING[track]),
                "edges_us": [
                    frame_start_us(frame, CLIP_RATE)
                    for stretch in moving(found[track], track=track)
                    for frame in (stretch.start, stretch.stop)
                ],
            }
            for track in SHOWN
        }
    return {
        "extractor": signals.extractor,
        "voice": _short(signals.voice),
        "level_db": _short(signals.energy_db),
        "mouth": _short(signals.mouth_open),
        "tracks": {track: one for track, one in tracks.items() if any(v is not None for v in one["speed"])},
    }


def _short(values: Iterable[float | None]) -> list[float | None]:
    """Three digits are more than a screen shows; what is not known is null."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.3g}") for v in values]
