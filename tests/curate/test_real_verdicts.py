"""Real clips and planted faults against the verdict that their description implies."""

from importlib.resources import files
from pathlib import Path

import pytest

from xsheet.curate.discover import discover
from xsheet.curate.filter.decide import decide_set
from xsheet.curate.items import analysis_items, segment_items
from xsheet.curate.pipeline import RunContext
from xsheet.curate.result_tables import with_analysis, write_analysis_tables, write_segment_tables
from xsheet.curate.settings import CurateSettings
from xsheet.curate.tasks.analyse import AnalysisTask
from xsheet.curate.tasks.probe import probe_sources
from xsheet.curate.tasks.segment import SegmentTask
from xsheet.runtime.executor import Execution, run_task
from xsheet.schemas import tables
from xsheet.schemas.sets import create_set
from xsheet.schemas.settings import load_settings

pytestmark = pytest.mark.nightly

KEPT = "kept"
# Each file of derived/ with what must become of it: kept, or the reason of its source or of every candidate.
DERIVED = {
    "12fps.mp4": KEPT,
    "60fps.mp4": KEPT,
    "audio-8khz-51.mp4": KEPT,
    "audio-early-320ms.mp4": "sync_offset",
    "audio-late-1s.mp4": "sync_confidence",
    "audio-late-200ms.mp4": KEPT,
    "audio-only.mp4": "no_video",
    "blurred.mp4": "face_blurred",
    "burned-subtitle.mp4": KEPT,
    "clipped-audio.mp4": "clipped",
    "container-offset-200ms.mp4": KEPT,
    "corrupt-middle.mp4": "decode_errors",
    "dark.mp4": "too_dark",
    "duplicate-reencoded.mp4": KEPT,
    "five-frames.mp4": "too_short",
    "frozen-picture.mp4": "frozen",
    "hard-cut-two-speakers.mp4": KEPT,
    "html-named-mp4.mp4": "not_media",
    "jump-cut-same-person.mp4": KEPT,
    "letterboxed.mp4": "letterbox",
    "lfs-pointer-named-mp4.mp4": "not_media",
    "mp4-named-avi.avi": KEPT,
    "music-instead-of-speech.mp4": "no_voice",
    "music-under-speech.mp4": KEPT,
    "name with spaces & ünï 'quote'.mp4": "too_short",
    "no-audio-track.mp4": "no_audio",
    "png-named-mp4.mp4": "not_media",
    "rotated-metadata.mp4": KEPT,
    "side-by-side-left-speaks.mp4": KEPT,
    "silent-audio-track.mp4": "no_voice",
    "speech-with-2s-gap.mp4": "silent",
    "start-offset-5s.mkv": KEPT,
    "still-image-2s-silent.mp4": "no_voice",
    "still-image-2s-speech.mp4": "frozen",
    "swapped-audio-a.mp4": "sync_confidence",
    "swapped-audio-b.mp4": "sync_confidence",
    "tiny-96px.mp4": "face_small",
    "truncated-no-moov.mp4": "broken_header",
    "two-audio-tracks.mkv": KEPT,
    "upside-down.mp4": "upside_down",
    "vfr-dropped-frames.mp4": KEPT,
    "vp9-opus.webm": KEPT,
    "white-noise-under-speech.mp4": KEPT,
    "zero-byte.mp4": "empty",
}
VIDEOS = {
    "hdtf-katie-hill-512.mp4": KEPT, "hdtf-ocasio-cortez-512.mp4": KEPT, "hdtf-radio-man-458.mp4": KEPT,
    "latentsync-demo1-woman-seated.mp4": KEPT, "latentsync-demo3-man-gestures.mp4": KEPT,
    "retalk-ocasio-cortez-590.mp4": KEPT, "retalk-woman-blue-700.mp4": KEPT, "grid-bbaf2n.mpg": KEPT,
    "mime-woman-music-d10.mp4": "little_voice", "nasa-13013.mp4": "no_face", "no-person-great-wall.mp4": "no_voice",
    "dance-fullbody-music-s13.mp4": "no_voice", "still-woman-music-s18.mp4": "no_voice",
    "expressions-woman-d3.mp4": "no_voice", "expressions-man-green-d0.mp4": "no_audio", "asl-book.mkv": "no_audio",
}  # fmt: skip
OFFSETS = {"audio-late-200ms.mp4": 5, "audio-early-320ms.mp4": -8, "container-offset-200ms.mp4": 5}
BASE = "duplicate-reencoded.mp4"  # the same film without a planted offset


@pytest.fixture(scope="module")
def measured(shared, tmp_path_factory) -> Path:
    """A set with all facts and verdicts of the files in the two tables; no clip is written."""
    folder = tmp_path_factory.mktemp("real") / "set"
    data = shared / "data"
    inputs = discover([*(str(data / "derived" / n) for n in DERIVED), *(str(data / "videos" / n) for n in VIDEOS)])
    preset = files("xsheet.curate") / "presets" / "keep.yaml"
    settings = load_settings(CurateSettings, preset=preset)
    context = RunContext(set_folder=folder, execution=Execution(jobs=2), shows_progress=False)
    create_set(folder, "real")
    sources = probe_sources(inputs, limits=settings.analysis.media, **context.step_arguments("probe"))
    jobs = analysis_items(inputs, sources, settings.analysis, set_folder=folder, models=None)
    task = AnalysisTask(settings.analysis.decode, sync=settings.analysis.sync, models=None)
    done = run_task(task, jobs, **context.step_arguments("analysis"))
    sources = with_analysis(sources, jobs, done)
    write_analysis_tables(folder, done)
    segments = segment_items(sources, settings.analysis.segment, set_folder=folder)
    segmented = run_task(SegmentTask(settings.analysis.segment), segments, **context.step_arguments("segment"))
    write_segment_tables(folder, sources, segments, segmented)
    decide_set(folder, settings.limits)
    return folder


@pytest.fixture(scope="module")
def verdicts(measured):
    """File name: (reason of the source, verdicts of its candidates)."""
    by_source: dict[str, list] = {}
    for verdict in tables.iter_records(measured, tables.VERDICTS):
        by_source.setdefault(verdict.source_id, []).append(verdict)
    return {
        Path(s.path).name: (s.reason, by_source.get(s.source_id, []))
        for s in tables.iter_records(measured, tables.SOURCES)
    }


@pytest.mark.parametrize(("name", "expected"), sorted((DERIVED | VIDEOS).items()))
def test_verdict_is_the_one_the_description_implies(verdicts, name, expected):
    reason, found = verdicts[name]
    if expected == KEPT:
        assert any(verdict.kept for verdict in found), [verdict.reasons for verdict in found]
    elif found:
        assert not any(verdict.kept for verdict in found)
        assert any(expected in verdict.reasons for verdict in found), [verdict.reasons for verdict in found]
    else:
        assert reason == expected


def first_offset(measured, name):
    ids = {s.source_id for s in tables.iter_records(measured, tables.SOURCES) if Path(s.path).name == name}
    return next(m.sync.offset_frames for m in tables.iter_records(measured, tables.MEASURES) if m.source_id in ids)


@pytest.mark.parametrize(("name", "planted"), OFFSETS.items())
def test_planted_offsets_of_a_real_film_are_found_within_a_frame(measured, name, planted):
    assert abs(first_offset(measured, name) - first_offset(measured, BASE) - planted) <= 1


def test_offsets_agree_with_the_reference_within_two_frames(shared, measured):
    import csv

    with (shared / "data" / "labels" / "av-offset-measured.csv").open() as file:
        reference = [row for row in csv.DictReader(file) if row["trustworthy"] == "yes" and row["video"] in VIDEOS]
    assert len(reference) >= 6
    far = {
        row["video"]: (first_offset(measured, row["video"]), row["best_offset_ms_positive_is_audio_late"])
        for row in reference
        if abs(first_offset(measured, row["video"]) * 40 - int(row["best_offset_ms_positive_is_audio_late"])) > 80
    }
    assert not far


def test_no_candidate_crosses_the_gradual_transition(measured):
    ids = {s.source_id for s in tables.iter_records(measured, tables.SOURCES) if Path(s.path).name == "nasa-13013.mp4"}
    for row in tables.iter_records(measured, tables.MEASURES):
        if row.source_id in ids:
            assert not row.start_us < 5_500_000 < row.end_us
            assert not row.start_us < 8_080_000 < row.end_us
