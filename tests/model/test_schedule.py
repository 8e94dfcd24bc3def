import pytest
import torch

from xsheet.model.block import audio_residual_scale
from xsheet.model.transformer import ActAvatarTransformer


# The table that follows from (l / 30)^1.5 with l = 1..30.
@pytest.mark.parametrize(
    ("block", "factor"),
    [(1, 0.006), (3, 0.032), (5, 0.068), (10, 0.192), (15, 0.354), (20, 0.544), (25, 0.761), (30, 1.0)],
)
def test_sound_grows_with_depth_as_published(block, factor):
    assert audio_residual_scale(block - 1, block_count=30, schedule="power", gamma=1.5) == pytest.approx(
        factor, abs=5e-4
    )


def test_none_and_uniform_know_no_depth():
    assert {audio_residual_scale(i, block_count=4, schedule="none", gamma=1.5) for i in range(4)} == {0.0}
    assert {audio_residual_scale(i, block_count=4, schedule="uniform", gamma=1.5) for i in range(4)} == {1.0}


def test_each_block_holds_its_factor_outside_the_weights(small):
    model = ActAvatarTransformer(**small.model_dump())
    held = torch.stack([block.audio_attn.residual_scale for block in model.blocks])
    torch.testing.assert_close(held, (torch.tensor([1, 2, 3]) / 3) ** 1.5)
    assert not [key for key in model.state_dict() if key.endswith("residual_scale")]
