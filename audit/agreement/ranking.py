"""Whether the confidence of a phase ranks the right ones first: mean average precision over tIoU, as of ActivityNet."""

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.bootstrap import Floats, safe_ratio, sum_by_clip_and_column
from xsheet.audit.agreement.matching import PhasePairs
from xsheet.audit.agreement.phase_arrays import PhaseArrays

AP_TIOU_LEVELS = np.linspace(0.50, 0.95, 10)  # tIoU of a hit (ActivityNet challenge)
_CONFIDENCE_BINS = 101  # confidences are ranked in steps of 0.01; equal ones are one step of the curve


def confidence_match_counts(predicted: PhaseArrays, matches: PhasePairs) -> csr_array:
    """Per clip: phases found, by step of confidence and by how many levels of tIoU their match reaches."""
    reached = np.zeros(len(predicted), np.int64)
    # 1e-9: 0.55 as a float is not 11/20, and a tIoU of exactly that is a hit.
    reached[matches.b] = np.searchsorted(AP_TIOU_LEVELS, matches.tiou + 1e-9, "right")
    stated = np.flatnonzero(np.isfinite(predicted.confidence))
    step = np.rint(predicted.confidence[stated] * (_CONFIDENCE_BINS - 1)).astype(np.int64)
    column, width = step * (len(AP_TIOU_LEVELS) + 1) + reached[stated], _CONFIDENCE_BINS * (len(AP_TIOU_LEVELS) + 1)
    return sum_by_clip_and_column(
        predicted.annotation_index[stated], column, np.ones(len(stated)), shape=(predicted.annotation_count, width)
    )


def mean_average_precision(match_counts: Floats, reference_phases: Floats, predicted_phases: Floats) -> Floats:
    """(R,) area under precision over recall, mean over the levels; NaN unless all phases found state a confidence.

    Classes are pooled: a class of three phases would weigh as much as one of three thousand.

    Args:
        match_counts: (R, bins × (levels + 1)) sums of `confidence_match_counts`.
        reference_phases: (R,) phases of the reference.
        predicted_phases: (R,) phases found, whether or not they state a confidence.
    """
    by_step = match_counts.reshape(len(match_counts), _CONFIDENCE_BINS, len(AP_TIOU_LEVELS) + 1)[
        :, ::-1
    ]  # the most confident first
    shown = np.cumsum(by_step.sum(axis=2), axis=1)[:, :, None]
    reached = np.cumsum(by_step[:, :, ::-1], axis=2)[:, :, ::-1][:, :, 1:]  # at least level k
    hits = np.cumsum(reached, axis=1)
    # The best precision at this recall or a higher one.
    precision = np.maximum.accumulate(np.nan_to_num(safe_ratio(hits, shown))[:, ::-1], axis=1)[:, ::-1]
    gained = safe_ratio(reached, reference_phases[:, None, None])
    area = (gained * precision).sum(axis=1).mean(axis=1)
    return np.where(shown[:, -1, 0] == predicted_phases, np.where(predicted_phases > 0, area, np.nan), np.nan)
