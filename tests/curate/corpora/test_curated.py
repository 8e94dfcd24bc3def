"""A drawn corpus in a published form goes through the import and `curate run`."""

import json
from importlib.resources import files

import pytest

from xsheet.curate.corpora.importer import import_corpus, write_import
from xsheet.curate.discover import discover
from xsheet.curate.pipeline import RunContext, curate
from xsheet.curate.settings import CurateSettings
from xsheet.demo.corpus import make_corpus
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_clips_of_an_imported_corpus_lie_in_its_segments_and_keep_its_columns(tmp_path):
    make_corpus(tmp_path / "drawn", films=2, seed=0, height_px=256, execution=Execution(jobs=2))
    videos = tmp_path / "videos"
    videos.mkdir()
    for film, name in zip(
        sorted((tmp_path / "drawn" / "videos").iterdir()), ("aaaaaaaaaa1", "bbbbbbbbbb2"), strict=True
    ):
        film.rename(videos / f"{name}.mp4")
    rows = [
        {"id": f"{video}-scene{k}", "start-time": start, "end-time": start + 3.5, "description": "A puppet talks.",
         "info": {"Person ID": video[0], "Video Link": f"https://youtu.be/{video}"}}
        for k, (video, start) in enumerate((("aaaaaaaaaa1", 0.5), ("bbbbbbbbbb2", 0.5), ("cccccccccc3", 0.0)))
    ]  # fmt: skip
    (tmp_path / "talkvid.json").write_text(json.dumps(rows))
    manifest = tmp_path / "talkvid.parquet"
    write_import(import_corpus("talkvid", tmp_path / "talkvid.json", videos, {}), manifest)

    settings = load_settings(
        CurateSettings, preset=files("xsheet.curate") / "presets" / "all.yaml", overrides=["export.pose=null"]
    )
    out = tmp_path / "set"
    curate(
        discover([str(manifest)]), settings,
        RunContext(set_folder=out, execution=Execution(jobs=2), shows_progress=False),
    )  # fmt: skip
    sources = {row.source_id: row for row in tables.iter_records(out, tables.SOURCES)}
    clips = list(tables.iter_records(out, tables.CLIPS))
    assert [len(source.segments) for source in sources.values()] == [1, 1]
    assert clips
    for clip in clips:
        segment = sources[clip.source_id].segment_at(clip.start_us)
        assert segment.start_us <= clip.start_us < clip.end_us <= segment.end_us
        columns = sources[clip.source_id].columns_at(clip.start_us)
        assert (columns["caption"], columns["licence"]) == ("A puppet talks.", "CC-BY-NC-4.0")
