"""Signals of a clip: the stretch of its source's timeline and face track, on the clip's own clock."""

from xsheet.schemas.clip import Measures, Signals
from xsheet.schemas.columns import Series
from xsheet.schemas.source import FaceTrack, Timeline
from xsheet.schemas.time import CLIP_RATE, frames_in

FACE_FIELDS = (
    "mouth_open", "mouth_wide", "smile", "yaw_deg", "pitch_deg", "roll_deg", "brow_raise", "eye_left_open",
    "eye_right_open", "gaze_x", "gaze_y",
)  # fmt: skip


def clip_signals(candidate: Measures, timeline: Timeline, track: FaceTrack | None, *, shift_frames: int) -> Signals:
    """The face and sound of a clip; its body is followed when it is written.

    Args:
        candidate: the span in the source.
        timeline: of the same source.
        track: of the speaker; None for a clip without a face.
        shift_frames: how far the clip's sound was moved; negative = earlier.
    """
    frames = frames_in(candidate.span, CLIP_RATE)
    heard = range(frames.start - shift_frames, frames.stop - shift_frames)
    series = {"voice": slice_series(timeline.voice, heard), "energy_db": slice_series(timeline.energy_db, heard)}
    if track is not None:
        seen = range(frames.start - track.start_frame, frames.stop - track.start_frame)
        series |= {name: slice_series(getattr(track, name), seen) for name in FACE_FIELDS}
        boxes = [slice_series(edge, seen) for edge in (track.x0, track.y0, track.x1, track.y1)]
        series |= {
            "head_x": _midpoints(boxes[0], boxes[2]),
            "head_y": _midpoints(boxes[1], boxes[3]),
            "head_height": tuple(
                None if a is None or b is None else b - a for a, b in zip(boxes[1], boxes[3], strict=True)
            ),
            "face_visible": tuple(0.0 if x is None else 1.0 for x in boxes[0]),
        }
    extractor = timeline.extractor if track is None else f"{timeline.extractor}; {track.detector}"
    return Signals(clip_id=candidate.clip_id, frames=len(frames), extractor=extractor, **series)


def slice_series(series: Series, frames: range) -> Series:
    """Values of the frames; null before the first and after the last one, empty where nothing was measured."""
    if not series:
        return ()
    return tuple(series[k] if 0 <= k < len(series) else None for k in frames)


def _midpoints(a: Series, b: Series) -> Series:
    return tuple(None if x is None or y is None else (x + y) / 2 for x, y in zip(a, b, strict=True))
