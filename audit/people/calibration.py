"""Calibration: acceptance probability by support, fitted on review decisions and tested on held-out clips."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from xsheet.audit.agreement.matching import match_phases
from xsheet.audit.agreement.phase_arrays import Bools, Floats, PhaseArrays, phase_arrays
from xsheet.schemas import vocab
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun

FOLDS = 5
BINS = 10  # of the expected calibration error, as in Guo et al., On Calibration of Modern Neural Networks (2017)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Acceptance probability as a non-decreasing function of support, linear between its knots."""

    support_knots: tuple[float, ...]  # knots, ascending
    acceptance_knots: tuple[float, ...]  # 0..1, never falling
    decision_count: int  # decisions it rests on
    raw_calibration_error: float  # expected calibration error of the support as it is
    held_out_calibration_error: (
        float  # of the fit, each clip judged by a fit on clips of other folds; NaN with too few clips
    )

    def acceptance_probability(self, support: Floats) -> Floats:
        """Acceptance probability at these support values."""
        return np.asarray(np.interp(support, self.support_knots, self.acceptance_knots))


def is_accepted(predicted: PhaseArrays, human: PhaseArrays, *, min_tiou: float = 0.5) -> Bools:
    """(N,) whether a human layer of the same clips, row by row, kept a phase: track, class and tIoU."""
    pairs = match_phases(predicted, human, same_class=True)
    kept = np.zeros(len(predicted), np.bool_)
    kept[pairs.a[pairs.tiou >= min_tiou]] = True
    return kept


def fit_isotonic(support: Floats, is_accepted: Bools, clip_ids: NDArray[np.str_]) -> Calibration:
    """Fit on (N,) phases, their support, whether a human accepted them, and the clip each is of.

    Raises:
        ConfigError: no decisions.
    """
    if not len(support):
        raise ConfigError(
            where="calibration", expected="phases with review decisions", got="none", hint="review some clips first"
        )
    # By the hash of the clip id, so that a clip stays in its fold when clips are added.
    fold = np.array([zlib.crc32(str(clip).encode()) % FOLDS for clip in clip_ids])
    held_out = np.full(len(support), np.nan)
    for k in range(FOLDS):
        if (fold != k).any():
            held_out[fold == k] = np.interp(support[fold == k], *_isotonic(support[fold != k], is_accepted[fold != k]))
    knots, chance = _isotonic(support, is_accepted)
    return Calibration(
        support_knots=tuple(knots.tolist()),
        acceptance_knots=tuple(chance.tolist()),
        decision_count=len(support),
        raw_calibration_error=calibration_error(support, is_accepted),
        held_out_calibration_error=calibration_error(held_out, is_accepted),
    )


def calibration_error(predicted: Floats, is_accepted: Bools, *, bins: int = BINS) -> float:
    """Expected calibration error: mean gap of stated chance and rate of acceptance over bins of equal width.

    NaN where nothing is stated.
    """
    if not len(predicted) or np.isnan(predicted).any():
        return float("nan")
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, weights=predicted - is_accepted, minlength=bins)
    return float(np.abs(gap).sum() / len(predicted))


def _isotonic(support: Floats, decided: Bools) -> tuple[Floats, Floats]:
    """Knots and values of the rising function with the least squared error (pool adjacent violators)."""
    knots, place, count = np.unique(support, return_inverse=True, return_counts=True)
    rate = np.bincount(place, weights=decided) / count
    return knots, np.asarray(isotonic_regression(rate, weights=count).x)


def calibrate_from_review(layer: LayerRun, human: LayerRun) -> Calibration | None:
    """Fit acceptance by people as a function of support, over the phases of the clips that people reviewed.

    A phase is accepted when the human layer has it: track, class and tIoU of 0.5. None where no phase of such a clip
    states its support.
    """
    reviewed = {row.clip_id: row for row in human.read() if row.status == "ok"}
    rows = [row for row in layer.read() if row.status == "ok" and row.clip_id in reviewed]
    found, kept = phase_arrays(rows), phase_arrays(reviewed[row.clip_id] for row in rows)
    support = np.array([
        np.nan if p.evidence is None or p.evidence.support_k is None or not p.evidence.k
        else min(1.0, p.evidence.support_k / p.evidence.k)
        for row in rows
        for p in sorted(row.phases, key=lambda p: (vocab.TRACKS.index(p.track), p.start_us))
    ])  # fmt: skip
    known = np.isfinite(support)
    if not known.any():
        return None
    return fit_isotonic(support[known], is_accepted(found, kept)[known], found.clip_ids[found.annotation_index][known])
