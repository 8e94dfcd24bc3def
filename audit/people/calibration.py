"""From support to the chance that a human accepts: fitted where humans decided, and tested on clips held out."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from xsheet.audit.agreement.matching import match
from xsheet.audit.agreement.phase_arrays import Bools, Floats, Units, units_of
from xsheet.schemas import vocab
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun

FOLDS = 5
BINS = 10  # of the expected calibration error, as in Guo et al., On Calibration of Modern Neural Networks (2017)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Chance of acceptance as a function that rises with the support, linear between its knots."""

    support: tuple[float, ...]  # knots, ascending
    accepted: tuple[float, ...]  # 0..1, never falling
    phases: int  # decisions it rests on
    error_raw: float  # expected calibration error of the support as it is
    error_held_out: float  # of the fit, each clip judged by a fit on clips of other folds; NaN with too few clips

    def at(self, support: Floats) -> Floats:
        """Chance of acceptance at these supports."""
        return np.asarray(np.interp(support, self.support, self.accepted))


def accepted(found: Units, human: Units, *, min_tiou: float = 0.5) -> Bools:
    """(N,) whether a human layer of the same clips, row by row, kept a phase: track, class and tIoU."""
    pairs = match(found, human, classes=True)
    kept = np.zeros(len(found), np.bool_)
    kept[pairs.a[pairs.tiou >= min_tiou]] = True
    return kept


def calibrate(support: Floats, decided: Bools, clip_ids: NDArray[np.str_]) -> Calibration:
    """Fit on (N,) phases, their support, whether a human accepted them, and the clip each is of.

    Raises:
        ConfigError: no decisions.
    """
    if not len(support):
        raise ConfigError(
            where="calibration", expected="phases that humans decided on", came="none", todo="review some clips first"
        )
    # By the clip's own name, so that a clip stays in its fold whatever is added.
    fold = np.array([zlib.crc32(str(clip).encode()) % FOLDS for clip in clip_ids])
    held_out = np.full(len(support), np.nan)
    for k in range(FOLDS):
        if (fold != k).any():
            held_out[fold == k] = np.interp(support[fold == k], *_isotonic(support[fold != k], decided[fold != k]))
    knots, chance = _isotonic(support, decided)
    return Calibration(
        support=tuple(knots.tolist()),
        accepted=tuple(chance.tolist()),
        phases=len(support),
        error_raw=calibration_error(support, decided),
        error_held_out=calibration_error(held_out, decided),
    )


def calibration_error(stated: Floats, decided: Bools, *, bins: int = BINS) -> float:
    """Expected calibration error: mean gap of stated chance and rate of acceptance over bins of equal width.

    NaN where nothing is stated.
    """
    if not len(stated) or np.isnan(stated).any():
        return float("nan")
    place = np.minimum((stated * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, weights=stated - decided, minlength=bins)
    return float(np.abs(gap).sum() / len(stated))


def _isotonic(support: Floats, decided: Bools) -> tuple[Floats, Floats]:
    """Knots and values of the rising function with the least squared error (pool adjacent violators)."""
    knots, place, count = np.unique(support, return_inverse=True, return_counts=True)
    rate = np.bincount(place, weights=decided) / count
    return knots, np.asarray(isotonic_regression(rate, weights=count).x)


def calibration_of(layer: LayerRun, human: LayerRun) -> Calibration | None:
    """Support of the phases of a layer to their acceptance by people, over the clips that people went through.

    A phase is accepted when the human layer has it: track, class and tIoU of 0.5. None where no phase of such a clip
    states its support.
    """
    said = {row.clip_id: row for row in human.read() if row.status == "ok"}
    rows = [row for row in layer.read() if row.status == "ok" and row.clip_id in said]
    found, kept = units_of(rows), units_of(said[row.clip_id] for row in rows)
    support = np.array([
        np.nan if p.evidence is None or p.evidence.support_k is None or not p.evidence.k
        else min(1.0, p.evidence.support_k / p.evidence.k)
        for row in rows
        for p in sorted(row.phases, key=lambda p: (vocab.TRACKS.index(p.track), p.start_us))
    ])  # fmt: skip
    known = np.isfinite(support)
    if not known.any():
        return None
    return calibrate(support[known], accepted(found, kept)[known], found.clip_ids[found.of][known])
