"""Source video tables: file facts, shots, fingerprints, splits; per-frame timelines and face tracks."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from xsheet.schemas.columns import (
    RECORD,
    Bool,
    Count,
    Float,
    HashWords,
    Id,
    Int16,
    Int32,
    OffsetUs,
    Series,
    Sha256,
    Share,
    Str,
    Us,
)
from xsheet.schemas.time import FrameRate, Span

ItemStatus = Literal["ok", "rejected", "failed"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class ManifestColumn:
    """A column of the user's own manifest, carried along as text."""

    key: Annotated[Str, "column name"]
    value: Annotated[Str, "value as text"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class SourceVideo:
    """One input file: what its container says, and whether it could be used. Time zero is its first video frame."""

    TAG: ClassVar[str] = "source"
    source_id: Annotated[Id, "derived from the content hash; from the path where there is no content to hash"]
    path: Annotated[Str, "as given by the user"]
    sha256: Annotated[Sha256 | None, "hash of the file's bytes; null when it could not be read"] = None
    size_bytes: Annotated[Count | None, "file size"] = None
    status: Annotated[ItemStatus, "how the file ended"]
    stage: Annotated[Str | None, "step that rejected or failed it"] = None
    reason: Annotated[Str | None, "one word; for unusable files one of MediaReason"] = None
    message: Annotated[Str | None, "what was expected, what came, what to do"] = None
    duplicate_of: Annotated[Str | None, "path of the file with the same bytes that was measured instead"] = None
    manifest_columns: Annotated[tuple[ManifestColumn, ...], "further columns of the user's manifest"] = ()

    container: Annotated[Str | None, "name of the demuxer, e.g. 'mov' or 'matroska'"] = None
    duration_us: Annotated[Us | None, "length of the picture that is really there, from the times of its packets"] = (
        None
    )
    duration_header_us: Annotated[Us | None, "length of the file the container declares"] = None
    video_codec: Annotated[Str | None, "e.g. 'h264'"] = None
    width: Annotated[Int32 | None, Field(gt=0), "upright picture width in square pixels"] = None
    height: Annotated[Int32 | None, Field(gt=0), "upright picture height in square pixels"] = None
    rotation_deg: Annotated[Int16 | None, "clockwise turn that makes the coded picture upright: 0, 90, 180, 270"] = None
    is_mirrored: Annotated[Bool | None, "whether the picture is mirrored left to right after that turn"] = None
    fps_num: Annotated[Int32 | None, Field(gt=0), "average frame rate, numerator"] = None
    fps_den: Annotated[Int32 | None, Field(gt=0), "average frame rate, denominator"] = None
    is_vfr: Annotated[Bool | None, "whether frame steps differ by more than time-base rounding"] = None
    frames_header: Annotated[Count | None, "frames the container declares"] = None
    frames_found: Annotated[Count | None, "frames whose packets are really in the file, counted without decoding"] = (
        None
    )
    frames_decoded: Annotated[Count | None, "frames that really decoded; null when they were not counted"] = None
    start_us: Annotated[OffsetUs | None, "container time of the first video frame"] = None
    audio_streams: Annotated[Int16 | None, Field(ge=0), "number of audio streams; the first is used"] = None
    audio_codec: Annotated[Str | None, "e.g. 'aac'"] = None
    audio_rate_hz: Annotated[Int32 | None, Field(gt=0), "sampling rate of the first audio stream"] = None
    audio_channels: Annotated[Int16 | None, Field(gt=0), "channels of the first audio stream"] = None
    audio_start_us: Annotated[OffsetUs | None, "first audio sample from the first video frame; positive = late"] = None

    def __post_init__(self) -> None:
        if (self.status == "ok") != (self.reason is None):
            raise ValueError(f"status {self.status!r} does not go with reason {self.reason!r}")
        if (self.fps_num is None) != (self.fps_den is None):
            raise ValueError("fps_num and fps_den come together")

    @property
    def rate(self) -> FrameRate | None:
        """Average frame rate, where known."""
        return None if self.fps_num is None or self.fps_den is None else FrameRate(self.fps_num, self.fps_den)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class CutScore:
    """Score of one detector for the cut at the start of a shot."""

    detector: Annotated[Str, "name and settings, e.g. 'adaptive@3.5'; 'truth' for a planted cut"]
    score: Annotated[Float, "the detector's own scale"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Shot:
    """One scene of a source: an unbroken take between two cuts."""

    TAG: ClassVar[str] = "shot"
    shot_id: Annotated[Id, "derived from source and span"]
    source_id: Annotated[Id, "source it belongs to"]
    start_us: Annotated[Us, "start in the source"]
    end_us: Annotated[Us, "end in the source, half-open"]
    opens_with: Annotated[Literal["start", "cut", "gradual"], "what comes before the shot"]
    cut_scores: Annotated[tuple[CutScore, ...], "score of the opening cut per detector; empty at the start"] = ()

    def __post_init__(self) -> None:
        Span(self.start_us, self.end_us)

    @property
    def span(self) -> Span:
        """Span in the source."""
        return Span(self.start_us, self.end_us)


SplitName = Literal["train", "val", "test"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """How picture and sound of a source change, 32 bits a frame at 25 fps; alike in copies, whatever their encoding.

    Bit k of a word (the highest first) tells whether one difference of neighbouring fields (of the picture, or bands of
    the sound) grew. Null where nothing changes or sounds.
    """

    TAG: ClassVar[str] = "fingerprint"
    source_id: Annotated[Id, "source"]
    extractor: Annotated[Str, "what made it, with version; only equal ones can be compared"]
    frames: Annotated[Count, "frames at 25 fps"]
    picture: Annotated[HashWords, "one per frame, empty when there is no picture"] = ()
    sound: Annotated[HashWords, "one per frame, empty when there is no sound"] = ()


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """Two sources that share most of the shorter one's picture or sound, with the evidence."""

    group: Annotated[Id, "smallest source id of all that hang together"]
    source_id: Annotated[Id, "source"]
    other_id: Annotated[Id, "source that shows or sounds the same"]
    by: Annotated[Literal["picture", "sound"], "what they share"]
    lag_frames: Annotated[Int32, "frame of the source less frame of the other that match"]
    matched_frames: Annotated[Count, Field(gt=0), "frames that match"]
    bit_error: Annotated[Share, "share of different bits in those; 0.5 for strangers"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Split:
    """What a clip is for. All clips of a cluster are for the same."""

    clip_id: Annotated[Id, "clip"]
    source_id: Annotated[Id, "source"]
    cluster: Annotated[Id, "smallest source id of all sources that share a person or are near duplicates"]
    split: Annotated[SplitName, "train, val or test"]
    identity_by: Annotated[Str, "what distinguished people: an identity model with version, or 'source'"]


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
    burnt_in_text: Annotated[Series, "likelihood of burnt-in text; null in frames that were not analysed"] = ()
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
        checked = isinstance(series, tuple) and name not in ("identity_embedding", "blendshapes")
        if checked and len(series) not in (0, frames):
            raise ValueError(f"{name} has {len(series)} values, expected {frames} or none")
