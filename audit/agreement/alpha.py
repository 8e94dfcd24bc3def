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

from xsheet.audit.agreement.bootstrap import Floats, per_clip, ratio, tally
from xsheet.audit.agreement.matching import overlapping
from xsheet.audit.agreement.phase_arrays import ACTIONS, TRACKS, Units
from xsheet.schemas.time import CLIP_RATE, frame_start_us

FRAME_US = float(frame_start_us(1, CLIP_RATE))


def length_tally(observers: Sequence[Units]) -> dict[str, csr_array]:
    """Lengths per clip that all coefficients follow from, in frames; row k of every observer is the same clip.

    whole (1): the clip. own<i> (tracks × actions): phases of observer i. square (tracks × actions): squares of single
    phases, all observers. both, same (tracks): what two observers cover, and cover with one class, over all pairs.
    """
    clips, classes = observers[0].clips, TRACKS * ACTIONS
    every = np.arange(clips)
    tallies = {"whole": per_clip(clips, (every, observers[0].duration_us / FRAME_US))}
    squares = csr_array((clips, classes))
    for i, one in enumerate(observers):
        end_us = np.minimum(one.end_us, one.duration_us[one.of])  # a phase may end half a frame behind the clip
        length, column = (end_us - one.start_us) / FRAME_US, one.track * ACTIONS + one.action
        tallies[f"own{i}"] = tally(one.of, column, length, shape=(clips, classes))
        squares = squares + tally(one.of, column, length**2, shape=(clips, classes))
    tallies["square"] = squares
    tallies["both"] = tallies["same"] = csr_array((clips, TRACKS))
    for a, b in combinations(observers, 2):
        pairs = overlapping(a, b)
        clip, track = a.of[pairs.a], a.track[pairs.a]
        end_us = np.minimum(np.minimum(a.end_us[pairs.a], b.end_us[pairs.b]), a.duration_us[clip])
        shared = (end_us - np.maximum(a.start_us[pairs.a], b.start_us[pairs.b])) / FRAME_US
        equal = a.action[pairs.a] == b.action[pairs.b]
        tallies["both"] = tallies["both"] + tally(clip, track, shared, shape=(clips, TRACKS))
        tallies["same"] = tallies["same"] + tally(clip, track, shared * equal, shape=(clips, TRACKS))
    return tallies


def kappa(sums: dict[str, Floats]) -> Floats:
    """(R, tracks) Cohen's κ of two observers over time, idle being a class; NaN where both are idle throughout."""
    a, b, whole = _by_track(sums["own0"]), _by_track(sums["own1"]), sums["whole"]
    idle_a, idle_b = whole - a.sum(axis=2), whole - b.sum(axis=2)
    both_idle = whole - a.sum(axis=2) - b.sum(axis=2) + sums["both"]
    observed = ratio(sums["same"] + both_idle, whole)
    expected = ratio((a * b).sum(axis=2) + idle_a * idle_b, whole**2)
    return ratio(observed - expected, 1 - expected)


def alpha(sums: dict[str, Floats], *, observers: int, classes: bool = True) -> tuple[Floats, Floats]:
    """(R, tracks) unitised α, and (R,) over all tracks, chance being that within each track; NaN where all are idle.

    With classes it is uα (nominal); without, |uα (binary): where something happens, whatever it is.
    """
    own = sum((_by_track(sums[f"own{i}"]) for i in range(observers)), np.zeros(()))
    squares, covered = _by_track(sums["square"]), own.sum(axis=2)
    total = observers * sums["whole"]
    idle = total - covered
    # Coincidences of ordered pairs of observers, each shared among those it can be paired with (eq. 32).
    both_acting = 2 * sums["both"] / (observers - 1)
    both_idle = idle - (covered - both_acting)
    agreed = 2 * sums["same"] / (observers - 1) if classes else both_acting
    # By chance; no phase is paired with itself, nor an idle instant with itself (eq. 33).
    acting = (own**2 if classes else own.sum(axis=2, keepdims=True) * own) - squares
    pairable = total**2 - squares.sum(axis=2) - idle
    observed = 1 - ratio(agreed + both_idle, total)
    expected = 1 - ratio(acting.sum(axis=2) + idle**2 - idle, pairable)
    used = covered > 0
    pooled = 1 - ratio(*(np.where(used, share, 0).sum(axis=1) for share in (observed, expected)))
    return np.where(used, 1 - ratio(observed, expected), np.nan), pooled


def _by_track(columns: Floats) -> Floats:
    return columns.reshape(len(columns), TRACKS, ACTIONS)
