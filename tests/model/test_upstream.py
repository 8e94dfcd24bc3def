"""What of diffusers and torch our design rests on: should a release change it, one of these fails, not a training."""

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from xsheet.model.transformer import WanTransformer3DModel


@pytest.fixture
def base(small):
    torch.manual_seed(0)
    return WanTransformer3DModel(**small.backbone_fields()).eval()


@torch.no_grad()
def test_attention_kwargs_never_reach_a_block(base, latent, given):
    """Why phases and sound come through a subclass: what is passed in here is dropped on the way."""
    seen = []
    for block in base.blocks:
        block.register_forward_pre_hook(lambda _, args, named: seen.append((args, named)), with_kwargs=True)
    base(latent, torch.tensor([300.0, 900.0]), given.text_BME, attention_kwargs={"phases": "here"})
    assert len(seen) == len(base.blocks)
    assert not [named for _, named in seen if "phases" in str(named)]
    assert not [args for args, _ in seen if any(isinstance(one, dict) for one in args)]


@torch.no_grad()
def test_a_text_of_any_length_is_read_whole_where_no_picture_stands_before_it(base, latent, given):
    """diffusers takes all but the last 512 tokens for a picture's, if a model has keys for pictures; ours has none."""
    time = torch.tensor([300.0, 900.0])
    velocity = base(latent, time, given.text_BME).sample
    for place in (0, -1):
        other = given.text_BME.clone()
        other[:, place] += 1
        assert not torch.equal(base(latent, time, other).sample, velocity)


def test_flexible_attention_has_no_gradient_on_a_cpu():
    """Why the phase mask folds frames into the batch."""
    query, key, value = (torch.randn(1, 1, 16, 8, requires_grad=True) for _ in range(3))
    with pytest.raises(NotImplementedError, match="CPU"):
        flex_attention(query, key, value).sum().backward()
