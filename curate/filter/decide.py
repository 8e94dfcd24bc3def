"""Decide: measures and limits to verdicts. Pure and vectorised; `decide_set` applies it to a whole set.

Every failed limit is a reason, in the order of the limits. If a limit needs a measure that is missing, that is a reason
too: a candidate is never kept because a measure is missing.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute creates its functions at import, invisible to type checkers.

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel

from xsheet.curate.filter.columns import Mask, equal_mask, has_scorer, has_section, measure_values, to_mask
from xsheet.curate.filter.limits import FilterLimits, SyncLimits
from xsheet.schemas import tables
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.tables import VERDICTS, arrow_schema
from xsheet.schemas.time import US_PER_S


@dataclass(frozen=True, slots=True)
class FilterRule:
    """One limit on one measure. Bound `min`: a value below the limit fails; `max`: a value above it fails."""

    reason: str
    measure_path: str  # path for `measure_values`
    limit_path: str  # path in FilterLimits
    bound: Literal["min", "max"]

    @property
    def section(self) -> str:
        """Section of FilterLimits."""
        return self.limit_path.partition(".")[0]

    @property
    def missing_reason(self) -> str:
        """Reason if the limit is set and the measure is null."""
        return (
            "sync_not_measurable" if self.section == "sync" else f"{self.measure_path.rpartition('.')[2]}_not_measured"
        )

    def limit_value(self, limits: FilterLimits) -> float | None:
        """The limit, or None if not set."""
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
"""Reason if a section sets a limit and a candidate has no measure of that section."""

DECISION_COLUMNS = (
    "clip_id", "source_id", "start_us", "end_us", "speaker", "face", "picture", "sound", "sync", "sync_corrected",
    "sync_second", "motion",
)  # fmt: skip
"""Columns of `measures` that a verdict depends on."""

FILTER_RULES: tuple[FilterRule, ...] = (
    FilterRule("face_hidden", "face.share_of_frames", "face.min_share_of_frames", "min"),
    FilterRule("several_faces", "face.faces_median", "face.max_faces", "max"),
    FilterRule("face_small", "face.height_px", "face.min_height_px", "min"),
    FilterRule("face_small", "face.height_share", "face.min_height_share", "min"),
    FilterRule("face_yaw", "face.yaw_abs_deg", "face.max_yaw_abs_deg", "max"),
    FilterRule("face_pitch", "face.pitch_abs_deg", "face.max_pitch_abs_deg", "max"),
    FilterRule("face_blurred", "face.sharpness", "face.min_sharpness", "min"),
    FilterRule("face_cut_off", "face.cut_off", "face.max_cut_off", "max"),
    FilterRule("too_dark", "face.luma", "face.min_luma", "min"),
    FilterRule("too_short", "clip.seconds", "clip.min_seconds", "min"),
    FilterRule("too_long", "clip.seconds", "clip.max_seconds", "max"),
    FilterRule("too_dark", "picture.luma_mean", "picture.min_luma", "min"),
    FilterRule("too_bright", "picture.luma_mean", "picture.max_luma", "max"),
    FilterRule("decode_errors", "picture.damaged_share", "picture.max_damaged_share", "max"),
    FilterRule("upside_down", "picture.upside_down_share", "picture.max_upside_down_share", "max"),
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
    """Convert rows of `measures` to rows of `verdicts`, in the same order."""
    masks = failure_masks(measures, limits)
    failing = np.column_stack([*masks.values(), np.zeros((len(measures), 0), dtype=bool)])
    counts = failing.sum(axis=1)
    reasons = pa.array([*masks], pa.string()).take(pa.array(np.nonzero(failing)[1]))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    schema = arrow_schema(VERDICTS)
    columns = {
        "clip_id": measures["clip_id"],
        "source_id": measures["source_id"],
        "kept": pa.array(counts == 0),
        "reasons": pa.ListArray.from_arrays(pa.array(starts), reasons, type=schema.field("reasons").type),
        "limits_sha256": pa.repeat(settings_sha256(limits), len(measures)),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def failure_masks(measures: pa.Table, limits: FilterLimits) -> dict[str, Mask]:
    """Each possible reason in the order of the limits, with a mask of the candidates that fail it."""
    masks: dict[str, Mask] = {}
    for reason, failing in _iter_failure_masks(measures, limits):
        masks[reason] = masks[reason] | failing if reason in masks else failing
    return masks


def rule_masks(measures: pa.Table, rule: FilterRule, limit: float) -> tuple[Mask, Mask]:
    """Masks of candidates that lack the measure of a rule, and of candidates that fail it."""
    values = measure_values(measures, rule.measure_path)
    applies = has_section(measures, rule.section)
    if rule.section == "sync":
        applies &= has_scorer(measures, rule.measure_path.split(".")[1])
    return applies & np.isnan(values), values < limit if rule.bound == "min" else values > limit


def _iter_failure_masks(measures: pa.Table, limits: FilterLimits) -> Iterator[tuple[str, Mask]]:
    for section in FilterLimits.model_fields:
        if getattr(limits, section) is None:
            continue
        if section in ABSENT_SECTION_REASONS and _judges(getattr(limits, section)):
            yield ABSENT_SECTION_REASONS[section], ~has_section(measures, section)
        if limits.face is not None and section == "face" and limits.face.require_active_speaker:
            yield "not_the_speaker", equal_mask(measures["speaker"], "listener")
            yield "speaker_ambiguous", equal_mask(measures["speaker"], "ambiguous")
        if limits.sync is not None and section == "sync" and _judges(limits.sync):
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


def _judges(limits: BaseModel) -> bool:
    """Whether a section sets any limit; limits that are null or false are not applied."""
    values = (getattr(limits, name) for name in type(limits).model_fields)
    return any(
        _judges(value) if isinstance(value, BaseModel) else not (value is None or value is False) for value in values
    )


@dataclass(frozen=True, slots=True)
class ClipTotals:
    """Count and total duration of some candidates."""

    clips: int = 0
    duration_us: int = 0

    @property
    def hours(self) -> float:
        """Duration in hours."""
        return self.duration_us / (3600 * US_PER_S)

    def __add__(self, other: "ClipTotals") -> "ClipTotals":
        return ClipTotals(self.clips + other.clips, self.duration_us + other.duration_us)

    @classmethod
    def of_selection(cls, selected: Mask, lengths_us: NDArray[np.int64]) -> "ClipTotals":
        """Totals of the selected candidates."""
        return cls(int(selected.sum()), int(lengths_us[selected].sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSummary:
    """Outcome of `decide_set`, compared with the previous verdicts."""

    limits_sha256: str
    all: ClipTotals = ClipTotals()
    kept: ClipTotals = ClipTotals()
    newly_kept: ClipTotals = ClipTotals()  # rejected before
    newly_rejected: ClipTotals = ClipTotals()  # kept before
    without_previous_verdict: ClipTotals = ClipTotals()  # no verdict before
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
    """Replace the table `verdicts` by verdicts of these limits; one part of `measures` in memory at a time.

    Raises:
        ContractError: a table has another schema version.
    """
    previous = tables.read_table(set_folder, tables.VERDICTS, ["clip_id", "kept"])
    summary = DecisionSummary(limits_sha256=settings_sha256(limits))

    def parts() -> Iterator[pa.Table]:
        nonlocal summary
        for measures in measure_parts(set_folder):
            verdicts = decide(measures, limits)
            before = _previously_kept(measures["clip_id"], previous, first_row=summary.all.clips)
            summary += _summarise_changes(measures, verdicts, *before, limits_sha256=summary.limits_sha256)
            yield verdicts

    tables.write_arrow(set_folder, tables.VERDICTS, parts())
    return summary


def measure_parts(set_folder: Path) -> Iterator[pa.Table]:
    """Yield the parts of the table `measures` with the columns that verdicts depend on."""
    for path in tables.part_files(set_folder, tables.MEASURES):
        yield tables.read_file(path, tables.MEASURES, DECISION_COLUMNS)


def lengths_us(measures: pa.Table) -> NDArray[np.int64]:
    """(rows,) duration of each candidate."""
    lengths: NDArray[np.int64] = pc.subtract(measures["end_us"], measures["start_us"]).to_numpy()
    return lengths


def _previously_kept(clip_ids: pa.ChunkedArray, previous: pa.Table, *, first_row: int) -> tuple[Mask, Mask]:
    """Masks of candidates that previous verdicts kept, and of candidates without one.

    Verdicts have the order of measures, so the rows from `first_row` are tried first: looking up every id of a million
    takes as long as deciding it.
    """
    aligned = previous.slice(first_row, len(clip_ids))
    if aligned["clip_id"].equals(clip_ids):
        return to_mask(aligned["kept"]), np.zeros(len(clip_ids), dtype=bool)
    previous_row = pc.index_in(clip_ids, value_set=previous["clip_id"].combine_chunks())
    return to_mask(previous["kept"].take(previous_row)), to_mask(previous_row.is_null())


def _summarise_changes(
    measures: pa.Table, verdicts: pa.Table, was_kept: Mask, is_new: Mask, *, limits_sha256: str
) -> DecisionSummary:
    lengths = lengths_us(measures)
    kept = to_mask(verdicts["kept"])
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
