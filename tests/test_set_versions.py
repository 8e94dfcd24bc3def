"""Sets as versions: diff, merge, stats, subset, pack; the sets hold small files in place of videos."""

import fcntl
import hashlib
import json
import shutil
import tarfile

import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.schemas import ids, tables
from xsheet.schemas.annotation import Annotation, Base, Phase
from xsheet.schemas.clip import Clip, Measures, SoundMeasure, Verdict
from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.layers import find_layer, write_layer
from xsheet.schemas.run import Run
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import ManifestColumn, Shot, SourceSegment, SourceVideo, Split
from xsheet.sets.clip_view import clip_rows, select_clips
from xsheet.sets.diff import diff_sets
from xsheet.sets.merge import merge_sets
from xsheet.sets.pack import pack
from xsheet.sets.stats import set_stats
from xsheet.sets.subset import subset

RUN = Run(run_id="run_truth", kind="truth", tool_version="0")
BASE = Base(
    text="A woman speaks to the camera.", subject="a woman", framing="face", scene="a room", camera="static",
    speaking="speaking",
)  # fmt: skip


def make_set(folder, numbers, *, snr_db=20.0):
    """One source and one clip of 2 + k seconds per number k; speaker 'x' for even numbers."""
    create_set(folder, "drawn")
    clips = []
    for k in numbers:
        path = folder / f"media/clip_{k}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"video %d" % k)
        clips.append(
            Clip(
                clip_id=f"clip_{k}", source_id=f"src_{k}", start_us=0, end_us=2_000_000 + k * 1_000_000,
                media_path=f"media/clip_{k}.mp4", media_sha256=ids.file_sha256(path), frames=50 + 25 * k, samples=0,
                width=64, height=64,
            )
        )  # fmt: skip
    columns = {k: (ManifestColumn(key="speaker", value="x" if k % 2 == 0 else "y"),) for k in numbers}
    tables.write_table(
        folder,
        tables.SOURCES,
        [
            SourceVideo(
                source_id=f"src_{k}", path=f"{k}.mp4", status="ok", duration_us=9_000_000,
                segments=(SourceSegment(start_us=0, end_us=9_000_000, columns=columns[k]),),
            )
            for k in numbers
        ],
    )  # fmt: skip
    shots = [
        Shot(shot_id=f"shot_{k}", source_id=f"src_{k}", start_us=0, end_us=9_000_000, opens_with="start")
        for k in numbers
    ]
    tables.write_table(folder, tables.SHOTS, shots)
    sound = SoundMeasure(voice_share=1.0, voice_detector="v", snr_db=snr_db, clipped_share=0.0, silent_share=0.0)
    tables.write_table(
        folder,
        tables.MEASURES,
        [
            Measures(
                clip_id=c.clip_id, source_id=c.source_id, shot_id=f"shot_{k}", start_us=0, end_us=c.end_us, sound=sound
            )
            for k, c in zip(numbers, clips, strict=True)
        ],
    )
    verdicts = [Verdict(clip_id=c.clip_id, source_id=c.source_id, kept=True, limits_sha256="0" * 64) for c in clips]
    tables.write_table(folder, tables.VERDICTS, verdicts)
    tables.write_table(folder, tables.CLIPS, clips)
    tables.write_table(
        folder,
        tables.SPLITS,
        [
            Split(clip_id=c.clip_id, source_id=c.source_id, cluster="c", split="train", identity_by="source")
            for c in clips
        ],
    )
    write_layer(folder, RUN, "gold", [annotation(clip) for clip in clips])
    return folder


def annotation(clip, text="nods"):
    phase = Phase(
        phase_id="p1", track="head", start_us=0, end_us=1_000_000, action="nod", text=text, laterality="none",
        kind="gesture", origin="truth",
    )  # fmt: skip
    return Annotation(
        annotation_id=f"ann_{clip.clip_id}_{text}", vocab_version="1", clip_id=clip.clip_id, layer="gold",
        run_id="run_truth", status="ok", duration_us=clip.duration_us, base=BASE, phases=(phase,),
    )  # fmt: skip


def clip_ids(folder):
    return [clip.clip_id for clip in tables.iter_records(folder, tables.CLIPS)]


@pytest.fixture
def drawn(tmp_path):
    return make_set(tmp_path / "set", range(4))


@pytest.mark.slow
def test_a_condition_selects_by_measure_and_manifest_column(drawn, tmp_path):
    result = subset(drawn, tmp_path / "out", where="duration_s > 2 and speaker = 'x'", layer=None)
    assert (result.clips, result.of_clips, clip_ids(tmp_path / "out")) == (1, 4, ["clip_2"])
    assert (tmp_path / "out/media/clip_2.mp4").read_bytes() == b"video 2"
    assert [row.source_id for row in tables.iter_records(tmp_path / "out", tables.SOURCES)] == ["src_2"]
    assert [row.clip_id for row in find_layer(tmp_path / "out", "gold").read()] == ["clip_2"]
    assert CliRunner().invoke(app, ["schemas", "check", str(tmp_path / "out"), "--hash-media"]).exit_code == 0


def test_a_condition_may_ask_for_actions_of_a_layer(drawn):
    rows = clip_rows(drawn, layer="gold")
    assert select_clips(rows, "phases = 1 and list_contains(actions, 'nod') and sound_snr_db > 10 and width = 64") == [
        f"clip_{k}" for k in range(4)
    ]


@pytest.mark.parametrize(
    "where",
    [
        "duration > 4",
        "1 = ",
        "duration_s",
        "1=1), (2",
        "clip_id IN (SELECT * FROM read_csv('{file}'))",
        "1=1); COPY clip TO '{file}'; --",
    ],
)
def test_a_condition_reads_columns_only_and_no_file(drawn, tmp_path, where):
    file = tmp_path / "secret.csv"
    file.write_text("clip_id\nclip_1\n")
    with pytest.raises(ConfigError, match="--where"):
        subset(drawn, tmp_path / "out", where=where.format(file=file), layer=None)
    assert not (tmp_path / "out").exists()
    assert file.read_text() == "clip_id\nclip_1\n"


def test_a_condition_that_no_clip_meets_writes_nothing(drawn, tmp_path):
    with pytest.raises(ConfigError, match="none of 4"):
        subset(drawn, tmp_path / "out", where="duration_s > 100", layer=None)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_merge_holds_every_clip_once_and_no_splits(drawn, tmp_path):
    other = make_set(tmp_path / "other", range(3, 6))
    result = merge_sets([drawn, other], tmp_path / "out")
    assert (result.clips, result.sources, result.shared_clips) == (6, 6, 1)
    assert clip_ids(tmp_path / "out") == [f"clip_{k}" for k in range(6)]
    assert [row.clip_id for row in find_layer(tmp_path / "out", "gold").read()] == [f"clip_{k}" for k in range(6)]
    assert not list(tables.iter_records(tmp_path / "out", tables.SPLITS))
    assert CliRunner().invoke(app, ["schemas", "check", str(tmp_path / "out"), "--hash-media"]).exit_code == 0


def test_sets_that_disagree_about_a_clip_are_not_merged(drawn, tmp_path):
    other = make_set(tmp_path / "other", [3], snr_db=5.0)
    with pytest.raises(ContractError, match="clip_3"):
        merge_sets([drawn, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_diff_names_what_is_only_in_one_set_and_what_changed(drawn, tmp_path):
    other = make_set(tmp_path / "other", range(1, 5))
    first = next(tables.iter_records(other, tables.CLIPS))
    write_layer(other, RUN, "gold", [annotation(first, "waves")])
    found = {one.kind: one for one in diff_sets(drawn, other)}
    clips, layer = found["clips"], found["layer gold"]
    assert (clips.only_first, clips.only_second, clips.changed, clips.same) == (("clip_0",), ("clip_4",), (), 3)
    assert layer.changed == ("clip_1 truth",)
    same = CliRunner().invoke(app, ["set", "diff", str(drawn), str(drawn), "--json"])
    assert same.exit_code == 0
    assert all(not one["changed"] for one in json.loads(same.stdout))
    assert CliRunner().invoke(app, ["set", "diff", str(drawn), str(other)]).exit_code == 1


def test_stats_add_up_to_the_hours_of_the_set(drawn):
    found = set_stats(drawn)
    assert (found.clips, found.sources, found.hours) == (4, 4, pytest.approx(14 / 3600))
    assert found.groups["speaker"] == {"y": pytest.approx(8 / 3600), "x": pytest.approx(6 / 3600)}
    assert next(one for one in found.distributions if one.name == "duration_s").maximum == 5
    assert found.layers["gold@run_truth"] == {"annotations": 4, "phases": 4, "actions": 1}


def test_a_packed_set_has_check_sums_and_the_same_bytes_wherever_it_lies(drawn, tmp_path):
    (drawn / ".commits").mkdir()
    (drawn / ".commits/lock").write_text("")
    result = pack(drawn, tmp_path / "one.tar")
    moved = shutil.copytree(drawn, tmp_path / "moved")
    assert pack(moved, tmp_path / "two.tar").sha256 == result.sha256
    with tarfile.open(tmp_path / "one.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    for line in (tmp_path / "unpacked/SHA256SUMS").read_text().splitlines():
        sha256, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "unpacked" / name).read_bytes()).hexdigest() == sha256
    assert not (tmp_path / "unpacked/.commits").exists()
    assert clip_ids(tmp_path / "unpacked") == clip_ids(drawn)
    with pytest.raises(ConfigError, match="new file"):
        pack(drawn, tmp_path / "one.tar")


def test_an_archive_that_a_killed_command_left_goes_and_one_that_is_being_written_stays(drawn, tmp_path):
    left, held = (tmp_path / f".my.tar.{digit * 16}.tmp.tar" for digit in "ab")
    left.write_bytes(b"half")
    with held.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        pack(drawn, tmp_path / "my.tar")
    assert sorted(path.name for path in tmp_path.glob("*my.tar*")) == [held.name, "my.tar"]


def test_a_folder_that_is_a_link_is_not_packed(drawn, tmp_path):
    """A set that somebody else made may lead to the private files of the person who publishes it."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private/key").write_text("secret")
    (drawn / "manifests").symlink_to(tmp_path / "private")
    with pytest.raises(ContractError, match="manifests: expected a folder, got a link"):
        pack(drawn, tmp_path / "one.tar")
    assert not (tmp_path / "one.tar").exists()


@pytest.mark.slow
def test_annotation_files_are_read_by_their_ending_and_an_import_of_nothing_says_so(drawn, tmp_path):
    head = "clip_id,tier,start_s,end_s,label\n"
    (tmp_path / "some.csv").write_text(head + "clip_1,head,0.2,0.9,nod\n")
    (tmp_path / "none.csv").write_text(head)
    ran = CliRunner().invoke(app, ["audit", "import", str(drawn), str(tmp_path / "some.csv")])
    assert ran.exit_code == 0 and "1 clips by" in ran.output
    ran = CliRunner().invoke(app, ["audit", "import", str(drawn), str(tmp_path / "none.csv")])
    assert ran.exit_code == 1 and "nothing in these files could be used" in ran.output
    mixed = [str(tmp_path / "none.csv"), str(tmp_path / "none.eaf")]
    with pytest.raises(ConfigError, match=r"expected one format, .*got \.csv, \.eaf; name it with --format"):
        CliRunner().invoke(app, ["audit", "import", str(drawn), *mixed], catch_exceptions=False)
