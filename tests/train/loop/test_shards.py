"""Tensors of a checkpoint: every bit comes back, nothing that was put there runs."""

import copy
import errno
import io
import logging
import os
import pickle
import warnings

import pytest
import torch

from xsheet.schemas.errors import ContractError
from xsheet.train.loop import shards
from xsheet.train.loop.shards import add_hashes, checked_file, load_state_dict, save_state_dict

FILES = ("index.json", "SHA256SUMS", "rank-00000-000.safetensors", "checkpoint.json")


class Payload:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def saved_by_torch(payload):
    stream = io.BytesIO()
    torch.save(payload, stream)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def one_process(caplog):
    caplog.set_level(logging.CRITICAL, logger="c10d-NullHandler-dcp_logger")  # torch logs what it hands on to us
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


@pytest.fixture
def state():
    rng = torch.Generator().manual_seed(1)
    return {
        "model": {
            "float": torch.randn(7, 5, generator=rng),
            "half": torch.randn(9, generator=rng).bfloat16(),
            "ids": torch.arange(6),
        },
        "optimizer": {
            "step": torch.tensor(3.0), "lr": 0.1 + 0.2, "betas": (0.9, 0.999), "fused": None, "foreach": True,
        },
    }  # fmt: skip


def empty_like(state):
    blank = copy.deepcopy(state)
    for tensor in (*blank["model"].values(), blank["optimizer"]["step"]):
        tensor.zero_()
    return blank | {"optimizer": blank["optimizer"] | {"lr": 0.0, "betas": (0.0, 0.0), "foreach": False}}


@pytest.fixture
def folder(state, tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    save_state_dict(state, folder)
    (folder / "checkpoint.json").write_text("{}")
    add_hashes(folder, "checkpoint.json")
    return folder


@pytest.mark.parametrize("file_bytes", [1 << 30, 50])
def test_every_bit_and_every_plain_value_comes_back(state, tmp_path, monkeypatch, file_bytes):
    monkeypatch.setattr(shards, "MAX_FILE_BYTES", file_bytes)
    save_state_dict(state, tmp_path)
    blank = empty_like(state)
    load_state_dict(blank, tmp_path)
    assert blank["optimizer"] == state["optimizer"]
    assert all(torch.equal(blank["model"][name], tensor) for name, tensor in state["model"].items())
    assert len(list(tmp_path.glob("*.safetensors"))) == (1 if file_bytes > 50 else 4)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("form", [pickle.dumps, saved_by_torch])
def test_a_planted_pickle_is_refused_and_does_not_run(folder, state, tmp_path, name, form):
    mark = tmp_path / "ran"
    (folder / name).write_bytes(form(Payload(mark)))
    with pytest.raises(ContractError, match=r"remove that folder to resume from the checkpoint before it"):
        checked_file(folder, "checkpoint.json")
        load_state_dict(empty_like(state), folder)
    assert not mark.exists()


def test_the_payload_would_run(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", FILES[:3])
def test_one_changed_byte_is_refused(folder, state, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ContractError):
        load_state_dict(empty_like(state), folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"file": "rank-00000-000.safetensors"', '"file": "../../other.safetensors"'),
        ('"dtype": "float32"', '"dtype": "load"'),
        ('"model.ids"', '"model.other"'),
    ],
)
def test_an_index_that_was_forged_with_its_hash_is_refused_too(folder, state, old, new):
    text = (folder / "index.json").read_text()
    assert old in text
    (folder / "index.json").write_text(text.replace(old, new))
    add_hashes(folder, "index.json")
    with pytest.raises(ContractError):
        load_state_dict(empty_like(state), folder)


def test_a_value_that_json_cannot_hold_is_refused_when_saving(tmp_path):
    with pytest.raises(TypeError, match="hook: expected a tensor or a plain value, got function"):
        save_state_dict({"hook": lambda: 0}, tmp_path)


def test_a_full_disk_is_an_error_of_the_operating_system(state, disk):
    """torch and safetensors each wrap it in an error of their own; the run names it by what is raised here."""
    disk.fill(but_bytes=2048)
    state["model"]["large"] = torch.zeros(1 << 16)
    with pytest.raises(OSError, match="No space left on device") as error:
        save_state_dict(state, disk.path)
    assert error.value.errno == errno.ENOSPC
