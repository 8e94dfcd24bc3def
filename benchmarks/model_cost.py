"""Cost of phases and audio in the model: CPU time of forward and backward at the tiny size.

    python benchmarks/model_cost.py [--rounds 30] [--batch 16]

Prints a Markdown table for docs/log/. The cases alternate within a round; medians over rounds, one thread. The goal:
audio attention of a block, with its share of the common parts (projector, phase table), takes at most 15 % of a block.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from xsheet.model.config import FRAMES_PER_LATENT, tiny_config
from xsheet.model.transformer import ActAvatarBlock, ActAvatarTransformer

LATENTS, TOKENS = 9, 16  # 33 frames of 64 x 64 pixels


def cases(batch: int) -> dict[str, Callable[[], Tensor]]:
    """One forward pass per case."""
    size = tiny_config()
    model = ActAvatarTransformer(**size.model_dump())
    block = model.blocks[-1]
    assert isinstance(block, ActAvatarBlock)
    phase_table = model.phase_table
    assert phase_table is not None
    with torch.no_grad():
        torch.nn.init.normal_(block.audio_attn.get_parameter("to_out.weight"), std=0.02)
    video = torch.randn(batch, LATENTS * TOKENS, size.hidden_dim, requires_grad=True)
    text = torch.randn(batch, size.text_tokens, size.hidden_dim, requires_grad=True)
    mod = torch.randn(batch, LATENTS, 1, 6, size.hidden_dim, requires_grad=True)
    rotary = model.rope(torch.empty(1, size.in_channels, LATENTS, 8, 8))
    phases = torch.randint(-1, size.max_phases + 1, (batch, size.text_tokens))
    frames = 1 + FRAMES_PER_LATENT * (LATENTS - 1)
    sound = torch.randn(batch, frames, size.audio_layers, size.audio_channels)
    tokens = torch.randn(batch, LATENTS, size.audio_tokens, size.audio_dim, requires_grad=True)
    return {
        "block without sound": lambda: block(video, text, mod, rotary),
        "block with sound": lambda: block(video, text, mod, rotary, tokens),
        "audio projector": lambda: model.audio_projector(sound),
        "phase table": lambda: text + phase_table(phases),
    }


def measure(passes: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, float]:
    """Median CPU ms of forward and backward per case."""
    spent: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(rounds + 2):
        for name, forward in passes.items():
            begun = time.process_time()
            torch.autograd.backward(forward().square().mean())
            spent[name].append(1000 * (time.process_time() - begun))
    return {name: statistics.median(times[2:]) for name, times in spent.items()}  # two rounds to warm up


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ms = measure(cases(options.batch), options.rounds)
    blocks, base = tiny_config().num_layers, ms["block without sound"]
    parts = {
        "audio attention": ms["block with sound"] - base,
        f"audio projector, 1/{blocks}": ms["audio projector"] / blocks,
        f"phase table, 1/{blocks}": ms["phase table"] / blocks,
    }
    print("| forward + backward | CPU ms | of a block |\n|---|---|---|")
    print(f"| block without sound and phases | {base:.1f} | 1 |")
    for name, cost in (parts | {"phases and sound together": sum(parts.values())}).items():
        print(f"| {name} | {cost:.2f} | {cost / base:.1%} |")
