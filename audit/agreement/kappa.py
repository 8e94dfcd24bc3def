"""Agreement on the classes of phases that cover each other: overlap-linked κ.

After Holle and Rein, EasyDIAg: A tool for easy determination of interrater agreement (Behavior Research Methods 47,
2015): phases are linked that overlap by 60 % of the longer one; every phase counts once, those without a partner
against the class "none".
"""

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.bootstrap import Floats, per_clip, ratio, tally
from xsheet.audit.agreement.matching import Pairs
from xsheet.audit.agreement.phase_arrays import ACTIONS, Units

MIN_OVERLAP = 0.6  # of the longer phase


def link_tally(a: Units, b: Units, overlaps: Pairs) -> dict[str, csr_array]:
    """Per clip: phases by class of either side, links, links of one class."""
    longer = np.maximum((a.end_us - a.start_us)[overlaps.a], (b.end_us - b.start_us)[overlaps.b])
    links = overlaps.where(np.flatnonzero(overlaps.overlap_us >= MIN_OVERLAP * longer))  # above half, so one to one
    clip, class_a, class_b = a.of[links.a], a.action[links.a], b.action[links.b]
    one, shape = np.ones(len(clip)), (a.clips, ACTIONS)
    return {
        "classes_a": tally(a.of, a.action, np.ones(len(a)), shape=shape),
        "classes_b": tally(b.of, b.action, np.ones(len(b)), shape=shape),
        "linked_a": tally(clip, class_a, one, shape=shape),
        "linked_b": tally(clip, class_b, one, shape=shape),
        "same_class": per_clip(a.clips, (clip, class_a == class_b)),
    }


def linked_share(sums: dict[str, Floats]) -> Floats:
    """(R,) phases that have a partner."""
    return ratio(2 * sums["linked_a"].sum(axis=1), (sums["classes_a"] + sums["classes_b"]).sum(axis=1))


def linked_kappa(sums: dict[str, Floats]) -> Floats:
    """(R,) κ of the classes with a row and a column "none"; NaN without any phase, or where all are of one class.

    No phase is "none" to both, and chance must respect that empty cell. Holle and Rein fit the expected table by
    iteration; with one empty cell the fit has a closed form: the linked share times the chance of equal classes.
    """
    # The table counts phases: one without a partner once, a link twice, being a phase of either side.
    rows = sums["classes_a"] + sums["linked_a"]
    columns = sums["classes_b"] + sums["linked_b"]
    phases = (sums["classes_a"] + sums["classes_b"]).sum(axis=1)
    equal_by_chance = ratio((rows * columns).sum(axis=1), rows.sum(axis=1) * columns.sum(axis=1))
    observed = ratio(2 * sums["same_class"][:, 0], phases)
    expected = linked_share(sums) * np.nan_to_num(equal_by_chance)
    return ratio(observed - expected, 1 - expected)
