"""What plain diffusers makes of an export."""

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file

from xsheet.model import weights
from xsheet.schemas.errors import ConfigError
from xsheet.train.export import export

pytestmark = pytest.mark.slow  # a run of both stages takes some seconds; its tests share it


@pytest.fixture(scope="module")
def exported(trained_run, tmp_path_factory):
    return export(trained_run, tmp_path_factory.mktemp("export") / "out")


@torch.no_grad()
def test_plain_diffusers_says_the_same_without_phases_and_sound(exported, trained):
    plain = WanTransformer3DModel.from_pretrained(exported / "transformer").eval()
    rng = torch.Generator().manual_seed(0)
    x, text = torch.randn(1, 24, 3, 8, 8, generator=rng), torch.randn(1, 256, 128, generator=rng)
    timestep = torch.tensor([500.0])
    theirs = plain(hidden_states=x, timestep=timestep, encoder_hidden_states=text).sample
    ours = trained.model.transformer(x, timestep, text)
    assert theirs.abs().max() > 0  # it learned something
    assert torch.equal(theirs, ours)


def test_the_whole_model_comes_back(exported, trained):
    ours, theirs = trained.model.transformer.state_dict(), weights.load(exported / "avatar").state_dict()
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())


def test_the_learned_text_encoder_is_exported(exported, trained):
    tensors = load_file(exported / "text/weights.safetensors")
    assert tensors.keys() == trained.model.text.state_dict().keys()


def test_nothing_is_written_over(exported, trained_run):
    with pytest.raises(ConfigError, match="one with files"):
        export(trained_run, exported)
