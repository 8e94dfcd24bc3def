"""The demo end to end on a few films: stopped, gone on with, and run once more, which does nothing twice."""

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
from xsheet.demo.run import DEMO_STEPS, DemoSettings, run_demo
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.settings import load_settings
from xsheet.train.settings import TrainSettings
from xsheet.workflow import TRAIN_STAGES, WorkflowSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FILMS, SIZE, HOW = 4, 256, Execution(jobs=2)
SEED = next(s for s in count() if [film_kind(k, seed=s) for k in range(FILMS)].count("talk") == FILMS - 1)
FEW = (
    "stage1.steps=2", "stage2.steps=2", "data.batch=1", "compute.micro_batch_size=1", "compute.threads=1",
    "loop.log_every=1", "loop.save_every=1", "loop.validate_every=1000", "cache.picture.crops=1",
)  # fmt: skip
TRACK = ("track_id", "shape", "identity_model")
UNSEEN = ("unseen.evaluation.sample.steps=2", "unseen.evaluation.fitting.steps=2", "unseen.evaluation.exchange=false")


def preset(part, name, kind, *overrides):
    return load_settings(kind, preset=files(f"xsheet.{part}") / "presets" / f"{name}.yaml", overrides=overrides)


def ways(split):
    return WorkflowSettings(
        # Heads of films of this size are 60 to 110 px high.
        curate=preset("curate", "keep", CurateSettings, "face.min_height_px=50", "write.body=null"),
        annotate=preset("annotate", "motion", AnnotateSettings, "motion.min_face_px=60"),
        audit=AuditSettings(),
        split=split,
        train=preset("train", "tiny", TrainSettings, *FEW),
    )


def halves(corpus):
    """A split that has something on both sides, whatever bytes the encoder writes."""
    sources = [row.source_id for row in read_truth(corpus, tables.SOURCES) if "talk" in row.path]
    clips = pa.table({"clip_id": sources, "source_id": sources, "track_id": sources})
    nobody, near = (pa.table({name: [] for name in names}) for names in (TRACK, ("source_id", "other_id")))
    for seed in count():
        split = SplitSettings(val=0, test=0.5, seed=seed, identity="source")
        if {row.split for row in split_clips(clips, nobody, near, split)} == {"train", "test"}:
            return split


def files_of(out):
    """When each file was written, but for what every run tells anew."""
    return {
        path: path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.suffix in (".mp4", ".jpg") or path.stage.startswith("unseen-") or "checkpoints" in path.parts
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Runs the demo in one folder; `until` is the step at which somebody presses Ctrl-C."""
    out = tmp_path_factory.mktemp("demo") / "mit Leerzeichen ü"
    settings = load_settings(DemoSettings, overrides=[f"clips={FILMS}", f"seed={SEED}", f"size={SIZE}", *UNSEEN])
    make_corpus(out / "corpus", films=FILMS, seed=SEED, height_px=SIZE, execution=HOW)
    split = halves(out / "corpus")

    def run(until=None):
        told = []

        def tell(step):
            told.append(step)
            if step == until:
                raise KeyboardInterrupt

        return run_demo(out, settings, ways(split), execution=HOW, shows_progress=False, on_step=tell), told

    run.out = out
    return run


def test_a_stopped_demo_goes_on_and_a_finished_one_does_nothing_twice(demo):
    with pytest.raises(KeyboardInterrupt):
        demo(until="stage2")
    before = files_of(demo.out)
    assert any("stage1" in path.parts for path in before)
    assert not (demo.out / "demo.html").exists()

    shown, told = demo()
    after = files_of(demo.out)
    assert tuple(told) == DEMO_STEPS
    assert {path: after.get(path) for path in before} == before
    assert all((demo.out / "set" / "train" / stage / "weights.safetensors").exists() for stage in TRAIN_STAGES)

    again, _ = demo()
    assert files_of(demo.out) == after
    assert again.unseen == shown.unseen
    assert all(again.seconds[step] >= spent for step, spent in shown.seconds.items())


def test_the_demo_leaves_a_page_with_films_and_samples(demo):
    shown, _ = demo()
    text = shown.curation_report.read_text(encoding="utf-8")
    assert shown.curation_report == Path(demo.out, "demo.html")
    assert f"<b>{FILMS}</b> films" in text
    assert text.count("<video") == 2 + len(shown.unseen.films)
    assert 'class="empty"' not in text
    assert len(list((demo.out / "samples").glob("*-drawn.mp4"))) == len(shown.unseen.films) > 0
