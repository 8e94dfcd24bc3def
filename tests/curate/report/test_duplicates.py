from xsheet.curate.report.duplicates import duplicate_groups, split_rows
from xsheet.schemas import tables
from xsheet.schemas.sets import create_set


def test_near_duplicates_come_as_groups_with_paths_and_evidence(make_set):
    (group,) = duplicate_groups(make_set(twice=2))
    assert group.source_count == 2
    assert {(row.path, row.other_path, row.modality) for row in group.pairs} == {
        ("videos/talk-0000.mp4", "videos/talk-0001.mp4", by) for by in ("picture", "sound")
    }
    assert {row.matched_s for row in group.pairs} == {20.0}


def test_every_clip_is_counted_in_its_split(make_set):
    folder = make_set()
    rows = split_rows(folder)
    clips = list(tables.iter_records(folder, tables.CLIPS))
    assert [row["split"] for row in rows] == ["train", "val"]
    assert sum(row["clip_id_count"] for row in rows) == len(clips)
    assert sum(row["us_sum"] for row in rows) == sum(clip.span.duration_us for clip in clips)


def test_a_set_that_was_not_grouped_has_neither(tmp_path):
    create_set(tmp_path / "set", "nothing")
    assert duplicate_groups(tmp_path / "set") == []
    assert split_rows(tmp_path / "set") == []
