"""Whether the confidence of a phase ranks the right ones first: mean average precision over tIoU, as of ActivityNet."""

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.bootstrap import Floats, ratio, tally
from xsheet.audit.agreement.matching import Pairs
from xsheet.audit.agreement.phase_arrays import Units

LEVELS = np.linspace(0.50, 0.95, 10)  # tIoU of a hit (ActivityNet challenge)
_BINS = 101  # confidences are ranked in steps of 0.01; equal ones are one step of the curve


def ranked_tally(found: Units, matches: Pairs) -> csr_array:
    """Per clip: phases found, by step of confidence and by how many levels of tIoU their match reaches."""
    reached = np.zeros(len(found), np.int64)
    # 1e-9: 0.55 as a float is not 11/20, and a tIoU of exactly that is a hit.
    reached[matches.b] = np.searchsorted(LEVELS, matches.tiou + 1e-9, "right")
    stated = np.flatnonzero(np.isfinite(found.confidence))
    step = np.rint(found.confidence[stated] * (_BINS - 1)).astype(np.int64)
    column, width = step * (len(LEVELS) + 1) + reached[stated], _BINS * (len(LEVELS) + 1)
    return tally(found.of[stated], column, np.ones(len(stated)), shape=(found.clips, width))


def mean_average_precision(ranked: Floats, true: Floats, found: Floats) -> Floats:
    """(R,) area under precision over recall, mean over the levels; NaN unless all phases found state a confidence.

    Classes are pooled: a class of three phases would weigh as much as one of three thousand.

    Args:
        ranked: (R, bins × (levels + 1)) sums of `ranked_tally`.
        true: (R,) phases of the reference.
        found: (R,) phases found, whether or not they state a confidence.
    """
    by_step = ranked.reshape(len(ranked), _BINS, len(LEVELS) + 1)[:, ::-1]  # the most confident first
    shown = np.cumsum(by_step.sum(axis=2), axis=1)[:, :, None]
    reached = np.cumsum(by_step[:, :, ::-1], axis=2)[:, :, ::-1][:, :, 1:]  # at least level k
    hits = np.cumsum(reached, axis=1)
    # The best precision at this recall or a higher one.
    precision = np.maximum.accumulate(np.nan_to_num(ratio(hits, shown))[:, ::-1], axis=1)[:, ::-1]
    gained = ratio(reached, true[:, None, None])
    area = (gained * precision).sum(axis=1).mean(axis=1)
    return np.where(shown[:, -1, 0] == found, np.where(found > 0, area, np.nan), np.nan)
