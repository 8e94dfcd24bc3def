"""Agreement on who does what when, corrected for chance: κ over time per track, and Krippendorff's unitised α.

The α family after Krippendorff, Mathet, Bouvry and Widlöcher, On the reliability of unitizing textual continua:
Further developments (Quality & Quantity 50, 2016), and Krippendorff, Content Analysis (4th ed., 2019), §12.6: all clips
of a track are one continuum, what lies between phases is a value of its own, and what is counted are lengths of
intersections. Lengths are in frames of 40 ms, of which only the gaps' correction for chance depends.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.bootstrap import Floats, safe_ratio, sum_by_clip, sum_by_clip_and_column
from xsheet.audit.agreement.matching import overlapping_pairs
from xsheet.audit.agreement.phase_arrays import ACTION_COUNT, TRACK_COUNT, PhaseArrays
from xsheet.schemas.time import CLIP_RATE, frame_start_us

FRAME_US = float(frame_start_us(1, CLIP_RATE))


def overlap_length_sums(annotators: Sequence[PhaseArrays]) -> dict[str, csr_array]:
    """Lengths per clip that all coefficients follow from, in frames; row k of every observer is the same clip.

    whole (1): the clip. own<i> (tracks × actions): phases of observer i. square (tracks × actions): squares of single
    phases, all observers. both, same (tracks): what two observers cover, and cover with one class, over all pairs.
    """
    clips, classes = annotators[0].annotation_count, TRACK_COUNT * ACTION_COUNT
    every = np.arange(clips)
    tallies = {"whole": sum_by_clip(clips, (every, annotators[0].duration_us / FRAME_US))}
    squares = csr_array((clips, classes))
    for i, one in enumerate(annotators):
        end_us = np.minimum(
            one.end_us, one.duration_us[one.annotation_index]
        )  # a phase may end half a frame behind the clip
        length, column = (end_us - one.start_us) / FRAME_US, one.track * ACTION_COUNT + one.action
        tallies[f"own{i}"] = sum_by_clip_and_column(one.annotation_index, column, length, shape=(clips, classes))
        squares = squares + sum_by_clip_and_column(one.annotation_index, column, length**2, shape=(clips, classes))
    tallies["square"] = squares
    tallies["both"] = tallies["same"] = csr_array((clips, TRACK_COUNT))
    for a, b in combinations(annotators, 2):
        pairs = overlapping_pairs(a, b)
        clip, track = a.annotation_index[pairs.a], a.track[pairs.a]
        end_us = np.minimum(np.minimum(a.end_us[pairs.a], b.end_us[pairs.b]), a.duration_us[clip])
        shared = (end_us - np.maximum(a.start_us[pairs.a], b.start_us[pairs.b])) / FRAME_US
        equal = a.action[pairs.a] == b.action[pairs.b]
        tallies["both"] = tallies["both"] + sum_by_clip_and_column(clip, track, shared, shape=(clips, TRACK_COUNT))
        tallies["same"] = tallies["same"] + sum_by_clip_and_column(
            clip, track, shared * equal, shape=(clips, TRACK_COUNT)
        )
    return tallies


def frame_kappa(sums: dict[str, Floats]) -> Floats:
    """(R, tracks) Cohen's κ of two observers over time, idle being a class; NaN where both are idle throughout."""
    a, b, whole = _by_track(sums["own0"]), _by_track(sums["own1"]), sums["whole"]
    idle_a, idle_b = whole - a.sum(axis=2), whole - b.sum(axis=2)
    both_idle = whole - a.sum(axis=2) - b.sum(axis=2) + sums["both"]
    observed = safe_ratio(sums["same"] + both_idle, whole)
    expected = safe_ratio((a * b).sum(axis=2) + idle_a * idle_b, whole**2)
    return safe_ratio(observed - expected, 1 - expected)


def unitizing_alpha(
    sums: dict[str, Floats], *, annotator_count: int, use_classes: bool = True
) -> tuple[Floats, Floats]:
    """(R, tracks) unitised α, and (R,) over all tracks, chance being that within each track; NaN where all are idle.

    With classes it is uα (nominal); without, |uα (binary): where something happens, whatever it is.
    """
    own = sum((_by_track(sums[f"own{i}"]) for i in range(annotator_count)), np.zeros(()))
    squares, covered = _by_track(sums["square"]), own.sum(axis=2)
    total = annotator_count * sums["whole"]
    idle = total - covered
    # Coincidences of ordered pairs of observers, each shared among those it can be paired with (eq. 32).
    both_acting = 2 * sums["both"] / (annotator_count - 1)
    both_idle = idle - (covered - both_acting)
    agreed = 2 * sums["same"] / (annotator_count - 1) if use_classes else both_acting
    # By chance; no phase is paired with itself, nor an idle instant with itself (eq. 33).
    acting = (own**2 if use_classes else own.sum(axis=2, keepdims=True) * own) - squares
    pairable = total**2 - squares.sum(axis=2) - idle
    observed = 1 - safe_ratio(agreed + both_idle, total)
    expected = 1 - safe_ratio(acting.sum(axis=2) + idle**2 - idle, pairable)
    used = covered > 0
    pooled = 1 - safe_ratio(*(np.where(used, share, 0).sum(axis=1) for share in (observed, expected)))
    return np.where(used, 1 - safe_ratio(observed, expected), np.nan), pooled


def _by_track(columns: Floats) -> Floats:
    return columns.reshape(len(columns), TRACK_COUNT, ACTION_COUNT)
