"""The whole path over films with planted faults: what is kept, why the rest is not, and that nothing is done twice."""

import json
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest

from xsheet.curate.discover import discover
from xsheet.curate.pipeline import RunContext, curate, redecide
from xsheet.curate.resegment import resegment
from xsheet.curate.settings import CurateSettings
from xsheet.demo.corpus import make_corpus, truth_path
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.sets import check_set
from xsheet.schemas.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

FILMS, SEED, SIZE = 13, 9802, 256  # the first seed but one whose first 13 films are of 13 kinds; its films are short
KEPT = {
    "talk": 1, "offset": 1, "far_offset": 0, "swapped": 0, "silence": 0, "music": 0, "voice_over": 0, "still": 0,
    "two_heads": 1, "hard_cut": 2, "jump_cut": 2, "dissolve": 2, "flash": 2,
}  # fmt: skip
AGAINST = {
    "far_offset": {"sync_offset"},
    "swapped": {"sync_confidence", "sync_offset"},  # another speech has no true offset
    "voice_over": {"no_face"},
    "still": {"frozen"},
}


def settings(*overrides):
    preset = files("xsheet.curate") / "presets" / "keep.yaml"
    # Heads of films of this size are 60 to 110 px high.
    return load_settings(
        CurateSettings, preset=preset, overrides=["face.min_height_px=50", "export.pose=null", *overrides]
    )


def run(films, out, *, jobs=1, ray=None, inputs=None):
    context = RunContext(set_folder=out, execution=Execution(jobs=jobs, ray=ray), shows_progress=False)
    return curate(discover([str(films)]) if inputs is None else inputs, settings(), context)


@pytest.fixture(scope="module")
def corpus(build_once) -> Path:
    def build(folder: Path) -> Path:
        make_corpus(folder, films=FILMS, seed=SEED, height_px=SIZE, execution=Execution(jobs=1))
        return folder

    return build_once("corpus", build)


@pytest.fixture(scope="module")
def a_set(corpus, build_once) -> Path:
    """To be read only."""

    def build(folder: Path) -> Path:
        run(corpus / "videos", folder / "mein Satz")
        return folder / "mein Satz"

    return build_once("curated", build)


@pytest.fixture(scope="module")
def kinds(corpus):
    truth = tables.from_arrow(tables.read_file(truth_path(corpus, tables.SOURCES), tables.SOURCES), tables.SOURCES)
    return {row.source_id: next(e.value for e in row.manifest_columns if e.key == "kind") for row in truth}


def planted(corpus, table):
    return tables.from_arrow(tables.read_file(truth_path(corpus, table), table), table)


def rows(folder, table):
    return list(tables.iter_records(folder, table))


def test_each_kind_of_film_yields_the_expected_clips(a_set, kinds):
    found = dict.fromkeys(kinds, 0)
    for clip in rows(a_set, tables.CLIPS):
        found[clip.source_id] += 1
    assert {(kind, found[source]) for source, kind in kinds.items()} == set(KEPT.items())


def test_rejected_candidates_name_the_planted_fault(a_set, kinds):
    reasons = {v.source_id: v.reasons for v in rows(a_set, tables.VERDICTS) if not v.kept}
    for source, kind in kinds.items():
        if kind in AGAINST:
            assert AGAINST[kind] & set(reasons[source]), kind


def test_films_without_voice_are_not_decoded(a_set, kinds):
    sources = {row.source_id: row for row in rows(a_set, tables.SOURCES)}
    for source, kind in kinds.items():
        assert (sources[source].frames_decoded is None) == (kind in ("silence", "music")), kind


def test_planted_offsets_are_measured_within_a_frame_and_corrected(a_set, corpus):
    truth = {m.source_id: m.sync.offset_frames for m in planted(corpus, tables.MEASURES) if m.sync}
    measured = {m.clip_id: m for m in rows(a_set, tables.MEASURES)}
    clips = rows(a_set, tables.CLIPS)
    for clip in clips:
        row = measured[clip.clip_id]
        assert abs(row.sync.offset_frames - truth[clip.source_id]) <= 1
        after = row.sync_corrected or row.sync
        assert abs(after.offset_frames) <= 1
        assert clip.audio_shift_us == (-row.sync.offset_frames * 40_000 if row.sync_corrected else 0)


def test_hard_cuts_are_found_to_the_frame_and_dissolves_belong_to_no_shot(a_set, corpus, kinds):
    truth: dict[str, list] = {}
    for shot in planted(corpus, tables.SHOTS):
        truth.setdefault(shot.source_id, []).append(shot)
    found: dict[str, list] = {}
    for shot in rows(a_set, tables.SHOTS):
        found.setdefault(shot.source_id, []).append(shot)
    for source, kind in kinds.items():
        if kind in ("silence", "music"):
            continue
        # A flash of one frame is a cut but no shot.
        cuts = {s.start_us for s in truth[source] if s.opens_with == "cut" and s.end_us - s.start_us >= 200_000}
        seen = {s.start_us for s in found[source] if s.opens_with == "cut"}
        assert cuts == seen, kind
        for gradual in (s for s in truth[source] if s.opens_with == "gradual"):
            (near,) = (s for s in found[source] if s.opens_with == "gradual")
            assert abs(near.start_us - gradual.start_us) <= 5 * 40_000


def test_no_clip_holds_a_flash_or_crosses_a_cut(a_set, corpus):
    edges = [(s.source_id, s.start_us, s.end_us) for s in planted(corpus, tables.SHOTS)]
    for clip in rows(a_set, tables.CLIPS):
        inside = [1 for source, start, end in edges if source == clip.source_id and start <= clip.start_us < end]
        assert inside == [1]
        (end,) = [e for source, s, e in edges if source == clip.source_id and s <= clip.start_us < e]
        assert clip.end_us <= end


def test_the_speaker_of_two_heads_is_selected(a_set, corpus, kinds):
    (source,) = [source for source, kind in kinds.items() if kind == "two_heads"]
    heads = sorted((m for m in planted(corpus, tables.MEASURES) if m.source_id == source), key=lambda m: m.sync is None)
    signals = {s.clip_id: s for s in planted(corpus, tables.SIGNALS)}
    speaks_left = signals[heads[0].clip_id].head_x[0] < signals[heads[1].clip_id].head_x[0]
    (clip,) = [clip for clip in rows(a_set, tables.CLIPS) if clip.source_id == source]
    seen = next(s for s in rows(a_set, tables.SIGNALS) if s.clip_id == clip.clip_id)
    assert (seen.head_x[10] < 1.0) == speaks_left


def test_the_set_passes_validation_with_media(a_set):
    report = check_set(a_set, media=True)
    assert report.violations == ()
    assert report.rows["clips"] == report.rows["signals"] == sum(KEPT.values())


def test_a_second_run_reuses_all_results(a_set, corpus, tmp_path):
    copy = shutil.copytree(a_set, tmp_path / "copy")
    before = {p: p.stat().st_mtime_ns for p in (*copy.glob("media/*/*"), *copy.glob(".commits/*/*"))}
    assert before
    run(corpus / "videos", copy)
    assert {p: p.stat().st_mtime_ns for p in (*copy.glob("media/*/*"), *copy.glob(".commits/*/*"))} == before


def test_redecide_reports_changes_without_decoding(a_set, tmp_path):
    copy = shutil.copytree(a_set, tmp_path / "copy")
    stricter = redecide(copy, settings("sync.lip_audio.min_confidence=7"))
    assert 0 < stricter.kept.clips < sum(KEPT.values())
    assert stricter.newly_rejected.clips == sum(KEPT.values()) - stricter.kept.clips
    assert redecide(copy, settings()).newly_kept.clips == stricter.newly_rejected.clips


def test_a_change_of_shots_candidates_and_lips_decodes_nothing_and_equals_segment(a_set, corpus, tmp_path):
    changed = settings("analysis.shots.content_threshold=30", "analysis.candidates.trim_frames=6",
                       "analysis.sync.max_offset_frames=12")  # fmt: skip
    for name in ("ran", "segmented"):
        shutil.copytree(a_set, tmp_path / name)
    contexts = [
        RunContext(set_folder=tmp_path / name, execution=Execution(jobs=1), shows_progress=False)
        for name in ("ran", "segmented")
    ]
    ran = curate(discover([str(corpus / "videos")]), changed, contexts[0])
    assert ran.counts["analysed"] == 0
    assert resegment(tmp_path / "segmented", changed, contexts[1]).candidates_moved > 0
    for table in (tables.SHOTS, tables.VERDICTS, tables.SOURCES):
        assert rows(tmp_path / "segmented", table) == rows(tmp_path / "ran", table)


def tables_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("*/part-*.parquet"))}


@pytest.mark.nightly
@pytest.mark.parametrize("execution", [{"jobs": 2}, {"jobs": 2, "ray": "local"}], ids=["two", "ray"])
def test_tables_are_the_same_bytes_as_those_of_one_worker(corpus, tmp_path, execution):
    some = discover([str(corpus / "videos")])[:3]
    run(corpus, tmp_path / "one", inputs=some, jobs=1)
    run(corpus, tmp_path / "other", inputs=some, **execution)
    assert tables_of(tmp_path / "other") == tables_of(tmp_path / "one")


def test_broken_files_are_rows_and_do_not_stop_the_others(corpus, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    good = sorted((corpus / "videos").glob("*-talk.mp4"))[0]
    (folder / "good.mp4").write_bytes(good.read_bytes())
    (folder / "copy.mp4").write_bytes(good.read_bytes())
    (folder / "half.mp4").write_bytes(good.read_bytes()[:1000])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("#EXTM3U\nhttp://127.0.0.1/x.ts\n")
    curated = run(folder, tmp_path / "set")
    ended = {Path(s.path).name: (s.status, s.reason, s.duplicate_of is not None) for s in curated.sources}
    assert ended["good.mp4"] == ("ok", None, True) or ended["copy.mp4"] == ("ok", None, True)
    assert ended["empty.mp4"] == ("failed", "empty", False)
    assert ended["text.mp4"] == ("failed", "not_media", False)
    assert ended["half.mp4"][:2] == ("failed", "broken_header")
    assert curated.counts["decodes"] == curated.counts["clips"] == 1
    assert curated.failed == 3


def test_a_source_missing_from_the_inputs_leaves_the_tables_and_is_counted(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_text(name)
    assert run(tmp_path, tmp_path / "set").removed_sources == 0
    assert run(tmp_path / "a.mp4", tmp_path / "set").removed_sources == 1
    assert len(rows(tmp_path / "set", tables.SOURCES)) == 1
    assert run(tmp_path, tmp_path / "set").removed_sources == 0


def test_extra_columns_of_a_table_reach_the_sources(tmp_path):
    (tmp_path / "a.mp4").write_text("of a failed file, too")
    (tmp_path / "list.csv").write_text("path,rights\na.mp4,CC0\n")
    (source,) = run(tmp_path / "list.csv", tmp_path / "set").sources
    assert [(e.key, e.value) for e in source.manifest_columns] == [("rights", "CC0")]


@pytest.mark.nightly
def test_broken_files_among_many_keep_their_rows_and_exit_with_1(corpus, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    films = [next((corpus / "videos").glob(f"????-{kind}.mp4")).read_bytes() for kind in ("talk", "offset")]
    for k in range(140):
        (folder / f"good-{k:03d}.mp4").write_bytes(films[k % 2])
    for k in range(20):
        (folder / f"empty-{k:02d}.mp4").write_bytes(b"")
        (folder / f"text-{k:02d}.mp4").write_text(f"<html>{k}</html>")
        (folder / f"cut-{k:02d}.mp4").write_bytes(films[0][: 600 + k])
    command = [sys.executable, "-c", "from xsheet.cli import main; main()", "curate", "run", str(folder), "--json"]
    ran = subprocess.run(
        [*command, "--out", str(tmp_path / "set"), "--jobs", "2", "--set", "face.min_height_px=50"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    counts = json.loads(ran.stdout)["counts"]
    assert ran.returncode == 1
    assert (counts["sources"], counts["sources_failed"], counts["decodes"], counts["clips"]) == (200, 60, 2, 2)
    assert len(rows(tmp_path / "set", tables.SOURCES)) == 200


@pytest.mark.nightly
def test_a_killed_run_resumes_to_identical_tables(corpus, tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text("path\n" + "".join(f"{p}\n" for p in sorted((corpus / "videos").iterdir())[:4]))
    code = "import sys; from xsheet.cli import main; main()"
    command = [sys.executable, "-c", code, "curate", "run", str(listed), "--jobs", "2", "--quiet", "--json"]
    command += ["--set", "face.min_height_px=50", "--set", "export.pose=null", "--out"]
    for seconds in (1.5, 4.0, 6.5):
        killed = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        killed.kill()
        killed.wait()
    for name in ("killed", "whole"):
        assert subprocess.run([*command, str(tmp_path / name)], stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert tables_of(tmp_path / "killed") == tables_of(tmp_path / "whole")
