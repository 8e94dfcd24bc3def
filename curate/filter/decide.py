"""Measures × limits → verdicts: pure, vectorised, nothing is decoded.

Every limit that fails is a reason, in the order of the limits. A measure that a limit needs and that was not taken is a
reason of its own, so nothing is kept because it could not be measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from xsheet.curate.filter.columns import Mask, equals, measured, present, scored_by
from xsheet.curate.filter.limits import Limits
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.tables import VERDICTS, arrow_schema


@dataclass(frozen=True, slots=True)
class Judged:
    """One measure with the limit that judges it. `min`: a value below the limit fails; `max`: a value above it."""

    reason: str
    measure: str  # dotted path that `measured` reads
    limit: str  # dotted path in Limits
    sense: Literal["min", "max"]

    @property
    def section(self) -> str:
        """Section of Limits it belongs to."""
        return self.limit.partition(".")[0]

    @property
    def missing(self) -> str:
        """The reason when the limit is set and the measure is null."""
        return "sync_not_measurable" if self.section == "sync" else f"{self.measure.rpartition('.')[2]}_not_measured"

    def value(self, limits: Limits) -> float | None:
        """The limit, or None where it is not set."""
        at: object = limits
        for name in self.limit.split("."):
            at = getattr(at, name, None)
        return float(at) if isinstance(at, int | float) else None


def _of_scorer(scorer: str) -> tuple[Judged, ...]:
    at = f"sync.{scorer}."
    return (
        Judged("sync_confidence", at + "confidence", at + "min_confidence", "min"),
        Judged("sync_margin", at + "margin", at + "min_margin", "min"),
        Judged("sync_distance", at + "distance", at + "max_distance", "max"),
        Judged("sync_offset", at + "abs_offset_frames", at + "max_abs_offset_frames", "max"),
    )


SCORERS = ("lips", "syncnet")
ABSENT = {
    "face": "no_face",
    "picture": "picture_not_measured",
    "sound": "no_sound",
    "sync": "sync_not_measurable",
    "motion": "motion_not_measured",
}
"""The reason when a candidate has nothing of a section that is judged."""

LIMIT_OF: tuple[Judged, ...] = (
    Judged("face_hidden", "face.share_of_frames", "face.min_share_of_frames", "min"),
    Judged("several_faces", "face.faces_median", "face.max_faces", "max"),
    Judged("face_small", "face.height_px", "face.min_height_px", "min"),
    Judged("face_small", "face.height_share", "face.min_height_share", "min"),
    Judged("face_yaw", "face.yaw_abs_deg", "face.max_yaw_abs_deg", "max"),
    Judged("face_pitch", "face.pitch_abs_deg", "face.max_pitch_abs_deg", "max"),
    Judged("face_blurred", "face.sharpness", "face.min_sharpness", "min"),
    Judged("face_cut_off", "face.cut_off", "face.max_cut_off", "max"),
    Judged("too_short", "clip.seconds", "clip.min_seconds", "min"),
    Judged("too_long", "clip.seconds", "clip.max_seconds", "max"),
    Judged("too_dark", "picture.luma_mean", "picture.min_luma", "min"),
    Judged("too_bright", "picture.luma_mean", "picture.max_luma", "max"),
    Judged("frozen", "picture.frozen_share", "picture.max_frozen_share", "max"),
    Judged("letterbox", "picture.letterbox_share", "picture.max_letterbox_share", "max"),
    Judged("camera_moves", "picture.camera_motion", "picture.max_camera_motion", "max"),
    Judged("burnt_in_text", "picture.text_likelihood", "picture.max_text_likelihood", "max"),
    Judged("little_voice", "sound.voice_share", "sound.min_voice_share", "min"),
    Judged("silent", "sound.silent_share", "sound.max_silent_share", "max"),
    Judged("quiet", "sound.loudness_db", "sound.min_loudness_db", "min"),
    Judged("noisy", "sound.snr_db", "sound.min_snr_db", "min"),
    Judged("clipped", "sound.clipped_share", "sound.max_clipped_share", "max"),
    Judged("music", "sound.music_likelihood", "sound.max_music_likelihood", "max"),
    *(judged for scorer in SCORERS for judged in _of_scorer(scorer)),
    Judged("hands_still", "motion.hands.speed_p90", "motion.min_hands_speed_p90", "min"),
    Judged("hands_unseen", "motion.hands.visible_share", "motion.min_hands_visible_share", "min"),
    Judged("head_still", "motion.head.speed_p90", "motion.min_head_speed_p90", "min"),
)


def decide(measures: pa.Table, limits: Limits) -> pa.Table:
    """Rows of `measures` to rows of `verdicts`, in the same order."""
    found = failures(measures, limits)
    against = np.column_stack([*found.values(), np.zeros((len(measures), 0), dtype=bool)])
    counts = against.sum(axis=1)
    words = pa.array([*found], pa.string()).take(pa.array(np.nonzero(against)[1]))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    schema = arrow_schema(VERDICTS)
    columns = {
        "clip_id": measures["clip_id"],
        "source_id": measures["source_id"],
        "kept": pa.array(counts == 0),
        "reasons": pa.ListArray.from_arrays(pa.array(starts), words, type=schema.field("reasons").type),
        "limits_sha256": pa.repeat(settings_sha256(limits), len(measures)),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def failures(measures: pa.Table, limits: Limits) -> dict[str, Mask]:
    """Each reason that the limits can give, in their order, with the candidates (rows) it stands against."""
    found: dict[str, Mask] = {}
    for reason, against in _failures(measures, limits):
        found[reason] = found[reason] | against if reason in found else against
    return found


def breaches(measures: pa.Table, judged: Judged, limit: float) -> tuple[Mask, Mask]:
    """Candidates whose measure is missing where the limit needs it, and candidates that it fails."""
    values = measured(measures, judged.measure)
    meant = present(measures, judged.section)
    if judged.section == "sync":
        meant &= scored_by(measures, judged.measure.split(".")[1])
    return meant & np.isnan(values), values < limit if judged.sense == "min" else values > limit


def _failures(measures: pa.Table, limits: Limits) -> Iterator[tuple[str, Mask]]:
    for section in Limits.model_fields:
        if getattr(limits, section) is None:
            continue
        if section in ABSENT:
            yield ABSENT[section], ~present(measures, section)
        if limits.face is not None and section == "face" and limits.face.only_speaker:
            yield "not_the_speaker", equals(measures["speaker"], "listener")
            yield "speaker_ambiguous", equals(measures["speaker"], "ambiguous")
        if limits.sync is not None and section == "sync":
            unknown = present(measures, "sync")
            for scorer in SCORERS:
                if getattr(limits.sync, scorer) is not None:
                    unknown &= ~scored_by(measures, scorer)
            yield "sync_scorer_unknown", unknown
        for judged in LIMIT_OF:
            if judged.section == section and (limit := judged.value(limits)) is not None:
                missing, failing = breaches(measures, judged, limit)
                yield judged.missing, missing
                yield judged.reason, failing
