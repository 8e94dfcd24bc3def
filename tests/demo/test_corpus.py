"""The corpus as files: deterministic, resumable, and consistent with its ground truth."""

import hashlib
from pathlib import Path

import pytest

from xsheet.curate.media.reader import open_media
from xsheet.demo.corpus import TRUTH_TABLES, make_corpus, truth_path
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import read_frame_number, render_film
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.errors import RunError

pytestmark = pytest.mark.slow

SEED, FILMS, SIZE = 3, 4, 128


def make(out, jobs=2, films=FILMS):
    return make_corpus(out, films=films, seed=SEED, height_px=SIZE, execution=Execution(jobs=jobs))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "mit Leerzeichen ü"
    make(out)
    return out


def records(corpus, table):
    return tables.from_arrow(tables.read_file(truth_path(corpus, table), table), table)


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file() and ".commits" not in p.parts)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.nightly
def test_one_worker_and_two_give_the_same_films_and_the_same_bytes_of_truth(corpus, tmp_path):
    make(tmp_path / "again", jobs=1)
    assert digests(tmp_path / "again") == digests(corpus)


def test_rendering_a_film_twice_gives_equal_frames():
    for kind in ("talk", "two_heads", "dissolve"):
        first, second = (render_film(plan_film(0, seed=1, kind=kind), height_px=SIZE) for _ in range(2))
        assert all((next(first) == next(second)).all() for _ in range(3))


def test_every_film_has_its_rows(corpus):
    sources = records(corpus, tables.SOURCES)
    assert [s.path for s in sources] == sorted(f"videos/{p.name}" for p in (corpus / "videos").iterdir())
    assert len(sources) == FILMS
    assert {s.source_id for s in records(corpus, tables.SHOTS)} == {s.source_id for s in sources}
    candidates = {m.clip_id for m in records(corpus, tables.MEASURES)}
    assert {a.clip_id for a in records(corpus, tables.ANNOTATIONS)} == candidates
    assert {s.clip_id for s in records(corpus, tables.SIGNALS)} == candidates
    assert {a.run_id for a in records(corpus, tables.ANNOTATIONS)} == {r.run_id for r in records(corpus, tables.RUNS)}


def test_each_frame_of_a_file_carries_its_own_number(corpus):
    for source in records(corpus, tables.SOURCES):
        if source.path.endswith("still.mp4"):
            continue
        with open_media(corpus / source.path, root=corpus) as media:
            numbers = [read_frame_number(frame.rgb) for frame in media.frames()]
        assert numbers == list(range(source.frames_header or 0)), source.path


def test_shots_end_where_the_film_ends(corpus):
    last = {shot.source_id: shot.end_us for shot in records(corpus, tables.SHOTS)}
    for source in records(corpus, tables.SOURCES):
        assert last[source.source_id] == source.duration_us


def test_a_second_run_writes_no_film_again(corpus):
    before = {p: p.stat().st_mtime_ns for p in (corpus / "videos").iterdir()}
    make(corpus)
    assert {p: p.stat().st_mtime_ns for p in (corpus / "videos").iterdir()} == before


def test_more_films_keep_the_existing_ones(corpus, tmp_path):
    make(tmp_path, films=2)
    before = digests(tmp_path / "videos")
    make(tmp_path, films=3)
    after = digests(tmp_path / "videos")
    assert before.items() <= after.items()
    assert len(after) == 3


def test_a_missing_film_is_an_error_that_names_it(tmp_path):
    make(tmp_path, films=1)
    next((tmp_path / "videos").iterdir()).unlink()
    with pytest.raises(RunError, match="1 missing, the first is videos/0000"):
        make(tmp_path, films=1)


def test_truth_has_one_file_per_table(corpus):
    names = {p.stem for p in (corpus / "truth").iterdir()}
    assert names == {t.name for t in TRUTH_TABLES} | {"runs"}
