"""Candidates made again from stored results: no video is there, so nothing can be decoded."""

from pathlib import Path

import numpy as np
import pytest

from xsheet.curate.discover import InputFile
from xsheet.curate.items import analysis_items, segment_items
from xsheet.curate.pipeline import RunContext
from xsheet.curate.resegment import resegment
from xsheet.curate.settings import AnalysisSettings, CurateSettings
from xsheet.runtime.executor import Execution, Outcome
from xsheet.runtime.result_store import ResultStore
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, PartMotion
from xsheet.schemas.errors import ContractError, RunError
from xsheet.schemas.sets import create_set
from xsheet.schemas.settings import load_settings
from xsheet.schemas.source import FaceTrack, SourceVideo, Timeline

FRAMES, CUT = 400, 200


def key_of(index: int) -> str:
    return f"{index:032x}"


def settings(*overrides: str) -> CurateSettings:
    return load_settings(CurateSettings, overrides=overrides)


@pytest.fixture
def analysed(tmp_path: Path) -> Path:
    return write_analysed(tmp_path / "set", films=2)


def write_analysed(folder: Path, *, films: int) -> Path:
    """A set of films with a cut in the middle and one face, as the decode leaves it."""
    create_set(folder, "planted")
    rng, store, sources = np.random.default_rng(0), ResultStore(folder, "analysis"), []

    def noise(mean: float, deviation: float) -> tuple[float, ...]:
        return tuple(rng.normal(mean, deviation, FRAMES))

    for index in range(films):
        source = SourceVideo(
            source_id=f"src_{index}", path=f"{index}.mp4", status="ok", width=640, height=480,
            analysis_key=key_of(index),
        )  # fmt: skip
        still, content = (0.0,) * FRAMES, np.zeros(FRAMES)
        content[CUT] = 30.0
        timeline = Timeline(
            source_id=source.source_id, frames=FRAMES, extractor="x", cut_content=tuple(content), cut_jump=still,
            cut_histogram=still, cut_blend=still, voice=(1.0,) * FRAMES, voice_detector="x",
            mouth_open_from_audio=noise(0, 1), mouth_width_from_audio=noise(0, 1), energy_db=(-20.0,) * FRAMES,
            clipped=still, silent=still,
        )  # fmt: skip
        face = FaceTrack(
            track_id=f"track_{index}", source_id=source.source_id, detector="x", start_frame=0, frames=FRAMES,
            x0=(0.3,) * FRAMES, y0=(0.3,) * FRAMES, x1=(0.6,) * FRAMES, y1=(0.6,) * FRAMES,
            mouth_open=noise(0.1, 0.05), mouth_wide=noise(0.3, 0.05),
        )  # fmt: skip
        store.write(Outcome(key=key_of(index), name=source.path, status="ok"), [source, timeline, face])
        sources.append(source)
    tables.write_table(folder, tables.SOURCES, sources)
    return folder


def segment(folder: Path, *overrides: str):
    context = RunContext(set_folder=folder, execution=Execution(), shows_progress=False)
    return resegment(folder, settings(*overrides), context)


@pytest.mark.slow
def test_changes_are_counted_and_clips_of_other_candidates_leave(analysed: Path):
    first = segment(analysed)
    assert (first.candidates_added, first.shots_added, first.candidates_removed) == (4, 4, 0)
    rows = list(tables.iter_records(analysed, tables.MEASURES))
    clips = [
        Clip(clip_id=row.clip_id, source_id=row.source_id, track_id=row.track_id, start_us=row.start_us,
             end_us=row.end_us, media_path=f"media/{k}.mp4", media_sha256="ab" * 32, frames=100, samples=0, width=64,
             height=48, audio_shift_us=-40_000 * row.sync.offset_frames if row.sync_corrected else 0)
        for k, row in enumerate(rows)
    ]  # fmt: skip
    tables.write_table(analysed, tables.CLIPS, clips)

    again = segment(analysed)
    assert (again.candidates_unchanged, again.candidates_rescored, again.clips_removed) == (4, 0, 0)

    rescored = segment(analysed, "analysis.sync.max_offset_frames=3")
    assert (rescored.candidates_rescored, rescored.candidates_added, rescored.shots_added) == (4, 0, 0)

    moved = segment(analysed, "analysis.candidates.trim_frames=10")
    assert (moved.candidates_moved, moved.candidates_added, moved.candidates_removed) == (4, 0, 0)
    assert rescored.clips_removed + moved.clips_removed == 4  # the first by another correction of the offset
    assert moved.by_source == {"0.mp4": 2, "1.mp4": 2}

    joined = segment(analysed, "analysis.candidates.trim_frames=10", "analysis.shots.content_threshold=40",
                     "analysis.shots.adaptive_min_content=40")  # fmt: skip
    assert (joined.shots_added, joined.shots_removed) == (2, 4)
    assert len({row.shot_id for row in tables.iter_records(analysed, tables.MEASURES)}) == 2
    verdicts = {row.clip_id for row in tables.iter_records(analysed, tables.VERDICTS)}
    assert verdicts == {row.clip_id for row in tables.iter_records(analysed, tables.MEASURES)}


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("change", "counted"),
    [
        ("analysis.shots.content_threshold=40 analysis.shots.adaptive_min_content=40", "shots_removed"),
        ("analysis.candidates.trim_frames=10", "candidates_moved"),
        ("analysis.sync.max_offset_frames=3", "candidates_rescored"),
    ],
)
def test_a_thousand_sources_change_without_a_decode(change: str, counted: str, tmp_path: Path):
    folder = write_analysed(tmp_path / "set", films=1000)
    segment(folder)
    decodes = ResultStore(folder, "analysis")
    before = {key_of(index): decodes.find(key_of(index)) for index in range(1000)}
    changed = segment(folder, *change.split())
    assert (changed.sources, changed.counts[counted]) == (1000, 2000)
    again = ResultStore(folder, "analysis")
    assert {key: again.find(key) for key in before} == before
    assert not list(tmp_path.rglob("*.mp4"))  # nor was there anything to decode


@pytest.mark.slow
def test_the_measured_motion_of_a_candidate_that_stays_is_kept(analysed: Path):
    from dataclasses import replace

    segment(analysed)
    motion = (PartMotion(part="head", speed_median=0.1, speed_p90=0.2, visible_share=1.0),)
    rows = [replace(row, motion=motion) for row in tables.iter_records(analysed, tables.MEASURES)]
    tables.write_table(analysed, tables.MEASURES, rows)
    segment(analysed, "analysis.sync.max_offset_frames=3")
    assert {row.motion for row in tables.iter_records(analysed, tables.MEASURES)} == {motion}


@pytest.mark.slow
def test_missing_results_end_the_run_and_change_no_table(analysed: Path):
    segment(analysed)
    before = {path: path.read_bytes() for path in analysed.glob("*/part-*.parquet")}
    ResultStore(analysed, "analysis").compact(without=[key_of(1)])
    with pytest.raises(RunError, match=r"1\.mp4: expected stored results of its decode"):
        segment(analysed, "analysis.candidates.trim_frames=3")
    assert {path: path.read_bytes() for path in analysed.glob("*/part-*.parquet")} == before


def test_a_set_without_stored_results_is_named(tmp_path: Path):
    create_set(tmp_path / "set", "empty")
    with pytest.raises(ContractError, match="expected sources with stored results of a decode"):
        segment(tmp_path / "set")


# ---- keys: each step's results depend on what it reads, and on nothing else


SOURCE = SourceVideo(source_id="src_1", path="a.mp4", sha256="ab" * 32, status="ok", analysis_key="ab" * 8)


def keys(*overrides: str) -> tuple[str, str]:
    analysis = load_settings(AnalysisSettings, overrides=overrides)
    inputs = [InputFile(path="a.mp4", root=Path("/"))]
    (decode,) = analysis_items(inputs, [SOURCE], analysis, set_folder=Path("set"), models=None)
    (segments,) = segment_items([SOURCE], analysis.segment, set_folder=Path("set"))
    return decode.key, segments.key


@pytest.mark.parametrize(
    "change", ["shots.content_threshold=20", "candidates.max_frames=200", "sync.max_offset_frames=10"]
)
def test_what_needs_no_decode_changes_no_key_of_a_decode(change: str):
    (decode, segments), (changed_decode, changed_segments) = keys(), keys(change)
    assert changed_decode == decode
    assert changed_segments != segments


@pytest.mark.parametrize("change", ["long_side_px=512", "min_voiced_s=0", "faces.max_faces=1"])
def test_what_the_decode_reads_changes_its_key_alone(change: str):
    (decode, segments), (changed_decode, changed_segments) = keys(), keys(change)
    assert changed_decode != decode
    assert changed_segments == segments  # of the same decode


def test_segments_of_a_manifest_change_the_candidates_but_not_the_decode():
    from dataclasses import replace

    from xsheet.schemas.source import SourceSegment

    cut = replace(SOURCE, segments=(SourceSegment(start_us=0, end_us=2_000_000),))
    inputs, analysis = [InputFile(path="a.mp4", root=Path("/"))], AnalysisSettings()
    a, b = (analysis_items(inputs, [one], analysis, set_folder=Path("s"), models=None)[0].key for one in (SOURCE, cut))
    assert a == b
    a, b = (segment_items([one], analysis.segment, set_folder=Path("s"))[0].key for one in (SOURCE, cut))
    assert a != b
