"""Overlay: what was measured in a clip, drawn over its frames and as curves and phases below them.

The picture has the boxes and ids of the face tracks, the face mesh and the joints; the panel has the measured series
and the phases of a layer, with a line at the shown frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.image import Rgb
from xsheet.curate.series import series_to_array, true_runs
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Phase
from xsheet.schemas.clip import Signals
from xsheet.schemas.time import CLIP_RATE, frame_start_us

Colour = tuple[int, int, int]
_PAPER, _BAND, _INK, _SOFT, _LINE = (20, 23, 27), (30, 35, 41), (233, 231, 226), (160, 167, 177), (255, 255, 255)
_OWN, _OTHER, _MESH = (92, 195, 160), (239, 138, 98), (160, 220, 255)
# By body part (palette of Okabe and Ito, distinguishable with colour blindness).
_PART_COLOURS: Final[Mapping[str, Colour]] = {
    "head": (86, 180, 233), "gaze": (111, 159, 224), "brows": (240, 228, 66), "mouth": (204, 121, 167),
    "face": (217, 146, 187), "torso": (31, 174, 133), "arm_left": (230, 159, 0), "arm_right": (229, 121, 58),
    "arms": (230, 159, 0), "hands": (230, 159, 0),
}  # fmt: skip
_CURVES: Final[Mapping[str, tuple[str, str]]] = {  # label: field of Signals, body part of its colour
    "mouth opening": ("mouth_open", "mouth"), "smile": ("smile", "face"), "brows": ("brow_raise", "brows"),
    "head turn": ("yaw_deg", "head"), "head pitch": ("pitch_deg", "head"), "head tilt": ("roll_deg", "head"),
    "gaze": ("gaze_x", "gaze"), "left wrist": ("wrist_left_y", "arm_left"),
    "right wrist": ("wrist_right_y", "arm_right"), "left arm flow": ("flow_arm_left", "arm_left"),
    "right arm flow": ("flow_arm_right", "arm_right"), "voice": ("voice", ""),
}  # fmt: skip
_LIMBS: Final = tuple(
    tuple(f"{joint}_{side}" for joint in ("shoulder", "elbow", "wrist")) for side in ("left", "right")
)
_GUTTER_PX, _CURVE_PX, _BAR_PX, _PAD_PX = 118, 24, 18, 6
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceBox:
    """One face in one frame, in picture heights of the clip."""

    track_id: str
    is_own: bool  # the track that the clip was cut for
    box: tuple[float, float, float, float]  # x0, y0, x1, y1


def draw_picture(
    picture: Rgb, *, frame: int, signals: Signals, boxes: Sequence[FaceBox], meshes: Iterable[NDArray[np.floating]]
) -> Rgb:
    """A copy of a frame with boxes, ids, mesh and joints.

    Args:
        picture: (height, width, 3).
        frame: its number in the clip.
        signals: of the clip.
        boxes: faces in this frame.
        meshes: (N, 3) landmarks of each face found in this picture, pixels.
    """
    shown, height = picture.copy(), picture.shape[0]
    for mesh in meshes:
        for x, y in mesh[:, :2]:
            cv2.circle(shown, (round(float(x)), round(float(y))), 1, _MESH, -1, cv2.LINE_AA)
    for face in boxes:
        colour = _OWN if face.is_own else _OTHER
        x0, y0, x1, y1 = (round(value * height) for value in face.box)
        cv2.rectangle(shown, (x0, y0), (x1, y1), colour, 2)
        _label(shown, face.track_id, (x0, y0 - 5), colour)
    for limb, part in zip(_LIMBS, ("arm_left", "arm_right"), strict=True):
        joints = [xy for name in limb if (xy := _joint(signals, name, frame, height)) is not None]
        for a, b in pairwise(joints):
            cv2.line(shown, a, b, _PART_COLOURS[part], 2, cv2.LINE_AA)
        for joint in joints:
            cv2.circle(shown, joint, 4, _PART_COLOURS[part], -1, cv2.LINE_AA)
    _label(shown, f"frame {frame}  {frame_start_us(frame, CLIP_RATE) / 1e6:.2f} s", (8, 18), _INK)
    return shown


def draw_panel(signals: Signals, phases: Sequence[Phase], *, width: int) -> Rgb:
    """(height, width, 3) curves and phases of a whole clip; `draw_playhead` marks a frame."""
    curves = {
        label: (-values if name.endswith("_y") else values, part)  # positions grow downwards
        for label, (name, part) in _CURVES.items()
        if np.isfinite(values := series_to_array(getattr(signals, name), frames=signals.frames)).any()
    }
    tracks = [track for track in vocab.TRACKS if any(phase.track == track for phase in phases)]
    height = 2 * _PAD_PX + _CURVE_PX * len(curves) + (_BAR_PX + 3) * len(tracks)
    panel = np.full((height + height % 2, width, 3), _PAPER, np.uint8)
    y = _PAD_PX
    for track in tracks:
        _write(panel, track.replace("_", " "), (8, y + 13), _SOFT)
        for phase in phases:
            if phase.track == track:
                _bar(panel, phase, y, frames=signals.frames)
        y += _BAR_PX + 3
    for label, (values, part) in curves.items():
        _curve(panel, values, y, _PART_COLOURS.get(part, _SOFT))
        _write(panel, label, (8, y + 15), _SOFT)
        y += _CURVE_PX
    return panel


def draw_playhead(panel: Rgb, frame: int, *, frames: int) -> Rgb:
    """A copy of the panel with a line at a frame."""
    shown = panel.copy()
    x = _x(frame + 0.5, frames, panel.shape[1])
    cv2.line(shown, (x, 0), (x, panel.shape[0]), _LINE, 1)
    return shown


def _x(frame: float, frames: int, width: int) -> int:
    return _GUTTER_PX + round(frame / max(frames, 1) * (width - _GUTTER_PX - _PAD_PX))


def _bar(panel: Rgb, phase: Phase, y: int, *, frames: int) -> None:
    edges = (us * float(CLIP_RATE) / 1e6 for us in (phase.start_us, phase.end_us))
    x0, x1 = (_x(edge, frames, panel.shape[1]) for edge in edges)
    colour = _PART_COLOURS.get(phase.track, _SOFT)
    cv2.rectangle(panel, (x0, y), (max(x1 - 1, x0), y + _BAR_PX - 1), tuple(c // 2 for c in colour), -1)
    cv2.rectangle(panel, (x0, y), (max(x1 - 1, x0), y + _BAR_PX - 1), colour, 1)
    words = phase.action.replace("_", " ") + {"left": " L", "right": " R", "both": " LR"}.get(phase.laterality, "")
    while words and cv2.getTextSize(words, _FONT, _FONT_SCALE, 1)[0][0] > x1 - x0 - 6:
        words = words[:-1]
    _write(panel, words, (x0 + 4, y + 13), _INK)


def _curve(panel: Rgb, values: NDArray[np.float64], y: int, colour: Colour) -> None:
    """A curve over its own range; unknown values leave a gap."""
    cv2.rectangle(panel, (_GUTTER_PX, y + 1), (panel.shape[1] - _PAD_PX, y + _CURVE_PX - 3), _BAND, -1)
    known = values[np.isfinite(values)]
    low, spread = float(known.min()), max(float(np.ptp(known)), 1e-6)
    for run in true_runs(np.isfinite(values)):
        xs = [_x(k + 0.5, len(values), panel.shape[1]) for k in run]
        ys = [y + _CURVE_PX - 5 - (float(values[k]) - low) / spread * (_CURVE_PX - 9) for k in run]
        points = np.round(np.stack([xs, ys], axis=1)).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(panel, [points], isClosed=False, color=colour, thickness=1, lineType=cv2.LINE_AA)


def _joint(signals: Signals, name: str, frame: int, height: int) -> tuple[int, int] | None:
    xs, ys = getattr(signals, f"{name}_x"), getattr(signals, f"{name}_y")
    if frame >= len(xs) or xs[frame] is None or ys[frame] is None:
        return None
    return round(xs[frame] * height), round(ys[frame] * height)


def _label(picture: Rgb, text: str, place: tuple[int, int], colour: Colour) -> None:
    """Text on a dark ground, moved into the picture."""
    wide, high = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0]
    x, y = min(max(place[0], 2), max(2, picture.shape[1] - wide - 4)), max(place[1], high + 4)
    cv2.rectangle(picture, (x - 2, y - high - 3), (x + wide + 2, y + 4), _PAPER, -1)
    _write(picture, text, (x, y), colour)


def _write(picture: Rgb, text: str, place: tuple[int, int], colour: Colour) -> None:
    cv2.putText(picture, text, place, _FONT, _FONT_SCALE, colour, 1, cv2.LINE_AA)
