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
    NonNegative,
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
    """One column of the user's own manifest, as text."""

    key: Annotated[Str, "column name"]
    value: Annotated[Str, "value as text"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class SourceSegment:
    """A part of a source that the user's manifest names; clips are cut from these parts only."""

    start_us: Annotated[Us, "start in the source"]
    end_us: Annotated[Us, "end in the source, half-open"]
    x0: Annotated[Share | None, "left edge of the crop, share of the picture width; null = the whole picture"] = None
    y0: Annotated[Share | None, "upper edge, share of the picture height"] = None
    x1: Annotated[Share | None, "right edge"] = None
    y1: Annotated[Share | None, "lower edge"] = None
    columns: Annotated[
        tuple[ManifestColumn, ...], "further columns of the manifest row: speaker, transcript, licence, ..."
    ] = ()

    def __post_init__(self) -> None:
        Span(self.start_us, self.end_us)
        edges = (self.x0, self.y0, self.x1, self.y1)
        if any(edge is None for edge in edges) and any(edge is not None for edge in edges):
            raise ValueError(f"expected four edges of the crop or none, got {edges}")

    @property
    def crop(self) -> tuple[float, float, float, float] | None:
        """(x0, y0, x1, y1) as shares of the picture; None = the whole picture."""
        if self.x0 is None or self.y0 is None or self.x1 is None or self.y1 is None:
            return None
        return self.x0, self.y0, self.x1, self.y1


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class UnusableSegment:
    """A part that the user's manifest names and that does not fit the video; its values are those of the manifest."""

    start_us: Annotated[Us, "start in the source"]
    end_us: Annotated[Us | None, "end in the source; null = to the end of the video"] = None
    crop: Annotated[tuple[Float, ...], "x0, y0, x1, y1 as shares or pixels; none = the whole picture"] = ()
    crop_height: Annotated[Int32 | None, "height of the picture whose pixels the crop counts"] = None
    columns: Annotated[tuple[ManifestColumn, ...], "further columns of the manifest row"] = ()
    message: Annotated[Str, "what was expected, what was found, what to do"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class SourceVideo:
    """One input file: metadata of the container and the result of probing. Time zero is the first video frame."""

    TAG: ClassVar[str] = "source"
    source_id: Annotated[Id, "derived from the content hash; from the path if the file cannot be hashed"]
    path: Annotated[Str, "as given by the user"]
    sha256: Annotated[Sha256 | None, "hash of the file's bytes; null when it could not be read"] = None
    size_bytes: Annotated[Count | None, "file size"] = None
    status: Annotated[ItemStatus, "result for the file"]
    stage: Annotated[Str | None, "step that rejected or failed it"] = None
    reason: Annotated[Str | None, "one word; for unusable files one of MediaReason"] = None
    message: Annotated[Str | None, "what was expected, what was found, what to do"] = None
    duplicate_of: Annotated[Str | None, "path of the byte-identical file that was measured instead"] = None
    manifest_columns: Annotated[tuple[ManifestColumn, ...], "further columns of the user's manifest"] = ()
    segments: Annotated[
        tuple[SourceSegment, ...], "parts that the manifest names, in order, never overlapping; none = the whole video"
    ] = ()

    unusable_segments: Annotated[
        tuple[UnusableSegment, ...], "parts that the manifest names and that do not fit; a video without others fails"
    ] = ()

    analysis_key: Annotated[
        Str | None, "key of the stored analysis that `curate segment` reads; null if the source was not decoded"
    ] = None

    container: Annotated[Str | None, "demuxer name, e.g. 'mov' or 'matroska'"] = None
    duration_us: Annotated[Us | None, "duration of the video that the file contains, from its packet times"] = None
    duration_header_us: Annotated[Us | None, "duration that the container declares"] = None
    video_codec: Annotated[Str | None, "e.g. 'h264'"] = None
    width: Annotated[Int32 | None, Field(gt=0), "width of the upright picture in square pixels"] = None
    height: Annotated[Int32 | None, Field(gt=0), "height of the upright picture in square pixels"] = None
    rotation_deg: Annotated[
        Int16 | None, "clockwise rotation that makes the coded picture upright: 0, 90, 180, 270"
    ] = None
    is_mirrored: Annotated[Bool | None, "whether the picture is mirrored left to right after that rotation"] = None
    fps_num: Annotated[Int32 | None, Field(gt=0), "average frame rate, numerator"] = None
    fps_den: Annotated[Int32 | None, Field(gt=0), "average frame rate, denominator"] = None
    is_vfr: Annotated[Bool | None, "whether frame intervals differ by more than time-base rounding"] = None
    frames_header: Annotated[Count | None, "number of frames that the container declares"] = None
    frames_found: Annotated[Count | None, "number of frame packets in the file, counted without decoding"] = None
    frames_decoded: Annotated[Count | None, "number of frames that decode; null if not counted"] = None
    frames_damaged: Annotated[Count | None, "packets that did not decode and frames flagged corrupt; null as above"] = (
        None
    )
    frames_unordered: Annotated[Count | None, "decoded frames dropped because they start before the previous frame"] = (
        None
    )
    frames_resized: Annotated[
        Count | None, "decoded frames with another shape than the first; they are letterboxed"
    ] = None
    clock_restarts: Annotated[
        Count | None, "number of restarts of the time stamps (joined recordings); the times are continued"
    ] = None
    start_us: Annotated[OffsetUs | None, "container time of the first video frame"] = None
    color_transfer: Annotated[Str | None, "transfer curve of the picture, e.g. 'bt709', 'pq', 'hlg'"] = None
    color_primaries: Annotated[Str | None, "colour primaries of the picture, e.g. 'bt709', 'bt2020'"] = None
    bit_depth: Annotated[Int16 | None, Field(gt=0), "bits per sample of the coded picture"] = None
    is_interlaced: Annotated[Bool | None, "whether the first frame is interlaced; one field of such frames is used"] = (
        None
    )
    pixel_aspect: Annotated[NonNegative | None, "pixel aspect ratio: width / height; null if not stated"] = None
    video_streams: Annotated[Int16 | None, Field(ge=0), "number of video streams, cover pictures not counted"] = None
    video_track: Annotated[Int16 | None, Field(ge=0), "index of the one in use"] = None
    audio_streams: Annotated[Int16 | None, Field(ge=0), "number of audio streams"] = None
    audio_track: Annotated[Int16 | None, Field(ge=0), "index of the one in use"] = None
    audio_codec: Annotated[Str | None, "e.g. 'aac'"] = None
    audio_rate_hz: Annotated[Int32 | None, Field(gt=0), "sampling rate of the audio stream in use"] = None
    audio_channels: Annotated[Int16 | None, Field(gt=0), "channels of the audio stream in use"] = None
    audio_start_us: Annotated[
        OffsetUs | None, "first audio sample relative to the first video frame; positive = late"
    ] = None

    def __post_init__(self) -> None:
        if (self.status == "ok") != (self.reason is None):
            raise ValueError(f"status {self.status!r} contradicts reason {self.reason!r}")
        if (self.fps_num is None) != (self.fps_den is None):
            raise ValueError("fps_num and fps_den must both be set or both be null")

    def segment_at(self, us: int) -> SourceSegment | None:
        """The segment that contains an instant."""
        return next((one for one in self.segments if one.start_us <= us < one.end_us), None)

    def columns_at(self, us: int) -> dict[str, str]:
        """Manifest columns for a clip that starts at an instant: those of its segment, else those of the source."""
        segment = self.segment_at(us)
        return {one.key: one.value for one in (self.manifest_columns if segment is None else segment.columns)}

    @property
    def rate(self) -> FrameRate | None:
        """Average frame rate; None if unknown."""
        return None if self.fps_num is None or self.fps_den is None else FrameRate(self.fps_num, self.fps_den)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class CutScore:
    """Score of one detector for the cut at the start of a shot."""

    detector: Annotated[Str, "name and settings, e.g. 'adaptive@3.5'; 'truth' for a planted cut"]
    score: Annotated[Float, "the detector's own scale"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Shot:
    """One scene of a source: continuous footage between two cuts."""

    TAG: ClassVar[str] = "shot"
    shot_id: Annotated[Id, "derived from source and span"]
    source_id: Annotated[Id, "source it belongs to"]
    start_us: Annotated[Us, "start in the source"]
    end_us: Annotated[Us, "end in the source, half-open"]
    opens_with: Annotated[Literal["start", "cut", "gradual"], "transition before the shot"]
    cut_scores: Annotated[
        tuple[CutScore, ...], "scores of the cut that starts the shot, per detector; empty for the first shot"
    ] = ()

    def __post_init__(self) -> None:
        Span(self.start_us, self.end_us)

    @property
    def span(self) -> Span:
        """Interval in the source."""
        return Span(self.start_us, self.end_us)


SplitName = Literal["train", "val", "test"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Fingerprint of picture and sound changes, 32 bits per frame at 25 fps; copies in any encoding have similar bits.

    Bit k of a word (most significant first) states whether the difference of two neighbouring fields (of the picture,
    or frequency bands of the audio) increased. Null for frames without change or without audio.
    """

    TAG: ClassVar[str] = "fingerprint"
    source_id: Annotated[Id, "source"]
    extractor: Annotated[Str, "method with version; only equal methods are comparable"]
    frames: Annotated[Count, "frames at 25 fps"]
    picture: Annotated[HashWords, "one per frame, empty without video"] = ()
    sound: Annotated[HashWords, "one per frame, empty without audio"] = ()


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """Two sources that share most of the picture or audio of the shorter one, with the evidence."""

    group: Annotated[Id, "smallest source id of the connected component"]
    source_id: Annotated[Id, "source"]
    other_id: Annotated[Id, "source with the same picture or audio"]
    by: Annotated[Literal["picture", "sound"], "what they share: picture or audio"]
    lag_frames: Annotated[Int32, "frame number in the source minus the matching frame number in the other"]
    matched_frames: Annotated[Count, Field(gt=0), "number of matching frames"]
    bit_error: Annotated[Share, "share of differing bits in those frames; 0.5 for unrelated sources"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Split:
    """Dataset split of a clip. All clips of a cluster are in the same split."""

    clip_id: Annotated[Id, "clip"]
    source_id: Annotated[Id, "source"]
    cluster: Annotated[Id, "smallest source id of all sources that share a person or are near duplicates"]
    split: Annotated[SplitName, "train, val or test"]
    identity_by: Annotated[
        Str,
        "method of telling people apart: 'speaker' (manifest column), an identity model with version, or 'source'",
    ]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Timeline:
    """Per-frame measurements of the picture and audio of one source. An empty series was not measured."""

    TAG: ClassVar[str] = "timeline"
    source_id: Annotated[Id, "source"]
    frames: Annotated[Count, "length of every non-empty series"]
    extractor: Annotated[Str, "method with versions"]
    cut_content: Annotated[
        Series, "PySceneDetect's content score relative to the previous frame; 0 in the first frame"
    ] = ()
    cut_jump: Annotated[Series, "luma change from the previous frame, 0..255; widespread change counts most"] = ()
    cut_histogram: Annotated[Series, "distance of the colours a quarter of a second before and after, 0..1"] = ()
    cut_blend: Annotated[Series, "share of the picture that changes evenly over nine frames, as in a dissolve"] = ()
    difference: Annotated[Series, "mean absolute luma difference from the previous frame, 0..255"] = ()
    luma: Annotated[Series, "mean luma, 0..255"] = ()
    letterbox: Annotated[Series, "share of the picture inside uniform bars"] = ()
    camera_x: Annotated[Series, "background motion, picture heights per second, positive = content moves right"] = ()
    camera_y: Annotated[Series, "background motion, picture heights per second, positive = content moves down"] = ()
    burnt_in_text: Annotated[Series, "likelihood of burnt-in text; null for frames that were not analysed"] = ()
    voice: Annotated[Series, "probability of voice activity"] = ()
    voice_detector: Annotated[Str | None, "name and version of the detector of `voice`"] = None
    energy_db: Annotated[Series, "RMS of the frame's 640 samples, dB of full scale; null in digital silence"] = ()
    mouth_open_from_audio: Annotated[Series, "mouth opening predicted from audio, in standard deviations"] = ()
    mouth_width_from_audio: Annotated[Series, "mouth width predicted from audio, in standard deviations"] = ()
    music: Annotated[Series, "likelihood of music"] = ()
    clipped: Annotated[Series, "share of samples at full scale"] = ()
    silent: Annotated[Series, "share of samples that are digital zero"] = ()
    upside_down: Annotated[
        Series,
        "1 where a face is detected more clearly after rotating the picture by 180 degrees; measured every second",
    ] = ()
    damaged: Annotated[Series, "1 in frames that may show artefacts: from a decoding error to the next key frame"] = ()

    def __post_init__(self) -> None:
        check_lengths(self, self.frames)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class FaceTrack:
    """One face tracked over time. Frames without a detection are null; the first and the last frame have one."""

    TAG: ClassVar[str] = "face_track"
    track_id: Annotated[Id, "derived from the source, the first frame and the first box"]
    source_id: Annotated[Id, "source"]
    detector: Annotated[Str, "tracker and models, with versions"]
    start_frame: Annotated[Count, "first frame in the source, at 25 fps"]
    frames: Annotated[Count, Field(gt=0), "length of every non-empty series"]
    x0: Annotated[Series, "left edge of the face"]
    y0: Annotated[Series, "top edge of the face"]
    x1: Annotated[Series, "right edge of the face"]
    y1: Annotated[Series, "bottom edge of the face"]
    yaw_deg: Annotated[Series, "head turn, positive to the subject's left"] = ()
    pitch_deg: Annotated[Series, "head pitch, positive upwards"] = ()
    roll_deg: Annotated[Series, "head tilt, positive to the subject's left shoulder"] = ()
    mouth_open: Annotated[Series, "distance of the inner lips divided by face height, corrected for head pitch"] = ()
    mouth_wide: Annotated[Series, "distance of the mouth corners divided by face height"] = ()
    smile: Annotated[Series, "0..1: mouth corners raised and apart"] = ()
    brow_raise: Annotated[Series, "height of the brows above the eyes divided by face height"] = ()
    eye_left_open: Annotated[Series, "lid distance divided by eye width"] = ()
    eye_right_open: Annotated[Series, "lid distance divided by eye width"] = ()
    gaze_x: Annotated[Series, "-1..1, positive to the subject's left"] = ()
    gaze_y: Annotated[Series, "-1..1, positive upwards"] = ()
    sharpness: Annotated[Series, "variance of the Laplacian over the face at a face height of 128 px, 8-bit luma"] = ()
    visible: Annotated[Series, "share of the face box inside the picture"] = ()
    luma: Annotated[Series, "mean luma of the face, 0..255"] = ()
    blendshapes: Annotated[tuple[Series, ...], "52 MediaPipe blendshapes over time; empty without the model"] = ()
    identity_embedding: Annotated[
        tuple[Float, ...], "identity embedding: similar for one person, independent of expression"
    ] = ()
    identity_model: Annotated[Str | None, "method of `identity_embedding`, with version"] = None

    def __post_init__(self) -> None:
        check_lengths(self, self.frames)


def check_lengths(record: object, frames: int) -> None:
    """Raise ValueError unless every series of a record has `frames` values or none."""
    for name in type(record).__slots__:  # type: ignore[attr-defined]
        series = getattr(record, name)
        checked = isinstance(series, tuple) and name not in ("identity_embedding", "blendshapes")
        if checked and len(series) not in (0, frames):
            raise ValueError(f"{name} has {len(series)} values, expected {frames} or none")
