"""Chance-corrected agreement: Cohen's kappa per frame, Krippendorff's unitizing alpha, and overlap-linked kappa.

Alpha follows Krippendorff et al. (2016) and Krippendorff, Content Analysis (4th ed., 2019, section 12.6): all clips of
a track form one continuum, a gap between phases is a separate value, and lengths of intersections are counted, in
frames of 40 ms. Linked kappa follows Holle and Rein, EasyDIAg (2015): phases are linked if they overlap by 60 % of the
longer one; every phase counts once, unlinked ones against the class "none".
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.bootstrap import Floats, safe_ratio, sum_by_clip, sum_by_clip_and_column
from xsheet.audit.agreement.matching import PhasePairs, overlapping_pairs
from xsheet.audit.agreement.phase_arrays import ACTION_COUNT, TRACK_COUNT, PhaseArrays
from xsheet.schemas.time import CLIP_RATE, frame_start_us

FRAME_US = float(frame_start_us(1, CLIP_RATE))


def overlap_length_sums(annotators: Sequence[PhaseArrays]) -> dict[str, csr_array]:
    """Lengths per clip, in frames, that kappa and alpha follow from; row k of every annotator is the same clip.

    clip_frames (1): the clip. annotated_frames<i> (tracks × actions): phases of annotator i. squared_lengths (tracks ×
    actions): squared phase lengths of all annotators. overlap_frames, same_class_frames (tracks): frames that two
    annotators cover, and cover with the same class, summed over pairs.
    """
    clips, classes = annotators[0].annotation_count, TRACK_COUNT * ACTION_COUNT
    clip_index = np.arange(clips)
    sums = {"clip_frames": sum_by_clip(clips, (clip_index, annotators[0].duration_us / FRAME_US))}
    squares = csr_array((clips, classes))
    for i, one in enumerate(annotators):
        end_us = np.minimum(
            one.end_us, one.duration_us[one.annotation_index]
        )  # a phase may end half a frame behind the clip
        length, column = (end_us - one.start_us) / FRAME_US, one.track * ACTION_COUNT + one.action
        sums[f"annotated_frames{i}"] = sum_by_clip_and_column(
            one.annotation_index, column, length, shape=(clips, classes)
        )
        squares = squares + sum_by_clip_and_column(one.annotation_index, column, length**2, shape=(clips, classes))
    sums["squared_lengths"] = squares
    sums["overlap_frames"] = sums["same_class_frames"] = csr_array((clips, TRACK_COUNT))
    for a, b in combinations(annotators, 2):
        pairs = overlapping_pairs(a, b)
        clip, track = a.annotation_index[pairs.a], a.track[pairs.a]
        end_us = np.minimum(np.minimum(a.end_us[pairs.a], b.end_us[pairs.b]), a.duration_us[clip])
        shared = (end_us - np.maximum(a.start_us[pairs.a], b.start_us[pairs.b])) / FRAME_US
        equal = a.action[pairs.a] == b.action[pairs.b]
        sums["overlap_frames"] = sums["overlap_frames"] + sum_by_clip_and_column(
            clip, track, shared, shape=(clips, TRACK_COUNT)
        )
        sums["same_class_frames"] = sums["same_class_frames"] + sum_by_clip_and_column(
            clip, track, shared * equal, shape=(clips, TRACK_COUNT)
        )
    return sums


def frame_kappa(sums: dict[str, Floats]) -> Floats:
    """(R, tracks) Cohen's kappa of two annotators per frame, with idle as a class; NaN if both are always idle."""
    a, b, whole = _by_track(sums["annotated_frames0"]), _by_track(sums["annotated_frames1"]), sums["clip_frames"]
    idle_a, idle_b = whole - a.sum(axis=2), whole - b.sum(axis=2)
    both_idle = whole - a.sum(axis=2) - b.sum(axis=2) + sums["overlap_frames"]
    observed = safe_ratio(sums["same_class_frames"] + both_idle, whole)
    expected = safe_ratio((a * b).sum(axis=2) + idle_a * idle_b, whole**2)
    return safe_ratio(observed - expected, 1 - expected)


def unitizing_alpha(
    sums: dict[str, Floats], *, annotator_count: int, use_classes: bool = True
) -> tuple[Floats, Floats]:
    """(R, tracks) unitizing alpha, and (R,) over all tracks with chance per track; NaN if all annotators are idle.

    With classes it is uα (nominal), without it is |uα (binary): acting or idle.
    """
    own = sum((_by_track(sums[f"annotated_frames{i}"]) for i in range(annotator_count)), np.zeros(()))
    squares, covered = _by_track(sums["squared_lengths"]), own.sum(axis=2)
    total = annotator_count * sums["clip_frames"]
    idle = total - covered
    # Coincidences of ordered pairs of annotators, divided by the number of possible partners (eq. 32).
    both_acting = 2 * sums["overlap_frames"] / (annotator_count - 1)
    both_idle = idle - (covered - both_acting)
    agreed = 2 * sums["same_class_frames"] / (annotator_count - 1) if use_classes else both_acting
    # Expected by chance; neither a phase nor an idle instant is paired with itself (eq. 33).
    acting = (own**2 if use_classes else own.sum(axis=2, keepdims=True) * own) - squares
    pairable = total**2 - squares.sum(axis=2) - idle
    observed = 1 - safe_ratio(agreed + both_idle, total)
    expected = 1 - safe_ratio(acting.sum(axis=2) + idle**2 - idle, pairable)
    used = covered > 0
    pooled = 1 - safe_ratio(*(np.where(used, share, 0).sum(axis=1) for share in (observed, expected)))
    return np.where(used, 1 - safe_ratio(observed, expected), np.nan), pooled


def _by_track(columns: Floats) -> Floats:
    return columns.reshape(len(columns), TRACK_COUNT, ACTION_COUNT)


# ---- overlap-linked kappa

MIN_LINK_OVERLAP = 0.6  # of the longer phase


def link_counts(a: PhaseArrays, b: PhaseArrays, overlaps: PhasePairs) -> dict[str, csr_array]:
    """Per clip: phases by class of a and of b, linked phases by class, links of equal class."""
    longer = np.maximum((a.end_us - a.start_us)[overlaps.a], (b.end_us - b.start_us)[overlaps.b])
    links = overlaps.select(
        np.flatnonzero(overlaps.overlap_us >= MIN_LINK_OVERLAP * longer)
    )  # above 0.5, so one to one
    clip, class_a, class_b = a.annotation_index[links.a], a.action[links.a], b.action[links.b]
    one, shape = np.ones(len(clip)), (a.annotation_count, ACTION_COUNT)
    return {
        "classes_a": sum_by_clip_and_column(a.annotation_index, a.action, np.ones(len(a)), shape=shape),
        "classes_b": sum_by_clip_and_column(b.annotation_index, b.action, np.ones(len(b)), shape=shape),
        "linked_a": sum_by_clip_and_column(clip, class_a, one, shape=shape),
        "linked_b": sum_by_clip_and_column(clip, class_b, one, shape=shape),
        "same_class": sum_by_clip(a.annotation_count, (clip, class_a == class_b)),
    }


def linked_share(totals: dict[str, Floats]) -> Floats:
    """(R,) share of phases with a linked partner."""
    return safe_ratio(2 * totals["linked_a"].sum(axis=1), (totals["classes_a"] + totals["classes_b"]).sum(axis=1))


def linked_kappa(totals: dict[str, Floats]) -> Floats:
    """(R,) kappa of the classes with a row and a column "none"; NaN without phases or with one class only.

    The cell ("none", "none") is always empty, and the expected table must respect that. Holle and Rein fit it by
    iteration; with one empty cell there is a closed form: linked share × chance of equal classes.
    """
    # The table counts phases: an unlinked one once, a link twice (one phase of a, one of b).
    rows = totals["classes_a"] + totals["linked_a"]
    columns = totals["classes_b"] + totals["linked_b"]
    phases = (totals["classes_a"] + totals["classes_b"]).sum(axis=1)
    equal_by_chance = safe_ratio((rows * columns).sum(axis=1), rows.sum(axis=1) * columns.sum(axis=1))
    observed = safe_ratio(2 * totals["same_class"][:, 0], phases)
    expected = linked_share(totals) * np.nan_to_num(equal_by_chance)
    return safe_ratio(observed - expected, 1 - expected)
