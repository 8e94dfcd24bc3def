"""Measures × limits → verdicts: pure, vectorised, nothing is decoded.

Every limit that fails is a reason, in the order of the limits. A measure that a limit needs and that was not taken is a
reason of its own, so nothing is kept because it could not be measured.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, where no checker sees them.

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xsheet.curate.filter.columns import Mask, equal_mask, has_scorer, has_section, measure_values, to_mask
from xsheet.curate.filter.limits import FilterLimits, SyncLimits
from xsheet.schemas import tables
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.tables import VERDICTS, arrow_schema
from xsheet.schemas.time import US_PER_S


@dataclass(frozen=True, slots=True)
class FilterRule:
    """One measure with the limit that judges it. `min`: a value below the limit fails; `max`: a value above it."""

    reason: str
    measure_path: str  # dotted path that `measured` reads
    limit_path: str  # dotted path in Limits
    bound: Literal["min", "max"]

    @property
    def section(self) -> str:
        """Section of FilterLimits it belongs to."""
        return self.limit_path.partition(".")[0]

    @property
    def missing_reason(self) -> str:
        """The reason when the limit is set and the measure is null."""
        return (
            "sync_not_measurable" if self.section == "sync" else f"{self.measure_path.rpartition('.')[2]}_not_measured"
        )

    def limit_value(self, limits: FilterLimits) -> float | None:
        """The limit, or None where it is not set."""
        at: object = limits
        for name in self.limit_path.split("."):
            at = getattr(at, name, None)
        return float(at) if isinstance(at, int | float) else None


def _scorer_rules(scorer: str) -> tuple[FilterRule, ...]:
    at = f"sync.{scorer}."
    return (
        FilterRule("sync_confidence", at + "confidence", at + "min_confidence", "min"),
        FilterRule("sync_margin", at + "margin", at + "min_margin", "min"),
        FilterRule("sync_distance", at + "distance", at + "max_distance", "max"),
        FilterRule("sync_offset", at + "abs_offset_frames", at + "max_abs_offset_frames", "max"),
    )


SCORERS = tuple(SyncLimits.model_fields)
ABSENT_SECTION_REASONS = {
    "face": "no_face",
    "picture": "picture_not_measured",
    "sound": "no_sound",
    "sync": "sync_not_measurable",
    "motion": "motion_not_measured",
}
"""The reason when a candidate has nothing of a section that is judged."""

DECISION_COLUMNS = (
    "clip_id", "source_id", "start_us", "end_us", "speaker", "face", "picture", "sound", "sync", "sync_corrected",
    "motion",
)  # fmt: skip
"""Columns of `measures` that a verdict can depend on."""

FILTER_RULES: tuple[FilterRule, ...] = (
    FilterRule("face_hidden", "face.share_of_frames", "face.min_share_of_frames", "min"),
    FilterRule("several_faces", "face.faces_median", "face.max_faces", "max"),
    FilterRule("face_small", "face.height_px", "face.min_height_px", "min"),
    FilterRule("face_small", "face.height_share", "face.min_height_share", "min"),
    FilterRule("face_yaw", "face.yaw_abs_deg", "face.max_yaw_abs_deg", "max"),
    FilterRule("face_pitch", "face.pitch_abs_deg", "face.max_pitch_abs_deg", "max"),
    FilterRule("face_blurred", "face.sharpness", "face.min_sharpness", "min"),
    FilterRule("face_cut_off", "face.cut_off", "face.max_cut_off", "max"),
    FilterRule("too_short", "clip.seconds", "clip.min_seconds", "min"),
    FilterRule("too_long", "clip.seconds", "clip.max_seconds", "max"),
    FilterRule("too_dark", "picture.luma_mean", "picture.min_luma", "min"),
    FilterRule("too_bright", "picture.luma_mean", "picture.max_luma", "max"),
    FilterRule("frozen", "picture.frozen_share", "picture.max_frozen_share", "max"),
    FilterRule("letterbox", "picture.letterbox_share", "picture.max_letterbox_share", "max"),
    FilterRule("camera_moves", "picture.camera_motion", "picture.max_camera_motion", "max"),
    FilterRule("burnt_in_text", "picture.text_likelihood", "picture.max_text_likelihood", "max"),
    FilterRule("little_voice", "sound.voice_share", "sound.min_voice_share", "min"),
    FilterRule("silent", "sound.silent_share", "sound.max_silent_share", "max"),
    FilterRule("quiet", "sound.loudness_db", "sound.min_loudness_db", "min"),
    FilterRule("noisy", "sound.snr_db", "sound.min_snr_db", "min"),
    FilterRule("clipped", "sound.clipped_share", "sound.max_clipped_share", "max"),
    FilterRule("music", "sound.music_likelihood", "sound.max_music_likelihood", "max"),
    *(rule for scorer in SCORERS for rule in _scorer_rules(scorer)),
    FilterRule("hands_still", "motion.hands.speed_p90", "motion.min_hands_speed_p90", "min"),
    FilterRule("hands_not_visible", "motion.hands.visible_share", "motion.min_hands_visible_share", "min"),
    FilterRule("head_still", "motion.head.speed_p90", "motion.min_head_speed_p90", "min"),
)


def decide(measures: pa.Table, limits: FilterLimits) -> pa.Table:
    """Rows of `measures` to rows of `verdicts`, in the same order."""
    found = failure_masks(measures, limits)
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


def failure_masks(measures: pa.Table, limits: FilterLimits) -> dict[str, Mask]:
    """Each reason that the limits can give, in their order, with the candidates (rows) it stands against."""
    found: dict[str, Mask] = {}
    for reason, against in _iter_failure_masks(measures, limits):
        found[reason] = found[reason] | against if reason in found else against
    return found


def rule_masks(measures: pa.Table, rule: FilterRule, limit: float) -> tuple[Mask, Mask]:
    """Candidates whose measure is missing where the limit needs it, and candidates that it fails."""
    values = measure_values(measures, rule.measure_path)
    meant = has_section(measures, rule.section)
    if rule.section == "sync":
        meant &= has_scorer(measures, rule.measure_path.split(".")[1])
    return meant & np.isnan(values), values < limit if rule.bound == "min" else values > limit


def _iter_failure_masks(measures: pa.Table, limits: FilterLimits) -> Iterator[tuple[str, Mask]]:
    for section in FilterLimits.model_fields:
        if getattr(limits, section) is None:
            continue
        if section in ABSENT_SECTION_REASONS:
            yield ABSENT_SECTION_REASONS[section], ~has_section(measures, section)
        if limits.face is not None and section == "face" and limits.face.require_active_speaker:
            yield "not_the_speaker", equal_mask(measures["speaker"], "listener")
            yield "speaker_ambiguous", equal_mask(measures["speaker"], "ambiguous")
        if limits.sync is not None and section == "sync":
            unknown = has_section(measures, "sync")
            for scorer in SCORERS:
                if getattr(limits.sync, scorer) is not None:
                    unknown &= ~has_scorer(measures, scorer)
            yield "sync_scorer_unknown", unknown
        for rule in FILTER_RULES:
            if rule.section == section and (limit := rule.limit_value(limits)) is not None:
                missing, failing = rule_masks(measures, rule, limit)
                yield rule.missing_reason, missing
                yield rule.reason, failing


@dataclass(frozen=True, slots=True)
class ClipTotals:
    """Some candidates: how many, and how long together."""

    clips: int = 0
    duration_us: int = 0

    @property
    def hours(self) -> float:
        """Length for people."""
        return self.duration_us / (3600 * US_PER_S)

    def __add__(self, other: "ClipTotals") -> "ClipTotals":
        return ClipTotals(self.clips + other.clips, self.duration_us + other.duration_us)

    @classmethod
    def of_selection(cls, selected: Mask, lengths_us: NDArray[np.int64]) -> "ClipTotals":
        """The chosen ones among candidates of these lengths."""
        return cls(int(selected.sum()), int(lengths_us[selected].sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSummary:
    """What deciding a set came to, against the verdicts that stood there before."""

    limits_sha256: str
    all: ClipTotals = ClipTotals()
    kept: ClipTotals = ClipTotals()
    newly_kept: ClipTotals = ClipTotals()  # were rejected
    newly_rejected: ClipTotals = ClipTotals()  # were kept
    without_previous_verdict: ClipTotals = ClipTotals()  # had no verdict
    reasons: Mapping[str, int] = field(default_factory=dict)  # candidates per reason; one candidate may have several

    def __add__(self, other: "DecisionSummary") -> "DecisionSummary":
        return DecisionSummary(
            limits_sha256=self.limits_sha256,
            all=self.all + other.all,
            kept=self.kept + other.kept,
            newly_kept=self.newly_kept + other.newly_kept,
            newly_rejected=self.newly_rejected + other.newly_rejected,
            without_previous_verdict=self.without_previous_verdict + other.without_previous_verdict,
            reasons=dict(Counter(self.reasons) + Counter(other.reasons)),
        )


def decide_set(set_folder: Path, limits: FilterLimits) -> DecisionSummary:
    """Replace the table `verdicts` by what these limits say of the table `measures`; one part in memory at a time.

    Raises:
        ContractError: a table that this code does not read.
    """
    before = tables.read_table(set_folder, tables.VERDICTS, ["clip_id", "kept"])
    done = DecisionSummary(limits_sha256=settings_sha256(limits))

    def parts() -> Iterator[pa.Table]:
        nonlocal done
        for measures in measure_parts(set_folder):
            verdicts = decide(measures, limits)
            done += _summarise_changes(measures, verdicts, before, limits_sha256=done.limits_sha256)
            yield verdicts

    tables.write_arrow(set_folder, tables.VERDICTS, parts())
    return done


def measure_parts(set_folder: Path) -> Iterator[pa.Table]:
    """The parts of the table `measures`, with the columns that are judged."""
    for path in tables.part_files(set_folder, tables.MEASURES):
        yield tables.read_file(path, tables.MEASURES, DECISION_COLUMNS)


def lengths_us(measures: pa.Table) -> NDArray[np.int64]:
    """Length of each candidate."""
    lengths: NDArray[np.int64] = pc.subtract(measures["end_us"], measures["start_us"]).to_numpy()
    return lengths


def _summarise_changes(
    measures: pa.Table, verdicts: pa.Table, previous: pa.Table, *, limits_sha256: str
) -> DecisionSummary:
    lengths = lengths_us(measures)
    kept = to_mask(verdicts["kept"])
    place = pc.index_in(measures["clip_id"], value_set=previous["clip_id"].combine_chunks())
    was_kept = to_mask(previous["kept"].take(place))
    is_new = to_mask(place.is_null())
    counted = pc.value_counts(pc.list_flatten(verdicts["reasons"])).to_pylist()
    return DecisionSummary(
        limits_sha256=limits_sha256,
        all=ClipTotals.of_selection(np.ones_like(kept), lengths),
        kept=ClipTotals.of_selection(kept, lengths),
        newly_kept=ClipTotals.of_selection(kept & ~was_kept & ~is_new, lengths),
        newly_rejected=ClipTotals.of_selection(~kept & was_kept, lengths),
        without_previous_verdict=ClipTotals.of_selection(is_new, lengths),
        reasons={entry["values"]: entry["counts"] for entry in counted},
    )
