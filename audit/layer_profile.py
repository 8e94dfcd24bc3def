"""Profile of a whole layer: class distribution, diversity, drift between layers, responses, split leaks."""

# pyarrow.compute creates its functions at import time, which type checkers do not see.
# pyright: reportAttributeAccessIssue=false

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.compute as pc
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from xsheet.audit.agreement.phase_arrays import ACTION_COUNT, TRACK_COUNT, Ints, PhaseArrays
from xsheet.audit.people.sampling import wilson_interval
from xsheet.schemas import vocab
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.tables import ANNOTATIONS, CLIPS, NEAR_DUPLICATES, SPLITS, read_file, read_table

_COST_FIELDS = ("prompt_tokens", "vision_tokens", "output_tokens", "latency_s")
SplitLeakKind = Literal["source", "cluster", "near_duplicate", "file"]
MAX_TRUNCATED_SHARE = 0.01  # of responses; above it the token limit shapes the layer


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
class ClassDiversity:
    """How one class spreads over groups: sources or speakers."""

    action: vocab.Action
    phases: int
    groups: int
    effective_groups: float  # number of equally frequent groups with the same entropy
    largest_group_share: float  # share of the phases in the largest group


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

    @property
    def exceeds_truncation_limit(self) -> bool:
        """Whether the share of truncated responses exceeds MAX_TRUNCATED_SHARE."""
        return self.share("truncated") > MAX_TRUNCATED_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitLeak:
    """A source, cluster, near-duplicate group or file with clips in more than one split."""

    kind: SplitLeakKind
    key: str
    splits: tuple[str, ...]
    clips: int


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


def class_diversity(tables: Iterable[PhaseArrays], group_of: Mapping[str, str]) -> tuple[ClassDiversity, ...]:
    """Spread of each class over groups of clips (sources, speakers), the most frequent class first.

    A clip that is not in `group_of` forms its own group.
    """
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for table in tables:
        groups = np.array([group_of.get(clip, clip) for clip in table.clip_ids.tolist()], dtype=np.str_)
        names, group = np.unique(groups, return_inverse=True)
        pair, count = np.unique(group[table.annotation_index] * ACTION_COUNT + table.action, return_counts=True)
        for index, phases in zip(pair.tolist(), count.tolist(), strict=True):
            counts[index % ACTION_COUNT][str(names[index // ACTION_COUNT])] += phases
    by_size = sorted(counts, key=lambda action: (-counts[action].total(), action))
    return tuple(_class_diversity(vocab.ACTIONS[action], np.array(list(counts[action].values()))) for action in by_size)


def _class_diversity(action: vocab.Action, counts: Ints) -> ClassDiversity:
    total = int(counts.sum())
    return ClassDiversity(
        action=action,
        phases=total,
        groups=len(counts),
        effective_groups=effective_number(counts),
        largest_group_share=float(counts.max() / total),
    )


def distribution_shift(a: LayerProfile, b: LayerProfile) -> DistributionShift | None:
    """Difference of b from a; None if either has no phase."""
    if not a.phase_count or not b.phase_count:
        return None
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


def find_split_leaks(set_folder: Path) -> tuple[SplitLeak, ...]:
    """Sources, identity clusters, near-duplicate groups and files with clips in more than one split."""
    splits = read_table(set_folder, SPLITS, ("clip_id", "source_id", "cluster", "split")).to_pylist()
    files = read_table(set_folder, CLIPS, ("clip_id", "media_sha256")).to_pydict()
    groups = read_table(set_folder, NEAR_DUPLICATES, ("source_id", "other_id", "group")).to_pydict()
    file_of = dict(zip(files["clip_id"], files["media_sha256"], strict=True))
    group_of = {
        source: group
        for side in ("source_id", "other_id")
        for source, group in zip(groups[side], groups["group"], strict=True)
    }
    splits_by_key: dict[tuple[SplitLeakKind, str], list[str]] = defaultdict(list)
    for row in splits:
        splits_by_key["source", row["source_id"]].append(row["split"])
        splits_by_key["cluster", row["cluster"]].append(row["split"])
        if row["source_id"] in group_of:
            splits_by_key["near_duplicate", group_of[row["source_id"]]].append(row["split"])
        splits_by_key["file", file_of.get(row["clip_id"], row["clip_id"])].append(row["split"])
    return tuple(
        SplitLeak(kind=kind, key=key, splits=tuple(sorted(set(names))), clips=len(names))
        for (kind, key), names in sorted(splits_by_key.items())
        if len(set(names)) > 1
    )
