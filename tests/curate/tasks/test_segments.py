import shutil
from pathlib import Path

import pytest

from xsheet.curate.discover import InputFile, inputs_of_set
from xsheet.curate.manifest import ManifestSegment
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.tasks.probe import probe_sources, with_manifest
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.source import ManifestColumn, SourceVideo

FILM = SourceVideo(source_id="src_1", path="a.mp4", status="ok", duration_us=10_000_000, width=1920, height=1080)


def probed(start_s: float, end_s: float | None, crop=None, crop_height=None) -> SourceVideo:
    segment = ManifestSegment(
        start_us=int(start_s * 1e6), end_us=None if end_s is None else int(end_s * 1e6), crop=crop,
        columns=(ManifestColumn(key="speaker", value="ada"),), crop_height=crop_height,
    )  # fmt: skip
    return with_manifest(FILM, InputFile(path="a.mp4", root=Path("/"), segments=(segment,)))


def test_pixels_become_shares_and_an_open_end_that_of_the_video():
    (segment,) = probed(2, None, (480, 0, 1440, 1080)).segments
    assert (segment.start_us, segment.end_us, segment.crop) == (2_000_000, 10_000_000, (0.25, 0.0, 0.75, 1.0))


def test_pixels_of_a_picture_of_another_height_become_shares_of_that_picture():
    (segment,) = probed(2, None, (320, 0, 960, 720), crop_height=720).segments
    assert segment.crop == (0.25, 0.0, 0.75, 1.0)


def test_an_end_up_to_a_second_behind_the_video_is_its_end():
    assert probed(2, 10.5).segments[0].end_us == 10_000_000


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ((11, None, None), "expected segments within its 10.000 s, got 11 s to its end"),
        ((2, 12, None), "expected segments within its 10.000 s, got 2 s to 12 s"),
        ((0, 5, (0.1, 0, 0.6, 1.002)), "expected shares of at most 1, or a crop of at least 2 pixels"),
        ((0, 5, (0, 0, 1921, 1080)), "expected a crop within 1920×1080 pixels, got 0, 0, 1921, 1080"),
    ],
)
def test_a_segment_that_does_not_fit_the_video_is_a_failed_row(segment, message):
    row = probed(*segment)
    assert (row.status, row.stage, row.reason) == ("failed", "segments", "bad_segment")
    assert message in row.message


def test_the_other_segments_of_a_video_stay_when_one_does_not_fit(tmp_path):
    """Also where the set is continued: the row of the manifest is not lost."""
    segments = tuple(
        ManifestSegment(start_us=start, end_us=start + 2_000_000, crop=crop, columns=())
        for start, crop in ((0, None), (3_000_000, (0, 0, 4000, 9)), (6_000_000, None), (60_000_000, None))
    )
    source = with_manifest(FILM, InputFile(path="a.mp4", root=Path("/"), segments=segments))
    assert (source.status, [one.start_us for one in source.segments]) == ("ok", [0, 6_000_000])
    assert [one.message.partition(": ")[2].partition(", got")[0] for one in source.unusable_segments] == [
        "expected a crop within 1920×1080 pixels", "expected segments within its 10.000 s",
    ]  # fmt: skip
    tables.write_table(tmp_path, tables.SOURCES, [source])
    assert inputs_of_set(tmp_path)[0].segments == segments


@pytest.mark.slow
def test_segments_that_only_a_copy_of_a_file_has_are_rows_with_a_reason(tmp_path, film):
    first = film("a.mp4", frames=75)
    shutil.copy(first, tmp_path / "b.mp4")
    segments = [
        ManifestSegment(start_us=start, end_us=start + 1_000_000, crop=None, columns=()) for start in (0, 1_000_000)
    ]
    inputs = [
        InputFile(path=str(tmp_path / name), root=tmp_path, segments=tuple(of))
        for name, of in (("a.mp4", segments[:1]), ("b.mp4", segments))
    ]
    one, other = probe_sources(inputs, out=tmp_path / "set", limits=MediaLimits(), execution=Execution())
    assert (other.duplicate_of, len(one.segments), len(other.segments)) == (one.path, 1, 1)
    (lost,) = other.unusable_segments
    assert lost.start_us == 1_000_000 and f"got those of a copy of {first}" in lost.message


def test_columns_of_a_clip_are_those_of_its_segment():
    source = probed(2, 5)
    assert source.columns_at(3_000_000) == {"speaker": "ada"}
    assert source.columns_at(6_000_000) == {}
