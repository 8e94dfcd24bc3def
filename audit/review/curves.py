"""Curves: what was measured of a clip, small enough for the page's time axis (below 50 kB for ten seconds)."""

import math
from collections.abc import Iterable
from typing import Any

from xsheet.annotate.motion.curves import MOVING_SPEED, motion_curves, moving_ranges, track_speeds
from xsheet.schemas import vocab
from xsheet.schemas.clip import Signals
from xsheet.schemas.time import CLIP_RATE, frame_start_us

MIN_FRAMES = 5  # a speed is a difference over four frames
DISPLAYED_TRACKS: tuple[vocab.Track, ...] = ("head", "gaze", "brows", "mouth", "face", "torso", "arm_left", "arm_right")


def curves_payload(signals: Signals) -> dict[str, Any]:
    """Voice, level and mouth opening per frame; per track its speed (1 = small deliberate movement) and its onsets."""
    tracks: dict[vocab.Track, dict[str, Any]] = {}
    if signals.frames >= MIN_FRAMES:
        found = track_speeds(motion_curves(signals))
        tracks = {
            track: {
                "speed": _round_values(found[track] / MOVING_SPEED[track]),
                "onsets_us": [
                    frame_start_us(frame, CLIP_RATE)
                    for stretch in moving_ranges(found[track], track=track)
                    for frame in (stretch.start, stretch.stop)
                ],
            }
            for track in DISPLAYED_TRACKS
        }
    return {
        "extractor": signals.extractor,
        "voice_activity": _round_values(signals.voice),
        "level_db": _round_values(signals.energy_db),
        "mouth_open": _round_values(signals.mouth_open),
        "tracks": {track: one for track, one in tracks.items() if any(v is not None for v in one["speed"])},
    }


def _round_values(values: Iterable[float | None]) -> list[float | None]:
    """Three digits are more than a screen shows; what is not known is null."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.3g}") for v in values]
