"""A whole layer at a glance: which classes it has and who acts them, how runs differ, how replies ended, what leaks."""

# pyarrow.compute makes its functions at import, where no checker sees them.
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

from xsheet.audit.agreement.phase_arrays import ACTIONS, TRACKS, Ints, Units
from xsheet.audit.people.sampling import wilson
from xsheet.schemas import vocab
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.tables import ANNOTATIONS, CLIPS, NEAR_DUPLICATES, SPLITS, read_file, read_table

_COSTS = ("prompt_tokens", "vision_tokens", "output_tokens", "latency_s")
LeakKind = Literal["source", "cluster", "near_duplicate", "file"]
MAX_TRUNCATED = 0.01  # of replies; above it the limit of tokens decides what the layer says (references, §9-I)


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What a layer says, without when and of whom."""

    clips: int
    tracks: Ints  # phases by place in vocab.TRACKS
    actions: Ints  # phases by place in vocab.ACTIONS
    durations_us: Ints  # (N,) of all phases

    @property
    def phases(self) -> int:
        """All of them."""
        return len(self.durations_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Who acts a class: sources, or speakers."""

    action: vocab.Action
    phases: int
    groups: int
    effective_groups: float  # as many equal ones would be as diverse
    largest_share: float  # of the class' phases, in the one group with most


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far one layer's words and lengths are from another's."""

    actions_bits: float  # Jensen–Shannon divergence, 0 = equal, 1 = nothing in common
    tracks_bits: float
    durations_ks: float  # largest gap of the two distributions, 0..1
    durations_p: float  # chance of such a gap by luck, were phases independent; many in one clip are not
    phases_per_clip: tuple[float, float]
    moved: tuple[tuple[vocab.Action, float, float], ...]  # classes by change of share, the largest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """How the calls of a layer ended and what they cost together; a cost that no reply states is not there."""

    statuses: Mapping[vocab.ReplyStatus, int]
    costs: Mapping[str, float]  # prompt_tokens, vision_tokens, output_tokens, latency_s

    @property
    def total(self) -> int:
        """All replies."""
        return sum(self.statuses.values())

    def share(self, *statuses: vocab.ReplyStatus) -> float:
        """Share of replies that ended so; 0 without any reply."""
        return sum(self.statuses.get(status, 0) for status in statuses) / max(self.total, 1)

    def bounds(self, *statuses: vocab.ReplyStatus) -> tuple[float, float]:
        """Wilson bounds of that share."""
        return wilson(sum(self.statuses.get(status, 0) for status in statuses), self.total)

    @property
    def is_cut_short(self) -> bool:
        """Whether more replies than MAX_TRUNCATED were truncated."""
        return self.share("truncated") > MAX_TRUNCATED


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Something that clips of two splits share."""

    kind: LeakKind
    key: str
    splits: tuple[str, ...]
    clips: int


def profile(blocks: Iterable[Units]) -> Profile:
    """Profile of a layer, read block by block."""
    clips, tracks, actions = 0, np.zeros(TRACKS, np.int64), np.zeros(ACTIONS, np.int64)
    durations = [np.empty(0, np.int64)]
    for units in blocks:
        clips += units.clips
        tracks += np.bincount(units.track, minlength=TRACKS)
        actions += np.bincount(units.action, minlength=ACTIONS)
        durations.append(units.end_us - units.start_us)
    return Profile(clips, tracks, actions, np.concatenate(durations))


def entropy_nats(counts: Ints) -> float:
    """Entropy of a histogram; 0 for one class or none."""
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum()) + 0.0


def effective_number(counts: Ints) -> float:
    """exp(entropy): as many equally frequent classes would be as diverse; 0 for an empty histogram."""
    return float(np.exp(entropy_nats(counts))) if counts.any() else 0.0


def spread(blocks: Iterable[Units], group_of: Mapping[str, str]) -> tuple[Spread, ...]:
    """How each class spreads over groups of clips (sources, speakers), the most frequent class first.

    A clip that `group_of` does not know is a group of its own.
    """
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for units in blocks:
        groups = np.array([group_of.get(clip, clip) for clip in units.clip_ids.tolist()], dtype=np.str_)
        names, group = np.unique(groups, return_inverse=True)
        pair, count = np.unique(group[units.of] * ACTIONS + units.action, return_counts=True)
        for place, phases in zip(pair.tolist(), count.tolist(), strict=True):
            counts[place % ACTIONS][str(names[place // ACTIONS])] += phases
    by_size = sorted(counts, key=lambda action: (-counts[action].total(), action))
    return tuple(_spread(vocab.ACTIONS[action], np.array(list(counts[action].values()))) for action in by_size)


def _spread(action: vocab.Action, counts: Ints) -> Spread:
    total = int(counts.sum())
    return Spread(
        action=action,
        phases=total,
        groups=len(counts),
        effective_groups=effective_number(counts),
        largest_share=float(counts.max() / total),
    )


def drift(a: Profile, b: Profile) -> Drift | None:
    """How far b is from a; None when either has no phase."""
    if not a.phases or not b.phases:
        return None
    share_a, share_b = a.actions / a.phases, b.actions / b.phases
    lengths = ks_2samp(a.durations_us, b.durations_us)
    order = np.argsort(-np.abs(share_b - share_a), kind="stable")
    moved = tuple((vocab.ACTIONS[k], float(share_a[k]), float(share_b[k])) for k in order if share_a[k] != share_b[k])
    return Drift(
        actions_bits=float(jensenshannon(share_a, share_b, base=2) ** 2),
        tracks_bits=float(jensenshannon(a.tracks, b.tracks, base=2) ** 2),
        durations_ks=float(lengths.statistic),
        durations_p=float(lengths.pvalue),
        phases_per_clip=(a.phases / a.clips, b.phases / b.clips),
        moved=moved,
    )


def replies(layer: LayerRun) -> Replies:
    """Statuses and costs of a layer, from two of its columns, one file at a time."""
    statuses: Counter[vocab.ReplyStatus] = Counter()
    costs: dict[str, float] = {}
    for file in layer.files:
        rows = read_file(file, ANNOTATIONS, ("status", "usage")).combine_chunks()
        statuses.update(rows["status"].to_pylist())
        for name in _COSTS:
            found = pc.sum(pc.struct_field(rows["usage"], name)).as_py()
            if found is not None:
                costs[name] = costs.get(name, 0) + found
    return Replies(statuses=dict(statuses), costs=costs)


def leaks(set_folder: Path) -> tuple[Leak, ...]:
    """Sources, clusters of people, near duplicates and files that clips of more than one split share."""
    splits = read_table(set_folder, SPLITS, ("clip_id", "source_id", "cluster", "split")).to_pylist()
    files = read_table(set_folder, CLIPS, ("clip_id", "media_sha256")).to_pydict()
    groups = read_table(set_folder, NEAR_DUPLICATES, ("source_id", "other_id", "group")).to_pydict()
    file_of = dict(zip(files["clip_id"], files["media_sha256"], strict=True))
    group_of = {
        source: group
        for side in ("source_id", "other_id")
        for source, group in zip(groups[side], groups["group"], strict=True)
    }
    seen: dict[tuple[LeakKind, str], list[str]] = defaultdict(list)
    for row in splits:
        seen["source", row["source_id"]].append(row["split"])
        seen["cluster", row["cluster"]].append(row["split"])
        if row["source_id"] in group_of:
            seen["near_duplicate", group_of[row["source_id"]]].append(row["split"])
        seen["file", file_of.get(row["clip_id"], row["clip_id"])].append(row["split"])
    return tuple(
        Leak(kind=kind, key=key, splits=tuple(sorted(set(found))), clips=len(found))
        for (kind, key), found in sorted(seen.items())
        if len(set(found)) > 1
    )
