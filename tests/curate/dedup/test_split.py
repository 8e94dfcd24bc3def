from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.dedup.identity_clusters import cluster_rows
from xsheet.curate.dedup.split import SplitSettings, split_clips, split_set
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import FaceTrack, ManifestColumn, NearDuplicate, SourceSegment, SourceVideo, Split
from xsheet.schemas.tables import CLIPS, NEAR_DUPLICATES, SOURCES, SPLITS, TRACKS, iter_records, to_arrow, write_table

HASH = "ab" * 32


def clip(name: str, source: str, track: str | None = None) -> Clip:
    return Clip(
        clip_id=name, source_id=source, track_id=track, start_us=0, end_us=4_000_000, media_path=f"media/{name}.mp4",
        media_sha256=HASH, frames=100, samples=64_000, width=64, height=64,
    )  # fmt: skip


def track(name: str, source: str, shape: Sequence[float], model: str | None = "m@1") -> FaceTrack:
    return FaceTrack(
        track_id=name, source_id=source, detector="d@1", start_frame=0, frames=1, x0=(0.0,), y0=(0.0,), x1=(1.0,),
        y1=(1.0,), identity_embedding=tuple(shape), identity_model=model,
    )  # fmt: skip


def near(one: str, other: str) -> NearDuplicate:
    return NearDuplicate(
        group=min(one, other), source_id=one, other_id=other, by="sound", lag_frames=0, matched_frames=90, bit_error=0.1
    )


def split(clips: Any, tracks: Any = (), copies: Any = (), **changes: Any) -> list[Split]:
    return split_clips(
        to_arrow(list(clips), CLIPS), to_arrow(list(tracks), TRACKS), to_arrow(list(copies), NEAR_DUPLICATES),
        SplitSettings(**changes),
    )  # fmt: skip


people = st.lists(st.integers(0, 8), min_size=1, max_size=40)  # of each clip
links = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), max_size=4)


@pytest.mark.slow
@given(people, st.data(), links, st.integers(0, 5))
def test_no_source_person_or_copy_is_in_two_parts(person_of, data, links, seed):
    source_of = [data.draw(st.integers(0, 15)) for _ in person_of]
    noise = np.random.default_rng(seed)
    clips = [clip(f"c{k}", f"s{source}", f"t{k}") for k, source in enumerate(source_of)]
    tracks = [
        track(f"t{k}", f"s{source_of[k]}", 10.0 * person + noise.uniform(-0.3, 0.3, 5))
        for k, person in enumerate(person_of)
    ]
    copies = [near(f"s{a}", f"s{b}") for a, b in links]
    rows = split(clips, tracks, copies, val=0.3, test=0.3, seed=seed)
    parts: dict[Any, set[str]] = {}
    for row, person in zip(rows, person_of, strict=True):
        for key in (("source", row.source_id), ("person", person), ("cluster", row.cluster)):
            parts.setdefault(key, set()).add(row.split)
    for a, b in links:
        of = parts.get(("source", f"s{a}"), set()) | parts.get(("source", f"s{b}"), set())
        parts["copy", a, b] = of
    assert all(len(found) <= 1 for found in parts.values())


@pytest.mark.slow
@given(st.permutations(range(12)))
def test_the_split_is_a_function_of_the_set_and_not_of_its_order(order):
    clips = [clip(f"c{k}", f"s{k // 2}", f"t{k}") for k in range(12)]
    tracks = [track(f"t{k}", f"s{k // 2}", [float(k // 4), 0.0]) for k in range(12)]
    rows = {row.clip_id: row for row in split(clips, tracks)}
    assert {row.clip_id: row for row in split([clips[k] for k in order], tracks[::-1])} == rows


def test_shares_are_met_on_average():
    rows = split((clip(f"c{k}", f"s{k}") for k in range(4000)), val=0.1, test=0.2)
    shares = {name: np.mean([row.split == name for row in rows]) for name in ("train", "val", "test")}
    assert shares == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.02)


@given(st.lists(st.integers(1, 6), min_size=3, max_size=12), st.integers(0, 20))
def test_small_sets_meet_their_shares_as_well_as_clusters_allow(sizes, seed):
    clips = [clip(f"c{k}-{n}", f"s{k}") for k, size in enumerate(sizes) for n in range(size)]
    rows = split(clips, val=0.15, test=0.15, seed=seed)
    for side in ("val", "test"):
        count = sum(row.split == side for row in rows)
        assert 0 < count <= max(0.15 * len(rows) + max(sizes), min(sizes))
    assert any(row.split == "train" for row in rows)


def test_a_split_that_would_be_empty_is_refused(tmp_path):
    write_table(tmp_path, CLIPS, [clip(f"c{k}", "s1") for k in range(9)])
    with pytest.raises(ConfigError, match="expected clips for val and test, got 1 clusters"):
        split_set(tmp_path)
    assert split_set(tmp_path, SplitSettings(val=0, test=0)).totals["train"].clips == 9


def test_a_large_set_that_grows_keeps_its_split():
    before = {row.clip_id: row.split for row in split(clip(f"c{k}", f"s{k}") for k in range(400))}
    after = {row.clip_id: row.split for row in split(clip(f"c{k}", f"s{k}") for k in range(800))}
    assert before.items() <= after.items()


def test_copies_are_joined_through_a_source_without_clips():
    rows = split([clip("c1", "s1"), clip("c3", "s3")], copies=[near("s1", "s2"), near("s2", "s3")])
    assert {row.cluster for row in rows} == {"s1"}


def test_each_clip_names_its_identity_method():
    clips = [clip("c1", "s1", "t1"), clip("c2", "s2", "t2"), clip("c3", "s3")]
    tracks = [track("t1", "s1", [1.0]), track("t2", "s2", [], model=None)]
    assert [row.identity_by for row in split(clips, tracks)] == ["m@1", "source", "source"]
    assert {row.identity_by for row in split(clips, tracks, identity="source")} == {"source"}


def test_embeddings_of_different_models_are_not_compared():
    clips = [clip("c1", "s1", "t1"), clip("c2", "s2", "t2")]
    tracks = [track("t1", "s1", [1.0], model="a@1"), track("t2", "s2", [1.0], model="b@1")]
    assert [row.cluster for row in split(clips, tracks)] == ["s1", "s2"]


def test_a_face_in_the_background_joins_nobody():
    clips = [clip("c1", "s1", "t1"), clip("c2", "s2", "t2")]
    tracks = [track("t1", "s1", [1.0]), track("t2", "s2", [9.0]), track("other", "s2", [1.0])]
    assert [row.cluster for row in split(clips, tracks)] == ["s1", "s2"]


def test_names_of_the_manifest_decide_who_is_who():
    clips = [clip(f"c{k}", f"s{k}", f"t{k}") for k in range(6)]
    tracks = [track(f"t{k}", f"s{k}", [x]) for k, x in enumerate((1.0, 1.0, 9.0, 5.0, 5.0, 9.0))]
    names = ["ada", "ben", "ada", None, None, "cyd"]  # ada and ben look alike, ada looks like cyd once
    rows = split_clips(
        to_arrow(clips, CLIPS), to_arrow(tracks, TRACKS), to_arrow([], NEAR_DUPLICATES), SplitSettings(),
        speakers=names,
    )  # fmt: skip
    assert [row.cluster for row in rows] == ["s0", "s1", "s0", "s3", "s3", "s5"]
    assert [row.identity_by for row in rows] == ["speaker"] * 3 + ["m@1"] * 2 + ["speaker"]


def test_a_set_is_split_by_the_speakers_of_its_manifest(tmp_path):
    def named(index: int, *, in_segment: bool) -> SourceVideo:
        columns = (ManifestColumn(key="speaker", value=f" person {index % 3} "),)
        segment = SourceSegment(start_us=0, end_us=4_000_000, columns=columns)
        return SourceVideo(
            source_id=f"s{index}", path=f"{index}.mp4", status="ok",
            manifest_columns=() if in_segment else columns, segments=(segment,) if in_segment else (),
        )  # fmt: skip

    write_table(tmp_path, SOURCES, [named(k, in_segment=k > 3) for k in range(9)])
    write_table(tmp_path, CLIPS, [clip(f"c{k}", f"s{k}") for k in range(9)])
    summary = split_set(tmp_path, SplitSettings(val=0.3, test=0.3))
    assert summary.cluster_counts == {"train": 1, "val": 1, "test": 1}
    assert summary.clips_by_identity_method == {"speaker": 9}


@pytest.mark.parametrize("max_exact_rows", [0, 100])
@given(values=st.lists(st.integers(-20, 20), min_size=1, max_size=30), distance=st.integers(1, 4))
def test_cluster_rows_joins_rows_within_the_distance(values, distance, max_exact_rows):
    rows = np.array(values, float)[:, None] * np.ones(3) + 1000.0
    found = sorted(sorted(group) for group in cluster_rows(rows, distance, max_exact_rows=max_exact_rows))
    ranked = sorted(range(len(values)), key=lambda k: values[k])
    expected, last = [], None
    for k in ranked:
        if last is None or values[k] - last > distance:
            expected.append([])
        expected[-1].append(k)
        last = values[k]
    assert found == sorted(sorted(group) for group in expected)


def test_cluster_rows_joins_across_blocks(monkeypatch):
    monkeypatch.setattr("xsheet.curate.dedup.identity_clusters._BLOCK_ROWS", 3)
    groups = cluster_rows(np.array([[0.0], [5.0], [0.1], [9.0], [5.1], [0.2], [9.1]]), 0.15, max_exact_rows=100)
    assert sorted(sorted(group) for group in groups) == [[0, 2, 5], [1, 4], [3, 6]]


@pytest.mark.slow
def test_the_index_finds_the_groups_that_all_pairs_give():
    rng = np.random.default_rng(3)
    people = rng.normal(size=(150, 18))
    rows = people[rng.integers(0, 150, 1500)] + 0.1 * rng.normal(size=(1500, 18))
    is_named = rng.random(1500) < 0.2
    exact, indexed = (cluster_rows(rows, 0.35, max_exact_rows=most, is_named=is_named) for most in (1500, 0))
    assert sorted(sorted(group) for group in exact) == indexed
    assert 150 <= len(indexed) < 500


def test_nothing_left_to_train_on_is_refused():
    with pytest.raises(ValueError, match="train"):
        SplitSettings(val=0.5, test=0.5)


def test_a_set_gets_its_table_and_a_summary(tmp_path):
    write_table(tmp_path, CLIPS, [clip(f"c{k}", f"s{k // 3}", f"t{k}") for k in range(90)])
    write_table(tmp_path, TRACKS, [track(f"t{k}", f"s{k // 3}", [float(k // 3)]) for k in range(90)])
    summary = split_set(tmp_path, SplitSettings(val=0.2, test=0.2))
    rows = list(iter_records(tmp_path, SPLITS))
    assert len(rows) == sum(part.clips for part in summary.totals.values()) == 90
    assert summary.totals["val"].clips == sum(row.split == "val" for row in rows)
    assert sum(summary.cluster_counts.values()) == 30
    assert summary.largest_cluster_share == pytest.approx(3 / 90)
    assert summary.clips_by_identity_method == {"m@1": 90}


def test_a_set_without_clips_has_an_empty_split(tmp_path):
    assert split_set(tmp_path).largest_cluster_share == 0
    assert list(iter_records(tmp_path, SPLITS)) == []
