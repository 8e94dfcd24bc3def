"""Sets of a few puppet clips with planted series, grey films, two layers and findings; all text in them is hostile."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xsheet.audit.pipeline import AuditResult, audit
from xsheet.audit.settings import AuditSettings
from xsheet.curate.media.thumbnails import encode_thumbnail, write_thumbnails
from xsheet.curate.media.writer import write_clip
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows, truth_run
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation, Repair, annotation_id, sorted_phases
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.layers import LayerRun, find_layer, write_layer
from xsheet.schemas.run import Model, Run, Usage
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import Shot

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\x1b[31m\u202e{{ 7*7 }}"
SEED, FILMS = 5, (2, 9, 11)


@pytest.fixture(scope="session")
def hostile() -> str:
    """Text that does harm where it is not escaped."""
    return HOSTILE


@pytest.fixture(scope="session")
def made_set(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "set"
    create_set(folder, f"puppet {HOSTILE}")
    clips, signals, gold = [], [], []
    for film in FILMS:
        measures, series, truth = truth_rows(plan_film(film, seed=SEED, kind="talk"), f"src_{film}")
        path = f"media/{measures.clip_id[5:7]}/{measures.clip_id}.mp4"
        frames = (np.full((48, 64, 3), min(16 + k, 235), np.uint8) for k in range(series.frames))
        file = write_clip(folder / path, frames=frames)
        clips.append(
            Clip(
                clip_id=measures.clip_id, source_id=f"src_{film}", start_us=measures.start_us,
                end_us=measures.end_us, media_path=path, media_sha256=file.sha256, frames=file.frames,
                samples=file.samples, width=file.width, height=file.height,
            )
        )  # fmt: skip
        write_thumbnails(folder, f"src_{film}", {0: encode_thumbnail(np.full((48, 64, 3), 99, np.uint8))})
        signals.append(series)
        gold.append(replace(truth, media_sha256=file.sha256))
    cut = Shot(shot_id="shot_a", source_id="src_2", start_us=2_400_000, end_us=9_000_000, opens_with="cut")
    for table, rows in ((tables.CLIPS, clips), (tables.SIGNALS, signals), (tables.SHOTS, [cut])):
        tables.write_table(folder, table, rows)
    write_layer(folder, truth_run(SEED), "gold", gold)
    write_layer(folder, model_run(), "consensus", model_annotations(gold))
    return folder


def model_run() -> Run:
    model = Model(id=f"vlm {HOSTILE}", revision="r1")
    return Run(run_id="run_model", kind="consensus", tool_version="0", model=model, parent_run_ids=("run_a",))


def model_annotations(gold: list[Annotation]) -> list[Annotation]:
    """The ground truth half a second late, with harmful text; the last response failed."""
    rows = []
    for one in gold:
        late = sorted_phases(
            replace(p, start_us=p.start_us + 480_000, end_us=p.end_us + 480_000, kinematics=(), text=f"nods {HOSTILE}")
            for p in one.phases
            if p.end_us + 480_000 <= one.duration_us
        )
        key = {"clip_id": one.clip_id, "layer": "consensus", "run_id": "run_model", "sample_index": None}
        rows.append(
            replace(
                one, layer="consensus", run_id="run_model", parent_ids=(one.annotation_id,), phases=late,
                annotation_id=annotation_id(**key, base=one.base, phases=late),
                base=one.base and replace(one.base, text=f"A person in front of a wall. {HOSTILE}"),
                usage=Usage(prompt_tokens=1_000, output_tokens=200, latency_s=2.5),
            )
        )  # fmt: skip
    failed = Repair(op="refuse", path="", reason=f"no JSON {HOSTILE}")
    rows[-1] = replace(rows[-1], status="invalid", base=None, phases=(), repairs=(failed,))
    return rows


@pytest.fixture
def small_set(made_set, tmp_path) -> Path:
    return Path(shutil.copytree(made_set, tmp_path / "set"))


@pytest.fixture
def layer(small_set) -> LayerRun:
    return find_layer(small_set, "consensus")


@pytest.fixture
def gold(small_set) -> LayerRun:
    return find_layer(small_set, "gold")


@pytest.fixture
def audited(small_set, layer, gold) -> AuditResult:
    return audit(small_set, layer, AuditSettings(), reference=gold)


@pytest.fixture
def repeat_set() -> Callable[[Path, int], LayerRun]:
    """Gives a set more clips: the same ones again under new ids, their films left out."""

    def repeat(folder: Path, count: int) -> LayerRun:
        clips, signals = (list(tables.iter_records(folder, table)) for table in (tables.CLIPS, tables.SIGNALS))
        rows = list(find_layer(folder, "consensus").read())
        of: list[tuple[Clip, Signals, Annotation]] = []
        for k in range(count):
            clip, series, row = clips[k % 2], signals[k % 2], rows[k % 2]
            name = f"clip_{k:020x}"
            row = replace(row, clip_id=name, annotation_id=f"ann_{k:020x}")
            of.append((replace(clip, clip_id=name), replace(series, clip_id=name), row))
        more_clips, more_signals, more_rows = zip(*of, strict=True)
        tables.write_table(folder, tables.CLIPS, [*clips, *more_clips])
        tables.write_table(folder, tables.SIGNALS, [*signals, *more_signals])
        return write_layer(folder, model_run(), "consensus", [*rows, *more_rows])

    return repeat
