"""A file that is nested so deep that its parser gives up ends in a sentence that names it."""

import pytest

from xsheet.curate.settings import CurateSettings
from xsheet.export.folder import check_output
from xsheet.export.settings import ExportSettings
from xsheet.model.weights import _config_json
from xsheet.schemas.errors import XsheetError
from xsheet.schemas.sets import open_set
from xsheet.schemas.settings import load_settings
from xsheet.train.data.cache.build import _spec_in_words
from xsheet.train.exported.card import _evaluation_numbers
from xsheet.train.exported.load import _description
from xsheet.train.loop.state import _read_description
from xsheet.train.sample.sampler import run_settings
from xsheet.train.stage_summary import stage_summary

DEPTH = 100_000
READERS = {
    "set.json": open_set,
    "config.json": _config_json,
    "cache.json": lambda folder: _spec_in_words(folder / "cache.json"),
    "evaluation.json": _evaluation_numbers,
    "training.json": _description,
    "export.json": lambda folder: check_output(folder, ExportSettings(kind="hf"), layer="accepted"),
    "checkpoint.json": lambda folder: _read_description(folder, {}),
    "manifests/1-train-run.json": run_settings,
    "stage1/metrics.jsonl": lambda folder: stage_summary(folder, "stage1"),
    "settings.yaml": lambda folder: load_settings(CurateSettings, config=folder / "settings.yaml"),
}


@pytest.mark.parametrize("text", ["[" * DEPTH, '{"a":' * DEPTH, "{", "3", "[}", "\udcff"], ids=range(6))
@pytest.mark.parametrize("name", READERS)
def test_no_document_ends_in_a_traceback(tmp_path, name, text):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(XsheetError) as error:
        READERS[name](tmp_path)
    assert len(str(error.value)) < 1000
