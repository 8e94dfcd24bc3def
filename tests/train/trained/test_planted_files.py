"""Payloads in every kind of file that a set, its stored results, a cache, a run and an export hold.

None runs, and each command over them ends well, with rows that failed, or in one sentence.
"""

import io
import json
import logging
import os
import pickle
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.runtime.segments import SegmentStore
from xsheet.schemas.errors import XsheetError
from xsheet.schemas.settings import to_yaml

SETTINGS = """
cache:
  picture: {frame_counts: [9], resolutions: [[64, 64]]}
  text: {layer: consensus}
loader: {batch_size: 1}
compute: {micro_batch_size: 1, threads: 1}
loop: {save_every: 2}
stages:
- name: stage1
  dataset: {text: brief}
  trainable_parts: [backbone, audio, text]
  steps: 2
  optim: &optim {lr: 0.001, warmup_steps: 1}
- name: stage2
  dataset: {text: blocks}
  trainable_parts: [backbone, audio, phases, text]
  steps: 2
  optim: *optim
"""
SHEET = "base: A person speaks to the camera.\nphases: [{start_s: 0.1, end_s: 0.6, text: nods twice}]\n"
CURATION = ("--preset", "all", "--set=export.pose=null", "--set=analysis.candidates.min_frames=20", "--jobs", "1")
A_SENTENCE = (SystemExit, XsheetError, OSError)  # what the entry point prints as one line; no bug of xsheet


class Payload:
    """Leaves a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def raw_pickle(file: Path, mark: Path) -> bytes:
    return pickle.dumps(Payload(mark))


def torch_zip(file: Path, mark: Path) -> bytes:
    stream = io.BytesIO()
    torch.save({"model": Payload(mark)}, stream)
    return stream.getvalue()


def of_its_format(file: Path, mark: Path) -> bytes:
    """A well-formed file of the same kind that asks a careless reader to run something."""
    match file.suffix:
        case ".parquet":
            # Readers that know pickled extension types rebuild them from the schema, before any row is read.
            extension = {b"ARROW:extension:name": b"arrow.py_extension_type"}
            extension[b"ARROW:extension:metadata"] = pickle.dumps(Payload(mark))
            field = pa.field("clip_id", pa.string(), metadata=extension)
            sink = io.BytesIO()
            pq.write_table(pa.table([["a"]], pa.schema([field], metadata=pq.read_schema(file).metadata)), sink)
            return sink.getvalue()
        case ".safetensors":
            tensor = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
            text = json.dumps({"__metadata__": {"pickle": str(mark)}, "x": tensor}).encode()
            return len(text).to_bytes(8, "little") + text + bytes(64)
        case ".seg":
            folder = file.parent / "planted"
            for key, _ in SegmentStore(file.parent).records():
                SegmentStore(folder).append(key, pickle.dumps(Payload(mark)))
            data = b"".join(segment.read_bytes() for segment in folder.glob("*.seg"))
            shutil.rmtree(folder)
            return data
        case ".json" | ".jsonl":
            call = {"py/object/apply": "os.mkdir", "py/reduce": [{"py/function": "os.mkdir"}, [str(mark)]]}
            return json.dumps({**call, "_target_": "os.mkdir", "_args_": [str(mark)]}).encode()
        case ".yaml":
            return f"!!python/object/apply:os.mkdir [{mark}]\n".encode()
        case _:
            return f"import os; os.mkdir({str(mark)!r})\n".encode()


def nested(file: Path, mark: Path) -> bytes:
    """So deep that a recursive parser gives up, with an error that is no ValueError."""
    return b'{"a":' * 100_000


def long_lengths(file: Path, mark: Path) -> bytes:
    """The largest length that a reader may believe, where binary formats keep one, and the start of the file after."""
    return (2**63 - 1).to_bytes(8, "little") + file.read_bytes()[8:4096]


FORMS: tuple[Callable[[Path, Path], bytes], ...] = (of_its_format, raw_pickle, torch_zip, nested, long_lengths)


def xsheet(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="session")
def pristine(build_once, short_films) -> Path:
    """Films, a set of them with layers, findings, results and a cache, a run that was trained on it, and its export."""

    def build(folder: Path) -> Path:
        short_films(folder / "films", 2)
        (folder / "train.yaml").write_text(SETTINGS)
        (folder / "script.yaml").write_text(SHEET)
        a_set = folder / "set"
        for verb in (
            ("curate", "run", folder / "films", "--out", a_set, *CURATION),
            ("annotate", "run", a_set, "--jobs", 1),
            ("annotate", "consensus", a_set),
            ("audit", "run", a_set, "--jobs", 1),
            ("curate", "split", a_set, "--val", 0, "--test", 0),
            ("train", "cache", a_set, "--config", folder / "train.yaml", "--jobs", 1),
            ("train", "run", a_set, "--out", folder / "run", "--config", folder / "train.yaml", "--no-validation"),
            ("train", "export", folder / "run", "--out", folder / "export"),
        ):
            ran = xsheet(*verb)
            assert ran.exit_code == 0 or verb[0] == "audit", (verb, ran.output, ran.exception)
        return folder

    return build_once("planted", build)


def commands(place: str, folder: Path, film: Path) -> Iterator[tuple[object, ...]]:
    """Those that read the files of a place, in the order in which a person would try them."""
    a_set, run, out, settings = folder / "set", folder / "run", folder / "out", ("--config", folder / "train.yaml")
    script = folder / "script.yaml"
    sample = ("--portrait", film, "--audio", film, "--script", script, "--out", out / "a.mp4", "--set=steps=1")
    resume = ("train", "run", a_set, "--out", run, *settings, "--no-validation")
    match place:
        case "set":
            clip = film.stem
            yield "schemas", "check", a_set, "--hash-media"
            yield "set", "check", a_set
            yield "curate", "inspect", a_set, clip
            yield "annotate", "show", a_set, clip
            yield "annotate", "export-sft", a_set, "--layer", "consensus", "--out", out / "sft.jsonl"
            yield "audit", "export", a_set, "--layer", "consensus", "--out", out / "elan"
            yield "audit", "run", a_set, "--jobs", 1
            yield "curate", "decide", a_set
            yield "curate", "report", a_set
            yield "curate", "run", folder / "films", "--out", a_set, *CURATION
            yield "annotate", "run", a_set, "--jobs", 1
            yield "train", "cache", a_set, *settings, "--jobs", 1
            yield resume
        case "run":
            yield resume
            yield "train", "sample", run, *sample
            yield "train", "evaluate", run, a_set, "--out", out / "evaluation", "--set", "sample.steps=1"
            yield "train", "export", run, "--out", out / "export"
        case "export":
            yield "train", "sample", folder / "export", *sample


READERS = {
    r"set/\.commits/(probe|analysis|segment|export|lock)": ("curate run",),
    r"set/\.commits/annotate": ("annotate run",),
    r"set/\.commits/cache": ("train cache",),
    r"set/cache": ("train cache", "train run"),
    r"set/(annotations|runs|findings)": ("annotate show", "annotate export-sft", "audit export", "audit run"),
    r"set/(manifests|thumbnails|audit)": ("curate report",),
    r"set/(media|signals)": ("schemas check", "curate inspect", "audit run", "train cache"),
    r"set/(splits|features)": ("schemas check", "set check", "train cache", "train run"),
    r"set/": ("schemas check", "set check", "curate decide", "curate report", "curate run"),
    r"run/.*(manifests|/weights)": ("train sample", "train evaluate", "train export"),
    r"run/": ("train run", "train sample"),
    r"export/": ("train sample",),
}
"""The commands that read a file, by its path: the first pattern that fits."""


def kinds_of_files(folder: Path) -> list[Path]:
    """One file of each kind, relative to the folder: those whose names differ in more than numbers and hashes."""
    kinds: dict[str, Path] = {}
    for file in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        kinds.setdefault(re.sub(r"[0-9a-f]*\d[0-9a-f]*|_\w+|/[0-9a-f]{2}(?=/)", "#", str(file)), file)
    return list(kinds.values())


def copied(source: str, target: str) -> None:
    if Path(source).suffix in (".safetensors", ".mp4"):
        os.link(source, target)  # never written in place
    else:
        shutil.copy2(source, target)


def planted(
    pristine: Path, folder: Path, file: Path, form: Callable[[Path, Path], bytes], *, verbs: Collection[str] = ()
) -> tuple[list[str], int]:
    """What went wrong in the commands over a copy with one planted file, and their number."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pristine, folder, copy_function=copied)
    mark, wrong, tries = folder / "ran", [], 0
    (folder / file).unlink()
    (folder / file).write_bytes(form(pristine / file, mark))
    film = next((pristine / "set/media").rglob("*.mp4"))
    verbs = verbs or next(verbs for pattern, verbs in READERS.items() if re.match(pattern, str(file)))
    for verb in commands(file.parts[0], folder, film):
        if " ".join(map(str, verb[:2])) not in verbs:
            continue
        ran, tries = xsheet(*verb), tries + 1
        is_fine = ran.exception is None or isinstance(ran.exception, A_SENTENCE)
        if mark.exists() or not is_fine or len(str(ran.exception).splitlines()) > 1:
            what = "RAN" if mark.exists() else f"{type(ran.exception).__name__} {ran.exception}"[:300]
            wrong.append(f"{file} {form.__name__} {' '.join(map(str, verb[:2]))}: {what}")
    return wrong, tries


@pytest.fixture(scope="module")
def made_by_hand(built_set, trained_run, plan, tmp_path_factory) -> Path:
    """A set without sources, with a cache, and a run."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(built_set[0], folder / "set")
    shutil.copytree(trained_run, folder / "run")
    (folder / "train.yaml").write_text(to_yaml(plan))
    (folder / "script.yaml").write_text(SHEET)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "verb"),
    [
        ("set/set.json", "schemas check"), ("set/clips/part-*", "set check"), ("set/cache/*/*.seg", "train cache"),
        ("run/stage1/checkpoints/*/index.json", "train run"), ("run/stage2/weights.safetensors", "train sample"),
    ],
)  # fmt: skip
def test_a_payload_of_the_files_own_format_does_not_run(made_by_hand, tmp_path, pattern, verb):
    file = min(made_by_hand.glob(pattern)).relative_to(made_by_hand)
    for form in (of_its_format, raw_pickle):
        assert planted(made_by_hand, tmp_path / "copy", file, form, verbs=[verb]) == ([], 1)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("place", ["set", "run", "export"])
def test_a_payload_in_any_file_does_not_run(pristine, tmp_path, place, caplog):
    """Each kind of file once as a well-formed file of its format, and once as another form in turn."""
    caplog.set_level(logging.CRITICAL, logger="c10d-NullHandler-dcp_logger")  # torch logs what it hands on to us
    wrong, tries = [], 0
    for count, name in enumerate(kinds_of_files(pristine / place)):
        for form in (of_its_format, FORMS[1 + count % (len(FORMS) - 1)]):
            found, tried = planted(pristine, tmp_path / "copy", place / name, form)
            wrong += found
            tries += tried
    assert tries > 0 and not wrong, "\n".join([f"{len(wrong)} of {tries} commands", *wrong])
