"""Measures, Verdict, Clip, Signals and ClipWords of a candidate; Feature: its row in a training cache.

A candidate is a span of one source with one face track (or none). Its id becomes the clip's id when it is kept.
A measure that was not taken is null: absence is never a number.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from xsheet.schemas.columns import (
    RECORD,
    Bool,
    Count,
    Float,
    Id,
    Int32,
    NonNegative,
    OffsetUs,
    Series,
    Sha256,
    Share,
    Str,
    Us,
)
from xsheet.schemas.source import check_lengths
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE, Span, frame_start_us

Speaker = Literal["only", "active", "listener", "ambiguous"]
"""only: no other face in the span. active: the audio fits this mouth best. listener: it fits another mouth best.
ambiguous: neither."""


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class SyncScore:
    """Agreement of lips and voice over the voiced part of a candidate. Null where it cannot be measured."""

    scorer: Annotated[Str, "name and version; each scorer has its own limits. 'truth' for a planted offset"]
    offset_frames: Annotated[Int32 | None, "frames of 40 ms; positive = the voice is late"] = None
    confidence: Annotated[Float | None, "higher is better; LSE-C for SyncNet"] = None
    margin: Annotated[Float | None, "confidence of the best offset minus that of the next peak"] = None
    distance: Annotated[NonNegative | None, "lower is better; LSE-D for SyncNet"] = None
    windows: Annotated[Count | None, "number of voiced windows used"] = None
    not_measurable: Annotated[Str | None, "reason for a missing offset: short, unvoiced, face_hidden, still, ..."] = (
        None
    )


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class FaceMeasure:
    """The face of the track over the candidate."""

    share_of_frames: Annotated[Share, "share of frames in which the face of the track was found"]
    faces_median: Annotated[NonNegative, "median number of faces in the picture"]
    height_px: Annotated[NonNegative | None, "median face height in source pixels"] = None
    height_share: Annotated[NonNegative | None, "median face height by picture height"] = None
    yaw_abs_deg: Annotated[NonNegative | None, "90th percentile of |yaw|"] = None
    pitch_abs_deg: Annotated[NonNegative | None, "90th percentile of |pitch|"] = None
    sharpness: Annotated[NonNegative | None, "median variance of the Laplacian over the face, 8-bit luma"] = None
    cut_off: Annotated[Share | None, "share of frames in which the picture edge cuts the face"] = None
    luma: Annotated[NonNegative | None, "median mean luma of the face, 0..255"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class PictureMeasure:
    """The whole picture over the candidate."""

    luma_mean: Annotated[NonNegative, "mean luma, 0..255"]
    frozen_share: Annotated[Share, "share of frames in frozen stretches, without any change"]
    letterbox_share: Annotated[Share, "share of the picture area inside uniform bars"]
    camera_motion: Annotated[NonNegative | None, "median global motion, picture heights per second"] = None
    damaged_share: Annotated[Share | None, "share of frames that may show artefacts after a decoding error"] = None
    upside_down_share: Annotated[
        Share | None,
        "share of frames in which a face is detected more clearly after rotating the picture by 180 degrees",
    ] = None
    text_likelihood: Annotated[Share | None, "likelihood of burnt-in text; null if it was not measured"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class SoundMeasure:
    """The sound over the candidate."""

    voice_share: Annotated[Share, "share of time with voice activity"]
    voice_detector: Annotated[Str, "name and version of the voice activity detector"]
    loudness_db: Annotated[Float | None, "RMS level in dB of full scale; null for digital silence"] = None
    snr_db: Annotated[Float | None, "level of voiced minus level of unvoiced stretches"] = None
    clipped_share: Annotated[Share, "share of samples at full scale"]
    silent_share: Annotated[
        Share,
        "share of time with digital silence within speech: between voiced stretches, or while the mouth keeps talking",
    ]
    music_likelihood: Annotated[
        Share | None, "likelihood of music, mean of the frames; null in sets of earlier versions"
    ] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class PartMotion:
    """Amount of motion of one body part."""

    part: Annotated[Str, "head, torso, hand_left, ..."]
    speed_median: Annotated[NonNegative, "shoulder widths per second"]
    speed_p90: Annotated[NonNegative, "shoulder widths per second"]
    visible_share: Annotated[Share, "share of frames in which the part is visible"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Measures:
    """All measurements of one candidate, kept or not."""

    TAG: ClassVar[str] = "measures"
    clip_id: Annotated[Id, "candidate, derived from source, span and track"]
    source_id: Annotated[Id, "source"]
    shot_id: Annotated[Id, "shot it lies in"]
    track_id: Annotated[Id | None, "face track; null where no face was found"] = None
    start_us: Annotated[Us, "start in the source"]
    end_us: Annotated[Us, "end in the source, half-open"]
    sync: Annotated[SyncScore | None, "as found"] = None
    sync_corrected: Annotated[SyncScore | None, "sync score after the audio shift"] = None
    sync_second: Annotated[SyncScore | None, "sync score of the second scorer, if there is one, after the shift"] = None
    face: Annotated[FaceMeasure | None, "face"] = None
    picture: Annotated[PictureMeasure | None, "picture"] = None
    sound: Annotated[SoundMeasure | None, "sound"] = None
    motion: Annotated[tuple[PartMotion, ...], "motion per body part"] = ()
    speaker: Annotated[
        Speaker | None, "whether the face is the speaker, by the sync scores; null without a face track"
    ] = None

    def __post_init__(self) -> None:
        Span(self.start_us, self.end_us)

    @property
    def span(self) -> Span:
        """Span in the source."""
        return Span(self.start_us, self.end_us)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a candidate is kept under one set of limits, with every reason against it."""

    clip_id: Annotated[Id, "candidate"]
    source_id: Annotated[Id, "source"]
    kept: Annotated[Bool, "whether all limits are met"]
    reasons: Annotated[tuple[Str, ...], "all limits that are not met, in the order of the limits"] = ()
    limits_sha256: Annotated[Sha256, "hash of the limits"]

    def __post_init__(self) -> None:
        if self.kept == bool(self.reasons):
            raise ValueError(f"kept={self.kept} does not go with reasons {self.reasons}")


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Clip:
    """A kept candidate as a canonical file: 25 fps H.264 with 16 kHz mono AAC, first time stamp 0."""

    TAG: ClassVar[str] = "clip"
    clip_id: Annotated[Id, "id of the candidate"]
    source_id: Annotated[Id, "source"]
    track_id: Annotated[Id | None, "face track of the speaker"] = None
    start_us: Annotated[Us, "start in the source"]
    end_us: Annotated[Us, "end in the source, half-open"]
    media_path: Annotated[Str, "relative to the set folder, '/' between parts"]
    media_sha256: Annotated[Sha256, "hash of the file's bytes"]
    frames: Annotated[Count, Field(gt=0), "frames at 25 fps"]
    samples: Annotated[Count, "audio samples at 16 kHz; frames × 640, or 0 without audio"]
    width: Annotated[Int32, Field(gt=0), "picture width"]
    height: Annotated[Int32, Field(gt=0), "picture height"]
    audio_shift_us: Annotated[OffsetUs, "shift of the audio; negative = earlier, corrects late audio"] = 0

    def __post_init__(self) -> None:
        Span(self.start_us, self.end_us)
        if self.media_path.startswith("/") or ".." in self.media_path.split("/"):
            raise ValueError(f"media_path must stay inside the set, got {self.media_path!r}")
        if self.samples not in (0, self.frames * AUDIO_RATE.num // CLIP_RATE.num):
            raise ValueError(f"{self.frames} frames go with {self.frames * 640} samples or none, got {self.samples}")

    @property
    def span(self) -> Span:
        """Span in the source."""
        return Span(self.start_us, self.end_us)

    @property
    def duration_us(self) -> int:
        """Duration of the video stream in µs."""
        return frame_start_us(self.frames, CLIP_RATE)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Signals:
    """Per-frame series of one clip at 25 fps, all of the same length. Left and right are the subject's own.

    Angles follow xsheet.demo.puppet.pose: yaw positive to the subject's left, pitch positive upwards, roll positive
    towards the subject's left shoulder. Positions are in picture heights from the top left corner, x to the right, y
    down. An empty series was not measured at all; a null inside one was not visible in that frame.
    """

    TAG: ClassVar[str] = "signals"
    clip_id: Annotated[Id, "clip"]
    frames: Annotated[Count, "length of every non-empty series"]
    extractor: Annotated[Str, "methods with versions; 'truth' for planted series"]
    mouth_open: Annotated[Series, "lip distance by face height, or planted 0..1"] = ()
    mouth_wide: Annotated[Series, "mouth width by face height"] = ()
    smile: Annotated[Series, "0..1"] = ()
    yaw_deg: Annotated[Series, "head turn, degrees"] = ()
    pitch_deg: Annotated[Series, "head nod, degrees"] = ()
    roll_deg: Annotated[Series, "head tilt, degrees"] = ()
    brow_raise: Annotated[Series, "brow height above its rest by face height, or planted 0..1"] = ()
    eye_left_open: Annotated[Series, "lid distance by eye width, or planted 0..1"] = ()
    eye_right_open: Annotated[Series, "lid distance by eye width, or planted 0..1"] = ()
    gaze_x: Annotated[Series, "-1..1, positive to the subject's left"] = ()
    gaze_y: Annotated[Series, "-1..1, positive upwards"] = ()
    head_x: Annotated[Series, "centre of the face, picture heights"] = ()
    head_y: Annotated[Series, "centre of the face, picture heights"] = ()
    head_height: Annotated[Series, "height of the face, picture heights"] = ()
    shoulder_left_x: Annotated[Series, "picture heights"] = ()
    shoulder_left_y: Annotated[Series, "picture heights"] = ()
    shoulder_right_x: Annotated[Series, "picture heights"] = ()
    shoulder_right_y: Annotated[Series, "picture heights"] = ()
    elbow_left_x: Annotated[Series, "picture heights"] = ()
    elbow_left_y: Annotated[Series, "picture heights"] = ()
    elbow_right_x: Annotated[Series, "picture heights"] = ()
    elbow_right_y: Annotated[Series, "picture heights"] = ()
    wrist_left_x: Annotated[Series, "picture heights"] = ()
    wrist_left_y: Annotated[Series, "picture heights"] = ()
    wrist_right_x: Annotated[Series, "picture heights"] = ()
    wrist_right_y: Annotated[Series, "picture heights"] = ()
    face_visible: Annotated[Series, "0..1"] = ()
    hand_left_visible: Annotated[Series, "0..1"] = ()
    hand_right_visible: Annotated[Series, "0..1"] = ()
    hand_left_open: Annotated[Series, "mean extension of the four fingers: 0 = fist, 1 = straight"] = ()
    hand_left_point: Annotated[Series, "0..1, index finger straight and the other three curled"] = ()
    hand_left_pinch: Annotated[Series, "0..1, tips of thumb and index finger together"] = ()
    palm_left_in: Annotated[Series, "unit vector out of the palm: towards the other side of the body"] = ()
    palm_left_up: Annotated[Series, "of that vector: upwards"] = ()
    palm_left_front: Annotated[Series, "of that vector: towards the camera"] = ()
    hand_left_to_face: Annotated[Series, "distance from the face in the picture, face heights; 0 = in front of it"] = ()
    hand_left_to_chest: Annotated[Series, "distance from the chest, a circle of half a face height"] = ()
    hand_right_open: Annotated[Series, "0..1"] = ()
    hand_right_point: Annotated[Series, "0..1"] = ()
    hand_right_pinch: Annotated[Series, "0..1"] = ()
    palm_right_in: Annotated[Series, "-1..1"] = ()
    palm_right_up: Annotated[Series, "-1..1"] = ()
    palm_right_front: Annotated[Series, "-1..1"] = ()
    hand_right_to_face: Annotated[Series, "face heights"] = ()
    hand_right_to_chest: Annotated[Series, "face heights"] = ()
    hands_gap: Annotated[Series, "least distance of the points of both hands, face heights"] = ()
    flow_head: Annotated[Series, "optical flow inside the part, picture heights per second; no annotator reads it"] = ()
    flow_torso: Annotated[Series, "picture heights per second, camera motion removed, as the others"] = ()
    flow_arm_left: Annotated[Series, "picture heights per second"] = ()
    flow_arm_right: Annotated[Series, "picture heights per second"] = ()
    voice: Annotated[Series, "voice activity, 0..1"] = ()
    energy_db: Annotated[Series, "RMS of the frame's 640 samples, dB of full scale"] = ()

    def __post_init__(self) -> None:
        check_lengths(self, self.frames)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class PhoneTime:
    """One speech sound, in µs of the clip, half-open."""

    name: Annotated[Str, "as the aligner writes it; ARPABET without stress for alignments of xsheet"]
    start_us: Annotated[Us, "start in the clip"]
    end_us: Annotated[Us, "end in the clip, half-open"]

    def __post_init__(self) -> None:
        _check_order(self.start_us, self.end_us)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class TranscriptWord:
    """One word of a transcript, in µs of the clip, half-open."""

    text: Annotated[Str, "as the transcript writes it"]
    start_us: Annotated[Us, "start in the clip"]
    end_us: Annotated[Us, "end in the clip, half-open; equal to the start where a recogniser gives it no length"]
    phones: Annotated[tuple[PhoneTime, ...], "phones of the word inside the clip; empty if unknown"] = ()
    pronunciation: Annotated[
        Literal["dictionary", "guessed"] | None,
        "dictionary: listed; guessed: derived from the spelling; null: not aligned by xsheet",
    ] = None

    def __post_init__(self) -> None:
        _check_order(self.start_us, self.end_us)


def _check_order(start_us: int, end_us: int) -> None:
    """Raise ValueError if the end is before the start."""
    if end_us < start_us:
        raise ValueError(f"expected start <= end, got {start_us} and {end_us} µs")


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class ClipWords:
    """The words of one clip with their times; a clip without any transcript has no row."""

    TAG: ClassVar[str] = "clip_words"
    clip_id: Annotated[Id, "clip"]
    status: Annotated[Literal["ok", "failed"], "failed: there is a transcript but no usable times"]
    message: Annotated[Str | None, "message of a failure: what was expected, what was found, what to do"] = None
    origin: Annotated[
        Literal["manifest", "sidecar", "alignment"], "origin of the times: manifest, file, or alignment by xsheet"
    ]
    method: Annotated[Str, "aligner with version and model, or the column or file that holds the times"]
    transcript_sha256: Annotated[Sha256, "hash of the text that was read: the transcript, or the word times"]
    score: Annotated[Float | None, "mean acoustic log score per 10 ms of an alignment; higher is better"] = None
    words: Annotated[tuple[TranscriptWord, ...], "in order of time; all lie inside the clip"] = ()

    def __post_init__(self) -> None:
        if (self.status == "failed") != (self.message is not None):
            raise ValueError(f"status {self.status!r} contradicts message {self.message!r}")


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Feature:
    """One clip in a training cache: location and provenance of its tensors."""

    TAG: ClassVar[str] = "feature"
    clip_id: Annotated[Id, "clip"]
    fingerprint: Annotated[Sha256, "hash of encoders, preprocessing, frame rate, value range and schema"]
    annotation_id: Annotated[Id | None, "annotation whose compiled text was encoded"] = None
    tensor_entry: Annotated[Str, "folder of segment files, relative to the set folder, and key of its tensors there"]
    frames: Annotated[Count, Field(gt=0), "picture frames"]
    latent_frames: Annotated[Count, Field(gt=0), "1 + (frames - 1) / 4"]
    height: Annotated[Int32, Field(gt=0), "picture height, pixels"]
    width: Annotated[Int32, Field(gt=0), "picture width, pixels"]
    text_tokens: Annotated[Int32, Field(ge=0), "tokens of the compiled text"]
    hidden_phases: Annotated[
        Int32, Field(ge=0), "phases of arms and shoulders outside the crop; the text leaves them out"
    ] = 0

    def __post_init__(self) -> None:
        if (self.frames - 1) % 4 or self.latent_frames != 1 + (self.frames - 1) // 4:
            raise ValueError(f"{self.frames} frames do not give {self.latent_frames} latent frames (1 + (T - 1) / 4)")
