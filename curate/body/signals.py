"""Signals of a clip: its span of the source's timeline and face track, re-based to frame 0 of the clip."""

from xsheet.curate.series import slice_series
from xsheet.schemas.clip import Measures, Signals
from xsheet.schemas.columns import Series
from xsheet.schemas.source import FaceTrack, Timeline
from xsheet.schemas.time import CLIP_RATE, frames_in

FACE_FIELDS = (
    "mouth_open", "mouth_wide", "smile", "yaw_deg", "pitch_deg", "roll_deg", "brow_raise", "eye_left_open",
    "eye_right_open", "gaze_x", "gaze_y",
)  # fmt: skip


def clip_signals(candidate: Measures, timeline: Timeline, track: FaceTrack | None, *, shift_frames: int) -> Signals:
    """Build the face and sound signals of a clip; `pose` adds the body during export.

    Args:
        candidate: the span in the source.
        timeline: of the same source.
        track: face track of the speaker; None for a clip without a face.
        shift_frames: shift of the clip's sound; negative = earlier.
    """
    frames = frames_in(candidate.span, CLIP_RATE)
    sound_frames = range(frames.start - shift_frames, frames.stop - shift_frames)
    series = {
        "voice": slice_series(timeline.voice, sound_frames),
        "energy_db": slice_series(timeline.energy_db, sound_frames),
    }
    if track is not None:
        track_frames = range(frames.start - track.start_frame, frames.stop - track.start_frame)
        series |= {name: slice_series(getattr(track, name), track_frames) for name in FACE_FIELDS}
        boxes = [slice_series(edge, track_frames) for edge in (track.x0, track.y0, track.x1, track.y1)]
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


def _midpoints(a: Series, b: Series) -> Series:
    return tuple(None if x is None or y is None else (x + y) / 2 for x, y in zip(a, b, strict=True))
