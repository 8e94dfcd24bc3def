"""The demo end to end on a few films: interrupted, resumed, and run again without new work."""

from importlib.resources import files
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from xsheet.annotate.settings import AnnotateSettings
from xsheet.audit.settings import AuditSettings
from xsheet.curate.dedup.split import SplitSettings, split_clips
from xsheet.curate.settings import CurateSettings
from xsheet.demo.corpus import make_corpus, read_truth
from xsheet.demo.film.plan import film_kind
from xsheet.demo.run import DemoSettings, demo_steps, run_demo
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.settings import load_settings
from xsheet.train.settings import TrainSettings
from xsheet.workflow import WorkflowSettings

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]

FILMS, SIZE, EXECUTION = 4, 256, Execution(jobs=2)
SEED = next(s for s in count() if [film_kind(k, seed=s) for k in range(FILMS)].count("talk") == FILMS - 1)
FEW = (
    "stages.stage1.steps=2", "stages.stage2.steps=2", "loader.batch_size=1", "compute.micro_batch_size=1",
    "compute.threads=1", "loop.log_every=1", "loop.save_every=1", "loop.validate_every=1000",
    "cache.picture.crops_per_clip=1",
)  # fmt: skip
TRACK = ("track_id", "identity_embedding", "identity_model")
SAMPLES = tuple(f"new_people.{each}" for each in ("people=2", "videos=1", "evaluation.sample.steps=2"))


def preset(part, name, kind, *overrides):
    return load_settings(kind, preset=files(f"xsheet.{part}") / "presets" / f"{name}.yaml", overrides=overrides)


def workflow_settings(split):
    return WorkflowSettings(
        # Heads of films of this size are 60 to 110 px high.
        curate=preset("curate", "keep", CurateSettings, "face.min_height_px=50", "export.pose=null"),
        annotate=preset("annotate", "motion", AnnotateSettings, "motion.min_face_px=60"),
        audit=AuditSettings(),
        split=split,
        train=preset("train", "tiny", TrainSettings, *FEW),
    )


def halves(corpus):
    """Return a split with clips on both sides, whatever bytes the encoder writes."""
    sources = [row.source_id for row in read_truth(corpus, tables.SOURCES) if "talk" in row.path]
    clips = pa.table({"clip_id": sources, "source_id": sources, "track_id": sources})
    nobody, near = (pa.table({name: [] for name in names}) for names in (TRACK, ("source_id", "other_id")))
    for seed in count():
        split = SplitSettings(val=0, test=0.5, seed=seed, identity="source")
        if {row.split for row in split_clips(clips, nobody, near, split)} == {"train", "test"}:
            return split


def files_of(out):
    """Modification time of each file that a second run must not write again."""
    return {
        path: path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.suffix in (".mp4", ".jpg") or path.name.startswith("new-people-") or "checkpoints" in path.parts
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Run the demo in one folder; `until` is the step that Ctrl-C interrupts."""
    out = tmp_path_factory.mktemp("demo") / "mit Leerzeichen ü"
    settings = load_settings(DemoSettings, overrides=[f"films={FILMS}", f"seed={SEED}", f"height_px={SIZE}", *SAMPLES])
    make_corpus(out / "corpus", films=FILMS, seed=SEED, height_px=SIZE, execution=EXECUTION)
    split = halves(out / "corpus")

    def run(until=None):
        steps = []

        def record_step(step):
            steps.append(step)
            if step == until:
                raise KeyboardInterrupt

        return run_demo(
            out, settings, workflow_settings(split), execution=EXECUTION, shows_progress=False, on_step=record_step
        ), steps

    run.out, run.steps = out, demo_steps(workflow_settings(split))
    return run


@pytest.mark.nightly
def test_an_interrupted_demo_resumes_and_a_finished_one_repeats_nothing(demo):
    with pytest.raises(KeyboardInterrupt):
        demo(until="stage2")
    before = files_of(demo.out)
    assert any("stage1" in path.parts for path in before)
    assert not (demo.out / "demo.html").exists()

    result, steps = demo()
    after = files_of(demo.out)
    assert tuple(steps) == demo.steps
    assert {path: after.get(path) for path in before} == before
    assert all((demo.out / "set" / "train" / stage / "weights.safetensors").exists() for stage in ("stage1", "stage2"))

    again, _ = demo()
    assert files_of(demo.out) == after
    assert again.new_people == result.new_people
    assert all(again.seconds[step] >= seconds for step, seconds in result.seconds.items())


def test_the_demo_leaves_a_page_with_films_and_samples(demo):
    result, _ = demo()
    text = result.page.read_text(encoding="utf-8")
    assert result.page == Path(demo.out, "demo.html")
    assert f"<b>{FILMS}</b> films" in text
    assert text.count("<video") == 2 + len(result.new_people.people)
    assert 'class="empty"' not in text
    assert result.new_people.evaluation.swaps
    assert (demo.out / "evaluation.json").is_file()
    assert len(list((demo.out / "samples").glob("*-generated.mp4"))) == len(result.new_people.people) > 0
