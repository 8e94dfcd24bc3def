"""Timeline and FaceTrack: what one decode of a source measured, frame by frame at 25 fps. Nothing of it is decided yet.

Shots, candidates and verdicts are pure functions of these two, so other thresholds never need another decode.
Positions are in picture heights from the top left corner, x to the right, y down. Left and right are the subject's own.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from xsheet.schemas.columns import RECORD, Count, Float, Id, Series, Str


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Timeline:
    """The whole picture and the sound of one source over time. An empty series was not measured."""

    TAG: ClassVar[str] = "timeline"
    source_id: Annotated[Id, "source"]
    frames: Annotated[Count, "length of every non-empty series"]
    extractor: Annotated[Str, "what measured, with versions"]
    cut_content: Annotated[Series, "PySceneDetect's content score against the frame before; 0 in the first frame"] = ()
    cut_jump: Annotated[Series, "luma change against the frame before, 0..255, spread change counting most"] = ()
    cut_histogram: Annotated[Series, "distance of colours a quarter of a second before and after, 0..1"] = ()
    cut_blend: Annotated[Series, "share of the picture that changes evenly over nine frames, as in a dissolve"] = ()
    difference: Annotated[Series, "mean absolute luma difference to the frame before, 0..255"] = ()
    luma: Annotated[Series, "mean luma, 0..255"] = ()
    letterbox: Annotated[Series, "share of the picture inside uniform bars"] = ()
    camera_x: Annotated[Series, "background motion, picture heights per second, positive = content moves right"] = ()
    camera_y: Annotated[Series, "background motion, picture heights per second, positive = content moves down"] = ()
    burnt_in_text: Annotated[Series, "likelihood of burnt-in text; null in frames that were not looked at"] = ()
    voice: Annotated[Series, "probability of voice activity"] = ()
    voice_detector: Annotated[Str | None, "name and version of what measured `voice`"] = None
    energy_db: Annotated[Series, "RMS of the frame's 640 samples, dB of full scale; null in digital silence"] = ()
    mouth_open_from_audio: Annotated[Series, "mouth opening predicted from the sound, in standard deviations"] = ()
    mouth_width_from_audio: Annotated[Series, "mouth width predicted from the sound, in standard deviations"] = ()
    music: Annotated[Series, "likelihood of music"] = ()
    clipped: Annotated[Series, "share of samples at full scale"] = ()
    silent: Annotated[Series, "share of samples that are digital zero"] = ()

    def __post_init__(self) -> None:
        check_lengths(self, self.frames)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class FaceTrack:
    """One face followed over time. Nulls are frames in which it was not found; the first and the last frame have it."""

    TAG: ClassVar[str] = "face_track"
    track_id: Annotated[Id, "derived from source, first frame and first box"]
    source_id: Annotated[Id, "source"]
    detector: Annotated[Str, "back-end and models, with versions"]
    start_frame: Annotated[Count, "first frame in the source, at 25 fps"]
    frames: Annotated[Count, Field(gt=0), "length of every non-empty series"]
    x0: Annotated[Series, "left edge of the face"]
    y0: Annotated[Series, "upper edge"]
    x1: Annotated[Series, "right edge"]
    y1: Annotated[Series, "lower edge"]
    yaw_deg: Annotated[Series, "head turn, positive to the subject's left"] = ()
    pitch_deg: Annotated[Series, "head pitch, positive upwards"] = ()
    roll_deg: Annotated[Series, "head tilt, positive to the subject's left shoulder"] = ()
    mouth_open: Annotated[Series, "distance of the inner lips by face height, corrected for head pitch"] = ()
    mouth_wide: Annotated[Series, "distance of the mouth corners by face height"] = ()
    smile: Annotated[Series, "0..1: mouth corners raised and apart"] = ()
    brow_raise: Annotated[Series, "height of the brows above the eyes by face height"] = ()
    eye_left_open: Annotated[Series, "lid distance by eye width"] = ()
    eye_right_open: Annotated[Series, "lid distance by eye width"] = ()
    gaze_x: Annotated[Series, "-1..1, positive to the subject's left"] = ()
    gaze_y: Annotated[Series, "-1..1, positive upwards"] = ()
    sharpness: Annotated[Series, "variance of the Laplacian over the face at a face height of 128 px, 8-bit luma"] = ()
    visible: Annotated[Series, "share of the face box inside the picture"] = ()
    blendshapes: Annotated[tuple[Series, ...], "52 MediaPipe blendshapes over time; empty without the model"] = ()
    identity_embedding: Annotated[
        tuple[Float, ...], "numbers that tell one face from another (identity, not expression)"
    ] = ()
    identity_model: Annotated[Str | None, "method that made `identity_embedding`, with version"] = None

    def __post_init__(self) -> None:
        check_lengths(self, self.frames)


def check_lengths(record: object, frames: int) -> None:
    """ValueError unless every series of a record has `frames` values or none."""
    for name in type(record).__slots__:  # type: ignore[attr-defined]
        series = getattr(record, name)
        if (
            isinstance(series, tuple)
            and name not in ("identity_embedding", "blendshapes")
            and len(series) not in (0, frames)
        ):
            raise ValueError(f"{name} has {len(series)} values, expected {frames} or none")
