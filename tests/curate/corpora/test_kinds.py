"""Every corpus in its own published form goes into a manifest that `curate run` reads."""

import json

import pytest

from xsheet.curate.corpora.importer import import_corpus, write_import
from xsheet.curate.corpora.kinds import KINDS, parse_kind
from xsheet.curate.manifest import read_manifest
from xsheet.schemas.errors import ConfigError

SPANS = {"aaaaaaaaaa1": [(1.0, 4.0), (5.0, 8.0)], "bbbbbbbbbb2": [(0.0, 3.0)]}


def manifest_of(found, out):
    write_import(found, out)
    return read_manifest(out, {})


def spans(entry):
    return [(one.start_us / 1e6, one.end_us / 1e6) for one in entry.segments]


def columns(entry, k=0):
    return {one.key: one.value for one in (entry.segments[k].columns if entry.segments else entry.columns)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_clips_whose_videos_are_there_are_in_the_manifest_and_the_others_are_rows(kind, corpus, tmp_path):
    meta, videos = corpus(kind)
    found = import_corpus(kind, meta, videos, {})
    entries = manifest_of(found, tmp_path / "m.parquet")
    assert [entry.path for entry in entries] == ["videos/aaaaaaaaaa1.mp4", "videos/bbbbbbbbbb2.mp4"]
    if kind == "video-folder":
        assert [entry.segments for entry in entries] == [(), ()]
    else:
        assert [spans(entry) for entry in entries] == list(SPANS.values())
    assert [(one.reason, "cccccccccc3" in one.message) for one in found.problems] == [("missing", True)]
    assert (columns(entries[0])["corpus"], (tmp_path / "m.missing.csv").read_text().count("\n")) == (kind, 2)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("hdtf", {"label": "WDA"}),
        ("celebv-hq", {"label": "happy", "actions": "nod"}),
        ("talkvid", {"speaker": "a", "caption": "talks", "licence": "CC-BY-NC-4.0", "language": "English"}),
        ("voxceleb2", {"speaker": "id00000", "av_offset_frames": "-1", "face_confidence": "20.1"}),
        ("speakervid-5m", {"speaker": "aaaaaaaaaa1/SPEAKER_00", "sync_conf": "5.1", "is_talking": "1"}),
        ("vip-200k", {"speaker": "vip-1", "caption": "talks"}),
        ("talkverse", {"caption": "talks", "score": "0.5", "licence": "Snap Inc. Non-Commercial License"}),
        ("openhumanvid", {"caption": "talks", "score": "0.5"}),
        ("video-folder", {"caption": "talks", "corpus_path": "/etc/passwd"}),
    ],
)  # fmt: skip
def test_what_a_corpus_states_of_a_clip_is_kept(kind, expected, corpus, tmp_path):
    meta, videos = corpus(kind)
    entry = manifest_of(import_corpus(kind, meta, videos, {}), tmp_path / "m.jsonl")[0]
    assert {name: columns(entry).get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("kind", "crop", "height"),
    [
        ("hdtf", (16, 0, 80, 96), 96),
        ("celebv-hq", (0.125, 0, 0.625, 1), None),
        ("voxceleb2", (0.125, 0.1, 0.625, 0.9), None),
        ("speakervid-5m", (0.1, 0, 0.9, 1), None),
    ],
)
def test_the_crop_of_a_clip_is_kept(kind, crop, height, corpus, tmp_path):
    meta, videos = corpus(kind)
    segment = manifest_of(import_corpus(kind, meta, videos, {}), tmp_path / "m.csv")[0].segments[0]
    assert (segment.crop, segment.crop_height) == (pytest.approx(crop), height)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("hdtf", "Namea_0.mp4"), ("hdtf", "WDA_Namea_000.mp4"), ("celebv-hq", "aaaaaaaaaa1_0.mp4"),
        ("talkvid", "aaaaaaaaaa1/aaaaaaaaaa1_001_1.000_4.000.mp4"), ("voxceleb2", "id00000/aaaaaaaaaa1/00000.mp4"),
        ("openhumanvid", "batch/aaaaaaaaaa1_0.mp4"),
    ],
)  # fmt: skip
def test_a_clip_that_was_cut_already_is_taken_whole(kind, name, corpus, tmp_path):
    meta, videos = corpus(kind)
    (videos / name).parent.mkdir(parents=True, exist_ok=True)
    (videos / name).write_bytes(b"")
    entries = {entry.path: entry for entry in manifest_of(import_corpus(kind, meta, videos, {}), tmp_path / "m.csv")}
    assert entries[f"videos/{name}"].segments == ()
    assert spans(entries["videos/aaaaaaaaaa1.mp4"]) == [(5.0, 8.0)]


def test_clips_that_were_cut_without_their_sound_are_taken_where_the_recording_is_missing(corpus, tmp_path):
    meta, videos = corpus("speakervid-5m")
    name = "aaaaaaaaaa1/aaaaaaaaaa1_full_video_1080x1920_000_A.mp4"
    (videos / name).parent.mkdir()
    (videos / name).write_bytes(b"")
    before = manifest_of(import_corpus("speakervid-5m", meta, videos, {}), tmp_path / "m.csv")
    assert "videos/aaaaaaaaaa1.mp4" in {entry.path for entry in before}
    (videos / "aaaaaaaaaa1.mp4").unlink()
    after = manifest_of(import_corpus("speakervid-5m", meta, videos, {}), tmp_path / "m.csv")
    assert {entry.path: entry.segments for entry in after}[f"videos/{name}"] == ()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("aaaaaaaaaa1_1080x1920_full_video_001_A", {"org_start_seconds": 1, "video_total_duration": 2}),
        ("clip", {"video_name": "aaaaaaaaaa1_full_video", "start": "00:00:01", "duration": "00:00:02"}),
        ("clip", {"youtube_id": "aaaaaaaaaa1", "start_seconds": 1, "end_seconds": 3, "start": 1.2, "duration": 1.5}),
        ("clip", {"youtube_id": "aaaaaaaaaa1", "org_start_seconds": 1, "video_total_duration": 2, "end_seconds": 9}),
    ],
)
def test_a_clip_of_speakervid_may_state_its_recording_and_time_in_several_ways(name, row, tmp_path):
    (tmp_path / "aaaaaaaaaa1.mp4").write_bytes(b"")
    (tmp_path / f"{name}.json").write_text(json.dumps(row))
    (one,) = import_corpus("speakervid-5m", tmp_path / f"{name}.json", tmp_path, {}).placed
    assert (one.file.name, one.start_us, one.end_us) == ("aaaaaaaaaa1.mp4", 1_000_000, 3_000_000)


def test_the_tables_of_openhumanvid_name_clips_without_suffix_and_end_in_empty_columns(tmp_path):
    """As users read OpenHumanVid_part_001.csv; its archives hold part_001/f6/05/HASH.mp4."""
    clip = "f605b8e91db3dd66865f3ea1b4e3621d"
    (tmp_path / "part_001/f6/05").mkdir(parents=True)
    (tmp_path / f"part_001/f6/05/{clip}.mp4").write_bytes(b"")
    (tmp_path / "OpenHumanVid_part_001.csv").write_text(
        f"clip_id,path,caption,luminance_min,aesthetic,,\n{clip},clips/part_001/f6/05/{clip},talks,12,5.1,,\n"
    )
    found = import_corpus("openhumanvid", tmp_path / "OpenHumanVid_part_001.csv", tmp_path, {})
    (entry,) = manifest_of(found, tmp_path / "m.parquet")
    assert entry.path == f"part_001/f6/05/{clip}.mp4"
    kept = {
        "caption": "talks",
        "luminance_min": "12",
        "aesthetic": "5.1",
        "corpus_path": f"clips/part_001/f6/05/{clip}",
    }
    assert kept.items() <= columns(entry).items()
    assert "" not in columns(entry)


def test_the_table_of_talkverse_names_files_and_scenes(tmp_path):
    """As the project's training reads it: video_path, fps, scenes (frames, both ends included)."""
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "t.csv").write_text('video_path,fps,scenes\n/data/panda70m/videos/a.mp4,30.0,"0,99;100,200"\n')
    found = import_corpus("talkverse", tmp_path / "t.csv", tmp_path, {})
    (entry,) = manifest_of(found, tmp_path / "m.csv")
    assert (entry.path, columns(entry)["scenes"]) == ("a.mp4", "0,99;100,200")


@pytest.mark.parametrize("name", ["A talk [aaaaaaaaaa1].mp4", "A talk-aaaaaaaaaa1.webm", "sub/aaaaaaaaaa1.mkv"])
def test_a_video_is_found_by_the_id_in_its_name(name, corpus, tmp_path):
    meta, videos = corpus("talkvid")
    (videos / name).parent.mkdir(exist_ok=True)
    (videos / "aaaaaaaaaa1.mp4").rename(videos / name)
    entries = manifest_of(import_corpus("talkvid", meta, videos, {}), tmp_path / "m.csv")
    assert {entry.path for entry in entries} == {f"videos/{name}", "videos/bbbbbbbbbb2.mp4"}


def test_two_files_of_one_id_are_a_row_not_a_choice(corpus):
    meta, videos = corpus("talkvid")
    (videos / "aaaaaaaaaa1.mkv").write_bytes(b"")
    found = import_corpus("talkvid", meta, videos, {})
    assert [one.reason for one in found.problems] == ["ambiguous", "ambiguous", "missing"]
    assert "remove the others" in found.problems[0].message


def test_clips_that_overlap_or_repeat_in_a_video_are_rows(corpus, tmp_path):
    meta, videos = corpus("talkvid")
    rows = json.loads(meta.read_text())
    meta.write_text(json.dumps([*rows, rows[0], rows[1] | {"start-time": 3.5}]))
    found = import_corpus("talkvid", meta, videos, {})
    assert sorted(one.reason for one in found.problems) == ["duplicate", "missing", "overlaps"]
    assert len(manifest_of(found, tmp_path / "m.csv")) == 2


def test_a_folder_without_metadata_gives_labels_and_splits(tmp_path):
    for name in ("train/nod/a.mp4", "validation/wave/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    entries = manifest_of(import_corpus("video-folder", tmp_path, tmp_path, {}), tmp_path / "m.csv")
    assert [(columns(e)["label"], columns(e)["split"]) for e in entries] == [("nod", "train"), ("wave", "val")]


def test_columns_that_are_called_otherwise_are_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "t.csv").write_text("clip,words_of_clip\na.mp4,talks\n")
    found = import_corpus("openhumanvid", tmp_path / "t.csv", tmp_path, {"path": "clip", "caption": "words_of_clip"})
    assert found.placed[0].clip.columns["caption"] == "talks"


def test_an_unknown_kind_is_one_sentence():
    with pytest.raises(ConfigError, match=r"KIND: expected one of hdtf, .* got 'hdft'"):
        parse_kind("hdft")
