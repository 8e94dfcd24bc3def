"""The table of words: which text a clip gets, and a row for every clip that has one."""

import json
from pathlib import Path

import numpy as np
import pytest

from xsheet.annotate.clip_batches import TranscriptLookup
from xsheet.annotate.speech.aligner import AlignSettings
from xsheet.annotate.speech.word_table import WordsResult, write_words
from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import write_clip
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, ClipWords
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.sets import check_set, create_set
from xsheet.schemas.source import ManifestColumn, SourceVideo

pytestmark = pytest.mark.slow  # worker processes

FRAMES = 75
TIMED = json.dumps([{"word": "hello", "start": 1.2, "end": 1.5}])


def make_set(folder: Path, *columns: dict[str, str], sound: np.ndarray | None = None) -> Path:
    """A set with a clip of three seconds per source, which begins one second into `talk K.mp4`."""
    create_set(folder, "words")
    sources, clips = [], []
    for k, values in enumerate(columns):
        extra = tuple(ManifestColumn(key=key, value=value) for key, value in values.items())
        sources.append(SourceVideo(source_id=f"src_{k}", path=f"talk {k}.mp4", status="ok", manifest_columns=extra))
        path = folder / f"media/cl/clip_{k}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, frames=(np.full((64, 96, 3), 90, np.uint8) for _ in range(FRAMES)), sound=sound)
        clips.append(
            Clip(
                clip_id=f"clip_{k}",
                source_id=f"src_{k}",
                start_us=1_000_000,
                end_us=4_000_000,
                width=96,
                height=64,
                media_path=f"media/cl/clip_{k}.mp4",
                media_sha256=file_sha256(path),
                frames=FRAMES,
                samples=0 if sound is None else FRAMES * 640,
            )
        )
    tables.write_table(folder, tables.SOURCES, sources)
    tables.write_table(folder, tables.CLIPS, clips)
    return folder


def go(folder: Path, sidecars: Path | None = None) -> tuple[WordsResult, dict[str, ClipWords]]:
    result = write_words(folder, AlignSettings(), sidecars=sidecars, execution=Execution(jobs=1), show_progress=False)
    return result, {row.clip_id: row for row in tables.iter_records(folder, tables.WORDS)}


def test_times_of_the_manifest_become_rows_on_the_clock_of_the_clip(tmp_path):
    result, rows = go(make_set(tmp_path, {"words": TIMED}, {"words": "{"}, {"speaker": "7"}))
    assert [(word.text, word.start_us) for word in rows["clip_0"].words] == [("hello", 200_000)]
    assert (rows["clip_1"].status, rows["clip_1"].origin) == ("failed", "manifest")
    assert (result.timed, result.failed, result.without_transcript) == (1, 1, 1)
    assert check_set(tmp_path).violations == ()


def test_a_file_beside_is_used_before_the_manifest(tmp_path):
    sidecars = tmp_path / "times"
    sidecars.mkdir()
    (sidecars / "talk 0.en.vtt").write_text("WEBVTT\n\n00:01.500 --> 00:02.000\nhi\n")
    (sidecars / "talk 1.TextGrid").write_bytes(b"broken")
    _, rows = go(make_set(tmp_path / "set", {"words": TIMED}, {"words": TIMED}), sidecars)
    assert [(word.text, word.start_us) for word in rows["clip_0"].words] == [("hi", 500_000)]
    assert (rows["clip_0"].origin, rows["clip_0"].method) == ("sidecar", "talk 0.en.vtt")
    assert rows["clip_1"].status == "failed"


def test_a_missing_folder_of_files_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="--sidecars"):
        go(make_set(tmp_path, {"words": TIMED}), tmp_path / "nowhere")


def test_transcripts_are_aligned_and_reach_the_annotators(tmp_path, shared):
    pytest.importorskip("pocketsphinx")
    with open_media(shared / "data/videos/grid-swwp2s.mpg", root=shared / "data") as media:
        sound = media.sound()
    texts = ("set white with p two soon", "lay blue at x four now", "установи белый")
    result, rows = go(make_set(tmp_path, *({"transcript": text} for text in texts), sound=sound))
    assert [rows[f"clip_{k}"].status for k in range(3)] == ["ok", "failed", "failed"]
    assert "got 'установи'" in (rows["clip_2"].message or "")
    assert (result.timed, result.failed, result.words) == (1, 2, 6)
    found = TranscriptLookup(tmp_path)("clip_0")
    assert [word.text for word in found.words] == texts[0].split()
    assert TranscriptLookup(tmp_path)("clip_1").problem is not None
