"""Split a set into train, validation and test, so that no source, near duplicate or person is in two of them.

People are identified by the manifest column `speaker`; without it, faces are compared. Sources that share a copy or a
person form a cluster; the hash of the cluster name decides its split. If the shares of clips deviate from the targets,
as in small sets, clusters are moved to approach them. A large set that grows keeps its split unless clusters merge.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute creates its functions at import time, invisible to type checkers.

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from xsheet.curate.dedup.identity_clusters import cluster_rows
from xsheet.curate.dedup.union_find import UnionFind
from xsheet.curate.filter.decide import ClipTotals, lengths_us
from xsheet.runtime.lock import write_lock
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import content_key
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import Split, SplitName

_SHARE_TOLERANCE = 0.25  # relative; the hash alone meets it in sets of some hundred clusters


class SplitSettings(StrictModel):
    """How a set is split."""

    val: float = Field(default=0.05, ge=0, lt=1, description="share of the clips for validation")
    test: float = Field(default=0.05, ge=0, lt=1, description="share of the clips for the test")
    seed: int = Field(default=0, ge=0, description="seed of the hash")
    identity: Literal["face", "source"] = Field(
        default="face",
        description="face: join sources with similar faces; source: assume that each source has its own people",
    )
    max_identity_distance: float = Field(
        default=0.8,
        gt=0,
        description="largest RMS difference of two embeddings of one person, in the unit of the identity model; "
        "docs/log/curate.md#split",
    )
    max_exact_tracks: int = Field(
        default=100_000,
        ge=0,
        description="tracks up to which every pair of faces is compared; more are looked up in an approximate index",
    )

    @model_validator(mode="after")
    def _leaves_some_to_train(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(
                f"expected val + test < 1, so that some clips remain to train on, got {self.val + self.test:g}"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """Totals of each split."""

    totals: Mapping[SplitName, ClipTotals]
    cluster_counts: Mapping[SplitName, int]
    largest_cluster_share: float  # share of all clips; near 1 if faces are not separated
    clips_by_identity_method: Mapping[str, int]  # clips by method that identified the person


def split_set(set_folder: Path, settings: SplitSettings | None = None) -> SplitSummary:
    """Write the table `splits` for the clips of a set.

    Raises:
        ConfigError: a split with a share would be empty, because there are too few clusters.
        ContractError: a table that this code does not read.
        RunError: another process writes to the set.
    """
    settings = settings or SplitSettings()
    with write_lock(set_folder):
        clips = tables.read_table(set_folder, tables.CLIPS, ["clip_id", "source_id", "track_id", "start_us", "end_us"])
        tracks = tables.read_table(set_folder, tables.TRACKS, ["track_id", "identity_embedding", "identity_model"])
        near = tables.read_table(set_folder, tables.NEAR_DUPLICATES, ["source_id", "other_id"])
        rows = split_clips(clips, tracks, near, settings, speakers=_named_speakers(set_folder, clips))
        summary = _summarise(rows, lengths_us(clips))
        _check_no_split_is_empty(set_folder, summary, settings)
        tables.write_table(set_folder, tables.SPLITS, rows)
    return summary


def _check_no_split_is_empty(set_folder: Path, summary: SplitSummary, settings: SplitSettings) -> None:
    shares: dict[SplitName, float] = {"train": 1.0, "val": settings.val, "test": settings.test}
    empty = [name for name, share in shares.items() if share and not summary.totals[name].clips]
    if empty and any(total.clips for total in summary.totals.values()):
        raise ConfigError(
            where=str(set_folder),
            expected=f"clips for {' and '.join(empty)}",
            got=f"{sum(summary.cluster_counts.values())} clusters of sources with a common person or picture",
            hint="add videos of other people, set the share to 0, or use identity=source if the people differ",
        )


def split_clips(
    clips: pa.Table, tracks: pa.Table, near: pa.Table, settings: SplitSettings, *, speakers: Sequence[str | None] = ()
) -> list[Split]:
    """Assign a split to each clip, in the order of the clips.

    Args:
        clips: clip_id, source_id, track_id.
        tracks: track_id, identity_embedding, identity_model; only tracks of clips count.
        near: source_id, other_id of near duplicates.
        settings: shares, seed, and how people are identified.
        speakers: name of the person in each clip; None if the manifest has no name; empty = no names at all.
    """
    sources: list[str] = clips["source_id"].to_pylist()
    clip_tracks: list[str | None] = clips["track_id"].to_pylist()
    copies = list(zip(near["source_id"].to_pylist(), near["other_id"].to_pylist(), strict=True))
    groups = UnionFind(sorted({*sources, *(source for pair in copies for source in pair)}))
    for source, copy in copies:
        groups.union(source, copy)
    names = speakers or [None] * len(sources)
    _join_named(groups, names, sources)
    models = _identity_models(tracks, set(clip_tracks)) if settings.identity == "face" else {}
    source_of = {track: source for track, source in zip(clip_tracks, sources, strict=True) if track in models}
    named = {track for track, name in zip(clip_tracks, names, strict=True) if name is not None}
    for first, *others in _identity_clusters(tracks, models, settings, named):
        for other in others:
            groups.union(source_of[first], source_of[other])
    cluster_of = {source: min(group) for group in groups.groups() for source in group}
    split_of = _assign_splits(Counter(cluster_of[source] for source in sources), settings)
    return [
        Split(
            clip_id=clip_id,
            source_id=source,
            cluster=cluster_of[source],
            split=split_of[cluster_of[source]],
            identity_by=models.get(track or "", "source") if name is None else "speaker",
        )
        for clip_id, source, track, name in zip(clips["clip_id"].to_pylist(), sources, clip_tracks, names, strict=True)
    ]


def _named_speakers(set_folder: Path, clips: pa.Table) -> list[str | None]:
    """The speaker of each clip by the manifest; None if it has no name."""
    wanted = set(clips["source_id"].to_pylist())
    found = {
        source.source_id: source
        for source in tables.iter_records(set_folder, tables.SOURCES)
        if source.source_id in wanted and source.duplicate_of is None
    }
    places = zip(clips["source_id"].to_pylist(), clips["start_us"].to_pylist(), strict=True)
    columns = (found[source].columns_at(start_us) if source in found else {} for source, start_us in places)
    return [one.get("speaker", "").strip() or None for one in columns]


def _join_named(groups: UnionFind[str], names: Sequence[str | None], sources: Sequence[str]) -> None:
    first_source: dict[str, str] = {}
    for name, source in zip(names, sources, strict=True):
        if name is not None:
            groups.union(first_source.setdefault(name, source), source)


def _assign_splits(clips_of: Mapping[str, int], settings: SplitSettings) -> dict[str, SplitName]:
    """The split of each cluster from its number of clips."""
    place = {cluster: int(content_key("split", settings.seed, cluster)[:12], 16) / 16**12 for cluster in clips_of}
    bounds = settings.test, settings.test + settings.val
    split_of: dict[str, SplitName] = {
        cluster: "test" if at < bounds[0] else "val" if at < bounds[1] else "train" for cluster, at in place.items()
    }
    targets: dict[SplitName, float] = {"test": settings.test, "val": settings.val}
    targets = {side: share * sum(clips_of.values()) for side, share in targets.items() if share}
    have = {side: sum(clips_of[c] for c, split in split_of.items() if split == side) for side in targets}
    # A surplus in one split can fill the other.
    for side in sorted(targets, key=lambda name: targets[name] - have[name]):
        _correct_share(split_of, side, targets[side], clips_of, place)
    return split_of


def _correct_share(
    split_of: dict[str, SplitName],
    side: SplitName,
    target: float,
    clips_of: Mapping[str, int],
    place: Mapping[str, float],
) -> None:
    """Exchange clusters between one split and train while that brings its number of clips nearer to the target.

    Nothing moves when the share is within _SHARE_TOLERANCE; neither side is emptied.
    """
    names: tuple[SplitName, ...] = (side, "train")
    members = {name: {c for c, split in split_of.items() if split == name} for name in names}
    have = sum(clips_of[cluster] for cluster in members[side])
    if have and abs(have - target) <= _SHARE_TOLERANCE * target:
        return
    while True:
        donor: SplitName = "train" if have < target else side
        sign = 1 if donor == "train" else -1
        if len(members[donor]) < 2:
            return
        receiver: SplitName = side if donor == "train" else "train"
        best = min(members[donor], key=lambda c: (abs(have + sign * clips_of[c] - target), place[c]))
        after = have + sign * clips_of[best]
        if have and abs(after - target) >= abs(have - target):
            return
        members[donor].remove(best)
        members[receiver].add(best)
        split_of[best], have = receiver, after


def _identity_models(tracks: pa.Table, track_ids: set[str | None]) -> dict[str, str]:
    """Identity model of each of these tracks that has an embedding."""
    names: list[str] = tracks["track_id"].to_pylist()
    models: list[str | None] = tracks["identity_model"].to_pylist()
    lengths: list[int] = pc.list_value_length(tracks["identity_embedding"]).to_pylist()
    rows = zip(names, models, lengths, strict=True)
    return {track: model for track, model, length in rows if track in track_ids and model and length}


def _identity_clusters(
    tracks: pa.Table, models: Mapping[str, str], settings: SplitSettings, named: Set[str | None]
) -> Iterator[list[str]]:
    """Groups of tracks of one person. Embeddings of different models are not compared, nor two `named` tracks."""
    if not models:
        return
    track_ids: list[str] = tracks["track_id"].to_pylist()
    lists = tracks["identity_embedding"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    values, ends = pc.list_flatten(lists).to_numpy(zero_copy_only=False), np.cumsum(lengths)
    by_model: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for row, track in enumerate(track_ids):
        if track in models:
            by_model[models[track], int(lengths[row])][track] = row
    for (_, width), row_of in by_model.items():
        names, rows = list(row_of), np.fromiter(row_of.values(), np.int64)
        clusters = cluster_rows(
            values[(ends[rows] - width)[:, None] + np.arange(width)],
            settings.max_identity_distance,
            max_exact_rows=settings.max_exact_tracks,
            is_named=np.array([name in named for name in names]),
        )
        yield from ([names[k] for k in group] for group in clusters)


def _summarise(rows: list[Split], lengths: NDArray[np.int64]) -> SplitSummary:
    names: tuple[SplitName, ...] = ("train", "val", "test")
    parts: dict[SplitName, ClipTotals] = {name: ClipTotals() for name in names}
    clips_of: dict[str, int] = defaultdict(int)
    identity_by: dict[str, int] = defaultdict(int)
    for row, length in zip(rows, lengths.tolist(), strict=True):
        parts[row.split] += ClipTotals(1, length)
        clips_of[row.cluster] += 1
        identity_by[row.identity_by] += 1
    clusters: dict[SplitName, int] = {name: len({row.cluster for row in rows if row.split == name}) for name in names}
    largest = max(clips_of.values(), default=0) / max(len(rows), 1)
    return SplitSummary(
        totals=parts, cluster_counts=clusters, largest_cluster_share=largest, clips_by_identity_method=dict(identity_by)
    )
