"""Initial weights from a whole avatar."""

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from xsheet.schemas.errors import ConfigError
from xsheet.train.data.settings import CacheSettings, StageDatasetSettings
from xsheet.train.loop.model import part_keys
from xsheet.train.pretrained import TINY_BASE, avatar_keys, avatar_sha256
from xsheet.train.run import build_trainable_model, pretrained_keys
from xsheet.train.settings import TrainSettings
from xsheet.train.stages import StageSettings


def settings(**changes):
    stage = StageSettings(
        name="stage1", dataset=StageDatasetSettings(text="brief"), trainable_parts=("audio",), steps=1
    )
    return TrainSettings(cache=CacheSettings(), stages=(stage,), **changes)


def build(**changes):
    return build_trainable_model(settings(**changes), null_text=torch.zeros(96, 2, dtype=torch.int64))


@pytest.fixture(scope="module")
def base():
    return build(pretrained_avatar=TINY_BASE)


def test_the_base_of_the_package_fills_every_weight_of_the_tiny_size(base):
    origins = pretrained_keys(base, settings(pretrained_avatar=TINY_BASE))
    assert origins == {"avatar": frozenset(base.state_dict())}
    new = build().state_dict()
    same = [key for key, tensor in base.state_dict().items() if tensor.any() and torch.equal(tensor, new[key])]
    assert not same


def test_a_model_with_other_bindings_keeps_what_it_shares_with_its_base():
    model = build(pretrained_avatar=TINY_BASE, phase_binding=("clock",))
    new = part_keys(model)["phases"]
    assert avatar_keys(model, TINY_BASE) == frozenset(model.state_dict()) - new
    assert all(not model.state_dict()[key].any() for key in new)  # a clock begins at zero


def test_an_avatar_that_lacks_a_layer_is_refused_by_its_name(base, tmp_path):
    tensors = base.state_dict()
    del tensors["text.table.weight" if "text.table.weight" in tensors else sorted(tensors)[-1]]
    file = tmp_path / "half.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file)
    with pytest.raises(ConfigError, match=r"half\.safetensors.*1 missing"):
        build(pretrained_avatar=str(file))


def test_an_avatar_of_another_size_is_refused(base, tmp_path):
    key = "transformer.proj_out.weight"
    tensors = {k: t.contiguous() for k, t in base.state_dict().items()} | {key: torch.zeros(3, 3)}
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"proj_out\.weight of shape"):
        build(pretrained_avatar=str(tmp_path / "other.safetensors"))


def test_the_identity_of_a_run_follows_the_bytes_of_its_avatar(base, tmp_path):
    file = tmp_path / "avatar.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in base.state_dict().items()}, file)
    before = settings(pretrained_avatar=str(file)).identity("stage1")
    tensors = load_file(file)
    tensors["transformer.proj_out.bias"] += 1
    save_file(tensors, file)
    assert settings(pretrained_avatar=str(file)).identity("stage1") != before
    assert avatar_sha256(str(file)) == avatar_sha256(str(file))


def test_low_rank_updates_beside_the_weights_are_not_left_out_in_silence(tmp_path):
    (tmp_path / "lora").mkdir()
    with pytest.raises(ConfigError, match="--merge-lora"):
        build(pretrained_avatar=str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pretrained_avatar": TINY_BASE, "pretrained_backbone": "wan"}, "got both"),
        ({"pretrained_avatar": TINY_BASE, "cache": CacheSettings(model="wan2.2-ti2v-5b")}, "expected cache.model tiny"),
    ],
)
def test_bases_that_contradict_each_other_are_refused(changes, reason):
    with pytest.raises(ValidationError, match=reason):
        TrainSettings(**{**dict(settings()), **changes})
