"""A transformer of a few thousand weights and one clip for it."""

from collections.abc import Iterator

import pytest
import torch

from xsheet.model.conditioning import Condition
from xsheet.model.config import FRAMES_PER_LATENT, ActAvatarConfig
from xsheet.model.transformer import ActAvatarTransformer

FRAMES, CELLS = 5, 4  # of the latent


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Two threads cost tens of milliseconds a call at these sizes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small() -> ActAvatarConfig:
    """Three blocks of width 48."""
    return ActAvatarConfig(
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        ffn_dim=96,
        num_layers=3,
        rope_max_seq_len=32,
        text_tokens=12,
        max_phases=3,
        audio_layers=2,
        audio_channels=3,
        audio_hidden=16,
        audio_tokens=2,
        audio_dim=8,
        interval_strength=0.0,  # as on a pretrained backbone: what is new says nothing yet
    )


@pytest.fixture
def rng() -> torch.Generator:
    """A generator with a fixed seed."""
    return torch.Generator().manual_seed(7)


@pytest.fixture
def latent(small, rng) -> torch.Tensor:
    """Two noised clips of five latent frames."""
    return torch.randn(2, small.in_channels, FRAMES, CELLS, CELLS, generator=rng)


@pytest.fixture
def given(small, rng) -> Condition:
    """Text with a base, two phases and pads; sound; windows of the phases in video frames."""
    frames = 1 + FRAMES_PER_LATENT * (FRAMES - 1)
    return Condition(
        text_BME=torch.randn(2, small.text_tokens, small.text_dim, generator=rng),
        phase_BM=torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2, 2, -1, -1, -1]]).expand(2, -1),
        audio_BTLQ=torch.randn(2, frames, small.audio_layers, small.audio_channels, generator=rng),
        window_BK2=torch.tensor([[[0.0, 8.0], [8.0, 17.0], [0.0, 0.0]]]).expand(2, -1, -1),
    )


@pytest.fixture
def model(small, rng) -> ActAvatarTransformer:
    """A model in which everything speaks: no weight is zero but row 0 of the phase table."""
    model = ActAvatarTransformer(**small.model_dump())
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=rng)
        assert model.phase_table is not None
        model.phase_table.weight[0] = 0
    return model
