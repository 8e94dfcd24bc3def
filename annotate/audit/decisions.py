"""What people decided about a layer: from support to acceptance, and how much of a random sample they accepted."""

import numpy as np

from xsheet.annotate.audit.calibrate import Calibration, accepted, calibrate
from xsheet.annotate.audit.units import units_of
from xsheet.schemas import vocab
from xsheet.schemas.layers import LayerRun


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
