"""Agreement on the classes of phases that cover each other: overlap-linked κ.

After Holle and Rein, EasyDIAg: A tool for easy determination of interrater agreement (Behavior Research Methods 47,
2015): phases are linked that overlap by 60 % of the longer one; every phase counts once, those without a partner
against the class "none".
"""

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.bootstrap import Floats, safe_ratio, sum_by_clip, sum_by_clip_and_column
from xsheet.audit.agreement.matching import PhasePairs
from xsheet.audit.agreement.phase_arrays import ACTION_COUNT, PhaseArrays

MIN_LINK_OVERLAP = 0.6  # of the longer phase


def link_counts(a: PhaseArrays, b: PhaseArrays, overlaps: PhasePairs) -> dict[str, csr_array]:
    """Per clip: phases by class of either side, links, links of one class."""
    longer = np.maximum((a.end_us - a.start_us)[overlaps.a], (b.end_us - b.start_us)[overlaps.b])
    links = overlaps.select(
        np.flatnonzero(overlaps.overlap_us >= MIN_LINK_OVERLAP * longer)
    )  # above half, so one to one
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
    """(R,) phases that have a partner."""
    return safe_ratio(2 * totals["linked_a"].sum(axis=1), (totals["classes_a"] + totals["classes_b"]).sum(axis=1))


def linked_kappa(totals: dict[str, Floats]) -> Floats:
    """(R,) κ of the classes with a row and a column "none"; NaN without any phase, or where all are of one class.

    No phase is "none" to both, and chance must respect that empty cell. Holle and Rein fit the expected table by
    iteration; with one empty cell the fit has a closed form: the linked share times the chance of equal classes.
    """
    # The table counts phases: one without a partner once, a link twice, being a phase of either side.
    rows = totals["classes_a"] + totals["linked_a"]
    columns = totals["classes_b"] + totals["linked_b"]
    phases = (totals["classes_a"] + totals["classes_b"]).sum(axis=1)
    equal_by_chance = safe_ratio((rows * columns).sum(axis=1), rows.sum(axis=1) * columns.sum(axis=1))
    observed = safe_ratio(2 * totals["same_class"][:, 0], phases)
    expected = linked_share(totals) * np.nan_to_num(equal_by_chance)
    return safe_ratio(observed - expected, 1 - expected)
