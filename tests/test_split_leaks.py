"""Clips in two splits that share a person, a source, a file or pictures are found by kind."""

import json

from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.schemas.clip import Clip
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import NearDuplicate, Split
from xsheet.schemas.tables import CLIPS, NEAR_DUPLICATES, SPLITS, write_table
from xsheet.sets.split_leaks import find_split_leaks


def clip(name, source, digest):
    return Clip(
        clip_id=name, source_id=source, start_us=0, end_us=4_000_000, media_path=f"media/{name}.mp4",
        media_sha256=digest * 64, frames=100, samples=0, width=64, height=64,
    )  # fmt: skip


def split(name, source, cluster, word):
    return Split(clip_id=name, source_id=source, cluster=cluster, split=word, identity_by="faces@1")


def test_leaks_between_splits_are_found_by_kind(tmp_path):
    write_table(tmp_path, SPLITS, [
        split("c0", "s0", "s0", "train"), split("c1", "s1", "s0", "test"),  # one person
        split("c2", "s2", "s2", "train"), split("c3", "s2", "s3", "val"),  # one source
        split("c4", "s4", "s4", "train"), split("c5", "s5", "s5", "test"),  # one file
        split("c6", "s6", "s6", "train"), split("c7", "s7", "s7", "test"),  # near duplicates
        split("c8", "s8", "s8", "train"), split("c9", "s8", "s8", "train"),  # no leak
    ])  # fmt: skip
    digests = "0123556789"
    write_table(tmp_path, CLIPS, [clip(f"c{k}", f"s{k}", digests[k] if k != 4 else "5") for k in range(10)])
    write_table(tmp_path, NEAR_DUPLICATES, [
        NearDuplicate(
            group="s6", source_id="s6", other_id="s7", by="picture", lag_frames=0, matched_frames=90, bit_error=0.1
        )
    ])  # fmt: skip
    found = {(leak.kind, leak.key[:2]): (leak.splits, leak.clips) for leak in find_split_leaks(tmp_path)}
    assert found == {
        ("cluster", "s0"): (("test", "train"), 2),
        ("source", "s2"): (("train", "val"), 2),
        ("file", "55"): (("test", "train"), 2),
        ("near_duplicate", "s6"): (("test", "train"), 2),
    }


def test_a_set_without_splits_leaks_nothing(tmp_path):
    assert find_split_leaks(tmp_path) == ()


def test_the_statistics_of_a_set_name_its_leaks(tmp_path):
    create_set(tmp_path / "s", "s")
    write_table(tmp_path / "s", SPLITS, [split("c0", "s0", "s0", "train"), split("c1", "s1", "s0", "test")])
    write_table(tmp_path / "s", CLIPS, [clip("c0", "s0", "0"), clip("c1", "s1", "1")])
    (leak,) = json.loads(CliRunner().invoke(app, ["set", "stats", str(tmp_path / "s"), "--json"]).stdout)["split_leaks"]
    assert leak == {"kind": "cluster", "key": "s0", "splits": ["test", "train"], "clips": 2}
    assert "1 in more than one split" in CliRunner().invoke(app, ["set", "stats", str(tmp_path / "s")]).stdout
