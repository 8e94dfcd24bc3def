import json
import sys
from pathlib import Path

import pytest

from xsheet.annotate.vlm.qwen.folder import QwenFolder, QwenSettings
from xsheet.annotate.vlm.qwen.model import QwenClient
from xsheet.annotate.vlm.qwen.tokens import QWEN3
from xsheet.schemas.errors import ConfigError, RunError


def folder(tmp_path, *, config=None, files=("model.safetensors",)):
    (tmp_path / "config.json").write_text(json.dumps(config or {"model_type": "qwen3_vl"}))
    for name in files:
        (tmp_path / name).write_bytes(b"weights")
    return tmp_path


def test_the_family_is_read_from_the_config(tmp_path):
    assert QwenFolder.from_path(folder(tmp_path)).family is QWEN3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"model_type": "llava"}}, "(qwen3_omni_moe qwen3_omni_moe_thinker), got model_type 'llava'"),
        ({"files": ()}, "expected weights as safetensors, got no model.safetensors"),
        ({"files": ("pytorch_model.bin",)}, "pickled weights (.bin) are not opened"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_used_says_why(tmp_path, change, message):
    with pytest.raises(ConfigError) as raised:
        QwenFolder.from_path(folder(tmp_path, **change))
    assert message in str(raised.value)


def test_a_missing_folder_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match="got no folder; download one: `hf download Qwen/"):
        QwenFolder.from_path(tmp_path / "absent")


def test_a_config_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"a JSON config\.json"):
        QwenFolder.from_path(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    found = folder(tmp_path, files=("model-00001-of-00002.safetensors",))
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (found / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ConfigError, match=r"got no model-00002-of-00002\.safetensors"):
        QwenFolder.from_path(found)


def test_the_revision_follows_the_bytes(tmp_path):
    found = QwenFolder.from_path(folder(tmp_path))
    first = found.model_record(dtype="bfloat16")
    assert (first.id, first.dtype) == (tmp_path.name, "bfloat16")
    assert first == found.model_record(dtype="bfloat16")
    (tmp_path / "model.safetensors").write_bytes(b"others")
    assert found.model_record(dtype="bfloat16").revision != first.revision


@pytest.mark.slow
@pytest.mark.parametrize("absent", ["torch", "llguidance", "qwen_vl_utils"])
def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch, absent):
    for name in [n for n in sys.modules if n.startswith("xsheet.annotate.vlm.qwen.")]:
        if name not in ("xsheet.annotate.vlm.qwen.folder", "xsheet.annotate.vlm.qwen.tokens"):
            monkeypatch.delitem(sys.modules, name)
    if absent == "torch":
        monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(RunError, match=r"the extra 'vlm'.*pip install -c constraints.txt \"\.\[vlm\]\""):
        QwenClient(QwenSettings(model=folder(tmp_path))).open()


@pytest.mark.slow
def test_the_way_in_loads_nothing_heavy():
    import subprocess

    code = "import sys; import xsheet.annotate.vlm.qwen.model, xsheet.annotate.vlm.qwen.tokens; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "qwen_vl_utils", "llguidance", "av"} & set(loaded)


def test_settings_come_from_text():
    made = QwenSettings.model_validate_json('{"model": "some/folder", "batch_size": 2}')
    assert made.model == Path("some/folder")
