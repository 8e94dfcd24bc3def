"""Profile of a whole layer: class distribution, drift between layers, responses."""

# pyarrow.compute creates its functions at import time, which type checkers do not see.
# pyright: reportAttributeAccessIssue=false

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from xsheet.audit.agreement.phase_arrays import ACTION_COUNT, TRACK_COUNT, Ints, PhaseArrays
from xsheet.audit.people.sampling import wilson_interval
from xsheet.schemas import vocab
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.tables import ANNOTATIONS, read_file

_COST_FIELDS = ("prompt_tokens", "vision_tokens", "output_tokens", "latency_s")


@dataclass(frozen=True, slots=True, eq=False)
class LayerProfile:
    """Counts of tracks and classes, and durations, of a layer."""

    clips: int
    track_counts: Ints  # phases by index in vocab.TRACKS
    action_counts: Ints  # phases by index in vocab.ACTIONS
    durations_us: Ints  # (N,) of all phases

    @property
    def phase_count(self) -> int:
        """Number of phases."""
        return len(self.durations_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionShift:
    """Difference of two layers in classes, tracks and durations."""

    action_js_bits: float  # Jensen–Shannon divergence, 0 = equal, 1 = nothing in common
    track_js_bits: float
    duration_ks: float  # Kolmogorov–Smirnov statistic, 0..1
    duration_p_value: float  # assumes independent phases, which those of one clip are not
    phases_per_clip: tuple[float, float]
    share_changes: tuple[tuple[vocab.Action, float, float], ...]  # class, share in a, share in b; largest change first


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseStats:
    """Status counts and total costs of the responses of a layer; costs that no response states are left out."""

    status_counts: Mapping[vocab.ResponseStatus, int]
    cost_totals: Mapping[str, float]  # prompt_tokens, vision_tokens, output_tokens, latency_s

    @property
    def total(self) -> int:
        """Number of responses."""
        return sum(self.status_counts.values())

    def share(self, *statuses: vocab.ResponseStatus) -> float:
        """Share of responses with these statuses; 0 if there is no response."""
        return sum(self.status_counts.get(status, 0) for status in statuses) / max(self.total, 1)

    def wilson_bounds(self, *statuses: vocab.ResponseStatus) -> tuple[float, float]:
        """Wilson bounds of the share of these statuses."""
        return wilson_interval(sum(self.status_counts.get(status, 0) for status in statuses), self.total)


def layer_profile(tables: Iterable[PhaseArrays]) -> LayerProfile:
    """Profile of a layer, read batch by batch."""
    clips, tracks, actions = 0, np.zeros(TRACK_COUNT, np.int64), np.zeros(ACTION_COUNT, np.int64)
    durations = [np.empty(0, np.int64)]
    for phases in tables:
        clips += phases.annotation_count
        tracks += np.bincount(phases.track, minlength=TRACK_COUNT)
        actions += np.bincount(phases.action, minlength=ACTION_COUNT)
        durations.append(phases.end_us - phases.start_us)
    return LayerProfile(clips, tracks, actions, np.concatenate(durations))


def entropy_nats(counts: Ints) -> float:
    """Entropy of a histogram; 0 for at most one class."""
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum()) + 0.0


def effective_number(counts: Ints) -> float:
    """exp(entropy): the number of equally frequent classes with the same entropy; 0 for an empty histogram."""
    return float(np.exp(entropy_nats(counts))) if counts.any() else 0.0


def distribution_shift(a: LayerProfile, b: LayerProfile) -> DistributionShift | None:
    """Difference of b from a; None if either has no phase."""
    if not a.phase_count or not b.phase_count:
        return None
    from scipy.spatial.distance import jensenshannon  # noqa: PLC0415 - a second of CPU, for this comparison only
    from scipy.stats import ks_2samp  # noqa: PLC0415

    share_a, share_b = a.action_counts / a.phase_count, b.action_counts / b.phase_count
    lengths = ks_2samp(a.durations_us, b.durations_us)
    order = np.argsort(-np.abs(share_b - share_a), kind="stable")
    changes = tuple((vocab.ACTIONS[k], float(share_a[k]), float(share_b[k])) for k in order if share_a[k] != share_b[k])
    return DistributionShift(
        action_js_bits=float(jensenshannon(share_a, share_b, base=2) ** 2),
        track_js_bits=float(jensenshannon(a.track_counts, b.track_counts, base=2) ** 2),
        duration_ks=float(lengths.statistic),
        duration_p_value=float(lengths.pvalue),
        phases_per_clip=(a.phase_count / a.clips, b.phase_count / b.clips),
        share_changes=changes,
    )


def response_stats(layer: LayerRun) -> ResponseStats:
    """Status counts and costs of a layer, read from two columns, one file at a time."""
    statuses: Counter[vocab.ResponseStatus] = Counter()
    costs: dict[str, float] = {}
    for file in layer.files:
        rows = read_file(file, ANNOTATIONS, ("status", "usage")).combine_chunks()
        statuses.update(rows["status"].to_pylist())
        for name in _COST_FIELDS:
            cost = pc.sum(pc.struct_field(rows["usage"], name)).as_py()
            if cost is not None:
                costs[name] = costs.get(name, 0) + cost
    return ResponseStats(status_counts=dict(statuses), cost_totals=costs)
