"""A set of two puppet clips with three layers, findings and a cut, made once; every test gets a copy of its own."""

import http.client
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from review_browser import WAIT_S, until

from xsheet.audit.review.edits import EditRequest
from xsheet.audit.review.locks import LOCK_S
from xsheet.audit.review.queue import build_queue
from xsheet.audit.review.server import prepare_server
from xsheet.audit.review.session import ReviewSession
from xsheet.curate.media.writer import write_clip
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import render_film
from xsheet.demo.film.truth import truth_rows, truth_run
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation, Evidence, EvidenceValue, Finding, Phase, annotation_id, sorted_phases
from xsheet.schemas.clip import Clip, Measures, Signals
from xsheet.schemas.layers import find_layer, write_findings, write_layer
from xsheet.schemas.run import Model, Prompt, Run, Version
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import ManifestColumn, Shot, SourceVideo

SEED, FILMS, SIZE = 5, (2, 9), 128
WORDS = ("so", "what", "I", "mean", "is", "this")
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def run_named(name: str, kind: str, model: str) -> Run:
    prompt = Prompt(
        id="phases", version="3", text=f"List the actions. {HOSTILE}", sha256="ab" * 32, response_schema="{}",
        response_schema_sha256="cd" * 32,
    )  # fmt: skip
    return Run(
        run_id=name, kind=kind, tool_version="0", model=Model(id=model, revision="r1"), prompts=(prompt,),
        engine=Version(name="transformers", version="5"),
    )  # fmt: skip


def annotation_by(run: Run, layer: str, gold: Annotation, phases, **other) -> Annotation:
    key = {"clip_id": gold.clip_id, "layer": layer, "run_id": run.run_id, "sample_index": None}
    return replace(
        gold, layer=layer, run_id=run.run_id, parent_ids=("ann_parent",), phases=phases, **other,
        annotation_id=annotation_id(**key, base=other.get("base", gold.base), phases=phases),
    )  # fmt: skip


def shifted(phase: Phase, by_us: int, confidence: float) -> Phase:
    """What an annotator makes of a planted phase: a little late, and unsure."""
    moved = {
        "start_us": phase.start_us + by_us,
        "end_us": phase.end_us,
        "start_sigma_us": 60_000,
        "end_sigma_us": 90_000,
    }
    evidence = Evidence(support_k=4, k=5, motion_ratio=3.2)
    return replace(phase, **moved, kinematics=(), origin="consensus", confidence=confidence, evidence=evidence)


def build(folder: Path) -> Path:
    create_set(folder, "puppet")
    clips, signals, gold, shots = [], [], [], []
    for film in FILMS:
        plan = plan_film(film, seed=SEED, kind="talk")
        measures, series, truth = truth_rows(plan, "src_a")
        assert isinstance(measures, Measures)
        assert isinstance(series, Signals)
        path = f"media/{measures.clip_id[5:7]}/{measures.clip_id}.mp4"
        file = write_clip(folder / path, frames=render_film(plan, height_px=SIZE), sound=plan.sound)
        clips.append(
            Clip(
                clip_id=measures.clip_id,
                source_id=f"src_{film}",
                start_us=measures.start_us,
                end_us=measures.end_us,
                media_path=path,
                media_sha256=file.sha256,
                frames=file.frames,
                samples=file.samples,
                width=file.width,
                height=file.height,
            )
        )
        signals.append(series)
        gold.append(truth)
        shots.append(
            Shot(
                shot_id=f"shot_{film}", source_id=f"src_{film}", start_us=2_400_000, end_us=4_000_000, opens_with="cut"
            )
        )
    words = [{"word": w, "start_s": 0.45 + 0.3 * i, "end_s": 0.7 + 0.3 * i} for i, w in enumerate(WORDS)]
    words_column = ManifestColumn(key="words", value=json.dumps(words))
    sources = [
        SourceVideo(source_id=clip.source_id, path="film.mp4", status="ok", manifest_columns=(words_column,))
        for clip in clips
    ]
    tables.write_table(folder, tables.SOURCES, sources)
    for table, rows in ((tables.CLIPS, clips), (tables.SIGNALS, signals), (tables.SHOTS, shots)):
        tables.write_table(folder, table, rows)
    write_layers(folder, gold)
    return folder


def write_layers(folder: Path, gold: list[Annotation]) -> None:
    write_layer(folder, truth_run(SEED), "gold", gold)
    ours, theirs = run_named("run_ours", "consensus", "xsheet.motion"), run_named("run_theirs", "consensus", "vlm")
    first = [
        annotation_by(
            ours, "consensus", one, sorted_phases(shifted(p, 40_000, 0.9 - 0.07 * i) for i, p in enumerate(one.phases))
        )
        for one in gold
    ]
    second = [
        annotation_by(theirs, "consensus", one, sorted_phases(shifted(p, 120_000, 0.7) for p in one.phases[1:]))
        for one in gold
    ]
    write_layer(folder, ours, "consensus", first)
    write_layer(folder, theirs, "consensus", second)
    target = first[1]
    about = {"annotation_id": target.annotation_id, "clip_id": target.clip_id, "run_id": "run_audit"}
    phase = target.phases[0]
    findings = [
        Finding(
            finding_id="f1", check="G1", severity="error", phase_id=phase.phase_id, start_us=phase.start_us,
            end_us=phase.end_us, message="expected motion of the named part, found none",
            evidence=(EvidenceValue(name="motion_ratio", value=0.8), EvidenceValue(name="limit", value=1.5)), **about,
        ),
        Finding(
            finding_id="f2", check="B4", severity="warning", start_us=2_400_000, end_us=2_440_000,
            message="expected no phase across a cut", **about,
        ),
    ]  # fmt: skip
    write_findings(folder, Run(run_id="run_audit", kind="audit", tool_version="0"), findings)


@pytest.fixture(scope="session")
def made_set(build_once) -> Path:
    return build_once("review-set", build)


@pytest.fixture
def small_set(made_set, tmp_path) -> Path:
    return Path(shutil.copytree(made_set, tmp_path / "set"))


@pytest.fixture
def layer(small_set):
    return find_layer(small_set, "consensus@xsheet.motion")


@pytest.fixture
def desk_of(small_set, layer):
    """A desk for a reviewer; from call to call so much time passes that the lock of the call before has ended."""
    ticks = count()

    def desk(reviewer="anna", *, step_s=LOCK_S + 1, **how) -> ReviewSession:
        return ReviewSession(
            small_set, layer, reviewer=reviewer, repeat_share=how.pop("repeat_share", 0.0),
            clock=lambda: datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=next(ticks) * step_s), **how,
        )  # fmt: skip

    return desk


@pytest.fixture
def act():
    """Carries out one operation on the draft as it stands."""

    def act(desk: ReviewSession, key: str, operation: str, **values):
        before = desk.clip_payload(key)["draft"]["sha256"]
        intent = EditRequest.model_validate_json(
            json.dumps({"operation": operation, "before_sha256": before, **values})
        )
        is_done, draft = desk.apply_operation(key, intent)
        assert is_done
        return draft

    return act


@pytest.fixture(scope="session")
def keys(made_set) -> list[str]:
    """The queue, the worst clip first; the same for every copy of the set."""
    return [entry.key for entry in build_queue(made_set, find_layer(made_set, "consensus@xsheet.motion"))]


@pytest.fixture(scope="session")
def first_key(keys) -> str:
    """The worst clip of the layer."""
    return keys[0]


TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class Served:
    """A server on a port of its own."""

    port: int
    address: str

    def ask(self, path: str, *, method="GET", token: str | None = TOKEN, body=None, **headers):
        """One raw request, the path as it stands; (status, headers, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Cookie"] = f"xsheet-{self.port}={token}"
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def json(self, path: str):
        """What an address gives."""
        status, _, body = self.ask(path)
        assert status == 200, body
        return json.loads(body)

    def operate(self, key: str, intent: dict):
        """One operation; (status, what came back)."""
        path = f"/api/clips/{key}/operations"
        status, _, body = self.ask(path, method="POST", body=json.dumps(intent), Content_Type="application/json")
        return status, json.loads(body) if status in (200, 409) else body.decode()


@contextmanager
def serving(desk: ReviewSession) -> Iterator[Served]:
    """A running server around a desk."""
    server, listening, address = prepare_server(desk, port=0, token=TOKEN)
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Served(listening.getsockname()[1], address)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(name="serving")
def serving_fixture():
    """Runs a server around a desk, for as long as a `with` lasts."""
    return serving


@pytest.fixture
def served_at():
    """Reaches a server by the address it announced."""
    return lambda address: Served(urlsplit(address).port or 0, address)


@pytest.fixture(scope="session")
def served_still(made_set, tmp_path_factory) -> Iterator[Served]:
    """A server for all tests that change no clip. Its set is a copy, since an open clip is locked on disk."""
    folder = shutil.copytree(made_set, tmp_path_factory.mktemp("still") / "set")
    with serving(ReviewSession(folder, find_layer(folder, "consensus@xsheet.motion"), reviewer="reader")) as server:
        yield server


@pytest.fixture
def served(desk_of) -> Iterator[Served]:
    with serving(desk_of()) as server:
        yield server


@pytest.fixture
def visit(chromium):
    """Opens a tab; the test fails when the page has an error of its own."""
    contexts, errors = [], []

    def visit(address, *, context=None):
        if context is None:
            context = chromium.new_context(viewport={"width": 1280, "height": 860})
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * WAIT_S)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        until(page, "document.getElementById('video').readyState >= 2")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def page(visit, served):
    return visit(served.address)
