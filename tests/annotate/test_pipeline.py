"""Signals to layers: every reply is a row, layers name their parents, and nothing is asked twice."""

import json
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from xsheet.annotate.consensus import ConsensusSettings
from xsheet.annotate.pipeline import annotate, write_consensus
from xsheet.annotate.settings import AnnotateSettings, annotation_run
from xsheet.annotate.text.training_text import compile_training_text
from xsheet.cli import app
from xsheet.demo.film import truth
from xsheet.demo.film.plan import plan_film
from xsheet.runtime.executor import Execution
from xsheet.runtime.result_store import ResultStore
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.ids import content_key
from xsheet.schemas.layers import find_layer, list_layers
from xsheet.schemas.sets import create_set
from xsheet.schemas.settings import load_settings
from xsheet.schemas.source import ManifestColumn, SourceVideo

pytestmark = pytest.mark.slow  # processes, films or models: seconds

MOTION = AnnotateSettings.model_validate({"motion": {}, "samples": 1, "clips_per_batch": 4})


def make_set(folder: Path, films: int = 6, *, words: str | None = None) -> Path:
    """A set with the planted signals of some films and no pictures: the motion annotator never looks at them."""
    create_set(folder, "planted")
    signals = []
    for index in range(films):
        plan = plan_film(index, seed=7, kind="talk")
        signals += [row for row in truth.truth_rows(plan, f"src_{index}") if isinstance(row, Signals)]
    extra = () if words is None else (ManifestColumn(key="words", value=words),)
    tables.write_table(folder, tables.SIGNALS, signals)
    tables.write_table(folder, tables.CLIPS, [clip_of(row, f"src_{i}") for i, row in enumerate(signals)])
    tables.write_table(folder, tables.SOURCES, [source(f"src_{i}", extra) for i in range(films)])
    return folder


def clip_of(signals: Signals, source_id: str) -> Clip:
    return Clip(
        clip_id=signals.clip_id, source_id=source_id, start_us=0, end_us=40_000 * signals.frames,
        media_path=f"media/{signals.clip_id}.mp4", media_sha256=content_key(signals.clip_id), frames=signals.frames,
        samples=640 * signals.frames, width=384, height=384,
    )  # fmt: skip


def source(source_id: str, extra: tuple[ManifestColumn, ...]) -> SourceVideo:
    return SourceVideo(source_id=source_id, path=f"{source_id}.mp4", status="ok", manifest_columns=extra)


def go(folder: Path, settings: AnnotateSettings = MOTION, *, jobs: int = 1, ray: str | None = None, **how):
    return annotate(folder, settings, execution=Execution(jobs=jobs, ray=ray), show_progress=False, **how)


def layer_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "annotations").glob("*.parquet"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set that one worker annotates; to be read only."""
    return make_set(tmp_path_factory.mktemp("annotated") / "set")


@pytest.fixture(scope="module")
def annotated(folder):
    return go(folder)


def test_every_clip_is_in_all_three_layers(folder, annotated):
    clips = {clip.clip_id for clip in tables.iter_records(folder, tables.CLIPS)}
    for layer in list_layers(folder):
        assert {row.clip_id for row in layer.read()} == clips
    assert (annotated.clips, annotated.failed) == (len(clips), 0)


def test_a_set_that_grew_keeps_no_result_of_a_batch_that_no_longer_exists(tmp_path):
    other = MOTION.model_copy(update={"seed": 1})
    for settings in (MOTION, other):
        go(make_set(tmp_path / "grown", 2), settings)
    go(make_set(tmp_path / "grown", 6))
    for films, settings in ((6, MOTION), (2, other)):
        go(make_set(tmp_path / f"{films} films", films), settings)
    expected = [key for films in (6, 2) for key in ResultStore(tmp_path / f"{films} films", "annotate")]
    assert sorted(ResultStore(tmp_path / "grown", "annotate")) == sorted(expected)


def test_a_limited_run_keeps_the_results_of_the_other_clips(folder, annotated, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    before = sorted(ResultStore(copy, "annotate"))
    assert before
    go(copy, limit=1)
    assert set(before) <= set(ResultStore(copy, "annotate"))


def test_one_command_prints_the_texts_of_all_clips(folder, annotated):
    done = CliRunner().invoke(app, ["annotate", "training-text", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    texts = json.loads(done.stdout)
    rows = {row.clip_id: row for row in find_layer(folder, "consensus").read()}
    assert {text["clip_id"] for text in texts} == set(rows)
    assert all(text["text"] == compile_training_text(rows[text["clip_id"]]).text for text in texts)


def test_each_layer_names_the_one_it_was_made_from(annotated):
    raw = {row.annotation_id for row in annotated.raw.read()}
    normalised = {row.annotation_id for row in annotated.normalised.read()}
    assert {parent for row in annotated.normalised.read() for parent in row.parent_ids} == raw
    assert {parent for row in annotated.consensus.read() for parent in row.parent_ids} == normalised
    assert annotated.consensus.run.parent_run_ids == (annotated.normalised.run.run_id,)


def test_phases_say_how_they_lie_to_the_voice(annotated):
    assert all(phase.speech is not None for row in annotated.normalised.read() for phase in row.phases)


def test_two_workers_write_the_same_bytes_as_one(folder, annotated, tmp_path):
    go(make_set(tmp_path / "set"), jobs=2)
    assert layer_bytes(folder) == layer_bytes(tmp_path / "set")


@pytest.mark.nightly  # the executor's own tests hold it for every task
def test_ray_writes_the_same_bytes_as_a_worker_of_this_machine(folder, annotated, tmp_path):
    go(make_set(tmp_path / "set"), ray="local")
    assert layer_bytes(folder) == layer_bytes(tmp_path / "set")


def test_other_thresholds_make_another_layer_and_ask_nobody(tmp_path):
    annotated = go(make_set(tmp_path))
    before = layer_bytes(tmp_path)
    write_consensus(tmp_path, annotated.normalised, ConsensusSettings(min_support=1.0))
    after = layer_bytes(tmp_path)
    assert len(after) == len(before) + 1 and before.items() <= after.items()
    with pytest.raises(ConfigError, match="2: consensus@"):
        find_layer(tmp_path, "consensus")


def test_a_set_without_clips_says_what_to_do(tmp_path):
    create_set(tmp_path, "empty")
    with pytest.raises(ContractError, match="xsheet curate run"):
        go(tmp_path)


def test_signals_without_a_clip_are_refused(tmp_path):
    make_set(tmp_path)
    tables.write_table(tmp_path, tables.CLIPS, [])
    with pytest.raises(ContractError, match="a clip for every row of signals"):
        go(tmp_path)


def test_word_times_anchor_the_strokes(tmp_path):
    words = json.dumps([{"word": f"w{k}", "start_s": k / 2, "end_s": k / 2 + 0.4} for k in range(40)])
    annotated = go(make_set(tmp_path, words=words))
    anchors = [p.speech.anchor_word for row in annotated.normalised.read() for p in row.phases if p.speech.anchor_word]
    assert anchors and all(word.startswith("w") for word in anchors)


def test_a_transcript_that_cannot_be_read_is_noted_and_nothing_is_lost(tmp_path):
    annotated = go(make_set(tmp_path, words="[not json"))
    assert annotated.repairs["ignore"] == annotated.clips
    assert annotated.failed == 0


def test_a_limit_takes_the_first_clips_only(tmp_path):
    assert go(make_set(tmp_path), limit=2).clips == 2


# ---- a model behind a server


class Server(ThreadingHTTPServer):
    """Answers every call with the same sheet, and counts; `away` makes it answer 500."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.calls, self.away = 0, False


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.calls += 1
        status = 500 if self.server.away else 200
        body = json.dumps({
            "choices": [{"finish_reason": "stop", "message": {"content": json.dumps(SHEET)}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 20},
        }).encode()  # fmt: skip
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


SHEET = {
    "base": {"text": "A person stands before a plain wall and speaks.", "subject": "a person", "framing": "upper_body",
             "scene": "a plain wall", "camera": "static", "speaking": "speaking", "emotion": None},
    "phases": [{"evidence": "the chin drops and rises", "track": "head", "side": "none", "start_s": 0.5, "end_s": 1.3,
                "action": "nod", "action_raw": None, "amplitude": 2, "speed": 2, "repetitions": 1,
                "text": "nods once"}],
}  # fmt: skip


@pytest.fixture
def server():
    server = Server()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    from xsheet.curate.media.writer import write_clip
    from xsheet.demo.film.render import render_film

    folder = make_set(tmp_path_factory.mktemp("drawn") / "set", films=2)
    clips = list(tables.iter_records(folder, tables.CLIPS))
    for index, clip in enumerate(clips):
        plan = plan_film(index, seed=7, kind="talk")
        write_clip(folder / clip.media_path, frames=render_film(plan, height_px=64), sound=plan.sound)
    return folder


@pytest.fixture
def filmed(drawn: Path, tmp_path: Path) -> Path:
    """A set of two clips that have pictures too."""
    return Path(shutil.copytree(drawn, tmp_path / "set"))


def asking(server: Server) -> AnnotateSettings:
    return AnnotateSettings.model_validate({
        "endpoint": {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "model": "stub", "retries": 0},
        "vlm": {"describe": False, "fps": 2.0}, "samples": 3, "clips_per_batch": 1,
    })  # fmt: skip


@pytest.mark.slow
def test_three_samples_of_a_served_model_become_one_sheet(filmed, server):
    annotated = go(filmed, asking(server))
    assert server.calls == 6
    assert annotated.statuses == {"ok": 6}
    for row in annotated.consensus.read():
        assert [(p.action, p.evidence.support_k) for p in row.phases] == [("nod", 3)]
        assert all(phase.speech is not None for phase in row.phases)


@pytest.mark.slow
def test_a_rerun_with_other_tolerances_asks_nobody_again(filmed, server):
    settings = asking(server)
    go(filmed, settings)
    tolerant = settings.model_copy(
        update={"normalise": settings.normalise.model_copy(update={"edge_tolerance_s": 0.5})}
    )
    go(filmed, tolerant)
    assert server.calls == 6


@pytest.mark.slow
def test_failed_requests_to_a_server_are_repeated_only_with_retry_failed(filmed, server):
    settings, server.away = asking(server), True
    annotated = go(filmed, settings)
    assert annotated.statuses == {"error": 6}
    assert {row.repairs[-1].op for row in annotated.normalised.read()} == {"refuse"}
    server.away = False
    assert go(filmed, settings).statuses == {"error": 6}
    assert go(filmed, settings, retry_failed=True).statuses == {"ok": 6}
    assert server.calls == 12


# ---- settings


def preset(name: str, *overrides: str) -> AnnotateSettings:
    from importlib.resources import files

    return load_settings(
        AnnotateSettings, preset=files("xsheet.annotate") / "presets" / f"{name}.yaml", overrides=overrides
    )


def test_the_presets_are_settings():
    assert preset("motion").motion is not None
    assert preset("endpoint", "endpoint.base_url=http://localhost/v1", "endpoint.model=m").endpoint is not None
    assert preset("qwen", "qwen.model=folder").qwen is not None


def test_two_annotators_at_once_are_refused():
    with pytest.raises(ConfigError, match="exactly one"):
        preset("motion", "endpoint.base_url=http://localhost/v1", "endpoint.model=m")


@pytest.mark.parametrize(
    ("override", "asks_anew"),
    [
        ("consensus.min_support=1.0", False),
        ("normalise.edge_tolerance_s=0.5", False),
        ("samples=5", False),
        ("vlm.fps=4.0", True),
        ("motion_candidates=false", True),
        ("endpoint.model=other", True),
    ],
)
def test_only_what_decides_a_reply_makes_another_asker(override, asks_anew):
    served = ("endpoint.base_url=http://localhost/v1", "endpoint.model=m")
    one, other = preset("endpoint", *served), preset("endpoint", *served, override)
    assert (
        other.request_fingerprint(annotation_run(other)) != one.request_fingerprint(annotation_run(one))
    ) == asks_anew
