"""Flow checks (G11, G12): phases against the optical flow inside the body parts.

The flow is measured on the pictures (curate.body.flow); the annotator does not read it. The parts are those large
enough for a reduced picture: head, torso and arms. Without flow the results are undetermined.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.series import FPS, Floats, true_ranges
from xsheet.audit.checks.base import AnnotationView, Check, CheckResult
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import vocab
from xsheet.schemas.time import CLIP_RATE, span_of_frames

_FLOW_TRACKS: Final[tuple[vocab.Track, ...]] = ("head", "torso", "arm_left", "arm_right")
_PAIRED_TRACKS: Final[frozenset[vocab.Track]] = frozenset({"arms", "hands"})
# Classes that are states: the part may be still.
_HELD_KINDS: Final = frozenset({"posture", "rest"})
_JOIN_S = 0.2  # shorter pauses are within one movement


def _check_flow_ratio(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, flow = settings.flow, _flow_by_track(view)
    for measured in view.measured_phases:
        phase, values = measured.phase, flow.get(measured.phase.track)
        if phase.track not in (*_FLOW_TRACKS, *_PAIRED_TRACKS) or phase.kind in _HELD_KINDS:
            continue
        active = view.active_frames.get(phase.track)
        inside = None if values is None else values[measured.frames.start : measured.frames.stop]
        known = inside is not None and len(inside) and np.isfinite(inside).mean() >= settings.motion.min_visible_share
        still = None if values is None or active is None else _still(values[~active], limits.min_still_flow)
        if not known or inside is None or still is None:
            yield CheckResult(None, phase=phase)
        else:
            ratio = float(np.nanquantile(inside, limits.peak_quantile)) / still
            yield CheckResult(ratio >= limits.min_flow_ratio, ratio, limits.min_flow_ratio, phase)


def _check_missed_flow(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, flow = settings.flow, _flow_by_track(view)
    if view.annotation.status != "ok":
        return
    for track in _FLOW_TRACKS:
        if (values := flow.get(track)) is None:
            continue
        still = _still(values, limits.min_still_flow)
        if still is None:
            continue
        level = max(limits.min_missed_flow, limits.missed_flow_ratio * still)
        covered = _covered(view, len(values))
        for frames in _joined(true_ranges(np.nan_to_num(values) >= level)):
            if len(frames) >= limits.min_missed_duration_s * FPS and not covered[frames.start : frames.stop].any():
                span, peak = span_of_frames(frames, CLIP_RATE), float(np.nanmax(values[frames.start : frames.stop]))
                yield CheckResult(
                    False, peak, level, detail=f"the picture of the {track} moves at {span} and no phase is near",
                    start_us=span.start_us, end_us=span.end_us, track=track,
                )  # fmt: skip


def _flow_by_track(view: AnnotationView) -> dict[vocab.Track, Floats]:
    """(frames,) flow by track; a pair of arms has the faster one."""
    if view.clip_evidence is None:
        return {}
    signals = view.clip_evidence.signals
    found: dict[vocab.Track, Floats] = {
        track: np.array([np.nan if v is None else v for v in series], np.float64)
        for track in _FLOW_TRACKS
        if (series := getattr(signals, f"flow_{track}"))
    }
    arms = [found[track] for track in vocab.SIDED_TRACK if track in found]
    if arms:
        both: Floats = np.asarray(np.fmax.reduce(arms), np.float64)
        found |= dict.fromkeys(_PAIRED_TRACKS, both)
    return found


def _covered(view: AnnotationView, frames: int) -> NDArray[np.bool_]:
    """(frames,) whether a phase other than a rest or an unknown span is there: a part takes its neighbours along."""
    return np.asarray(np.logical_or.reduce([np.zeros(frames, np.bool_), *view.active_frames.values()]), np.bool_)


def _still(values: Floats, least: float) -> float | None:
    """Median of the known values, at least the noise of a still picture; None without values."""
    known = values[np.isfinite(values)]
    return max(float(np.median(known)), least) if len(known) else None


def _joined(ranges: list[range]) -> list[range]:
    """Ranges of frames, those with a short pause between them as one."""
    joined: list[range] = []
    for one in ranges:
        if joined and one.start - joined[-1].stop < _JOIN_S * FPS:
            joined[-1] = range(joined[-1].start, one.stop)
        else:
            joined.append(one)
    return joined


FLOW_CHECKS = (
    Check(
        id="G11",
        requirement="A named movement is visible in the optical flow of its body part",
        severity="warning",
        metric="flow_ratio",
        comparator=">=",
        evaluate=_check_flow_ratio,
        formula="fast flow inside the phase (90th percentile) / median flow outside all phases of the track",
    ),
    Check(
        id="G12",
        requirement="Motion in the picture of a body part has a phase near it",
        severity="warning",
        metric="flow_per_s",
        comparator="<=",
        evaluate=_check_missed_flow,
        formula="peak of the optical flow inside the part outside all phases, picture heights per second",
    ),
)
