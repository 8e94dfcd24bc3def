"""Number of tokens of a clip for Qwen2.5-VL and Qwen3-VL, and the GPU seconds calculated from it.

python benchmarks/vlm_tokens.py [--samples 3] [--prompt-tokens-per-s 7800] [--reply-tokens-per-s 600]

The real video processors, without weights, count the vision tokens for the picture sizes and prompts of annotate. The
seconds are not measured: they are tokens divided by the given speeds.
"""

import argparse
from pathlib import Path
from typing import Any

from xsheet.annotate.estimate import CostAssumptions, estimate_cost
from xsheet.annotate.vlm.annotator import VlmSettings
from xsheet.annotate.vlm.client import FrameSelection
from xsheet.annotate.vlm.frames import frame_indices
from xsheet.annotate.vlm.qwen.tokens import (
    QWEN3,
    QWEN25,
    SPATIAL_MERGE_SIZE,
    QwenFamily,
    frame_pixel_cap,
    resized_size,
)
from xsheet.schemas.clip import Clip
from xsheet.torchvision_compat import import_torchvision

SHOWN_FAMILIES = (QWEN25, QWEN3)  # those of pictures alone
LENGTHS_S = (3, 5, 10)
RATES = (2, 4, 8, 12)
# Width, height and cap of a picture: our own class of size; 720p under that cap; 720p as it is.
SHOWN = ((480, 832, 480 * 832), (1280, 720, 480 * 832), (1280, 720, 1280 * 720))
NO_LIMIT = {"shortest_edge": 1, "longest_edge": 10**12}


def processors() -> dict[str, Any]:
    """The two video processors, as their libraries build them."""
    import_torchvision()
    from transformers import Qwen2VLVideoProcessor, Qwen3VLVideoProcessor  # noqa: PLC0415 - after the bridge

    return {QWEN25.name: Qwen2VLVideoProcessor(), QWEN3.name: Qwen3VLVideoProcessor()}


def counted(processor: Any, *, pictures: int, size: tuple[int, int], limits: dict[str, int] | None = None) -> int:
    """Vision tokens as counted by the processor."""
    patches: int = processor.get_num_of_video_patches(pictures, size[1], size[0], {"size": limits} if limits else {})
    return patches // SPATIAL_MERGE_SIZE**2


def a_clip(seconds: int, size: tuple[int, int]) -> Clip:
    """A row of a set."""
    return Clip(
        clip_id="clip", source_id="source", start_us=0, end_us=seconds * 10**6, media_path="media/clip.mp4",
        media_sha256="0" * 64, frames=25 * seconds, samples=0, width=size[0], height=size[1],
    )  # fmt: skip


def cells(
    family: QwenFamily, processor: Any, clip: Clip, settings: VlmSettings, *, samples: int, pace: CostAssumptions
) -> str:
    """Picture size, vision tokens per request, tokens of all prompts, GPU seconds."""
    pictures = len(frame_indices(clip.frames, fps=settings.fps))
    film = FrameSelection(media=Path(clip.media_path), frames=clip.frames, fps=settings.fps,
                max_frame_pixels=settings.max_frame_pixels, max_clip_pixels=settings.max_clip_pixels)  # fmt: skip
    cap = frame_pixel_cap(film, pictures=pictures, family=family)
    size = resized_size((clip.width, clip.height), max_pixels=cap, family=family)
    vision = counted(processor, pictures=pictures, size=size, limits=NO_LIMIT)
    found = estimate_cost([clip], settings, samples=samples, family=family, assumptions=pace)
    assert found.tokens.vision == vision * found.tokens.calls
    return f"{size[0]}×{size[1]} | {vision:,} | {found.tokens.prompt:,} | {found.gpu_seconds:.1f}"


def main() -> None:
    """Print the tables that docs/log/ keeps."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--samples", type=int, default=3)
    arguments.add_argument("--prompt-tokens-per-s", type=float, default=CostAssumptions().prompt_tokens_per_s)
    arguments.add_argument("--reply-tokens-per-s", type=float, default=CostAssumptions().reply_tokens_per_s)
    given = arguments.parse_args()
    pace = CostAssumptions(prompt_tokens_per_s=given.prompt_tokens_per_s, reply_tokens_per_s=given.reply_tokens_per_s)
    made = processors()
    print(f"{given.samples} samples, describe and segment. GPU s: calculated: {pace.prompt_tokens_per_s:,.0f} prompt "
          f"and {pace.reply_tokens_per_s:,.0f} reply tokens per second.\n")  # fmt: skip
    columns = "picture | vision tokens per request | prompt tokens per clip | GPU s per clip"
    print(f"| clip | cap px | s | fps | Qwen2.5-VL: {columns} | Qwen3-VL: {columns} |")
    print("|---|---:|---:|---:|" + "---:|" * 8)
    for wide, high, cap in SHOWN:
        for seconds in LENGTHS_S:
            for fps in RATES:
                clip, settings = a_clip(seconds, (wide, high)), VlmSettings(fps=fps, max_frame_pixels=cap)
                both = " | ".join(
                    cells(family, made[family.name], clip, settings, samples=given.samples, pace=pace)
                    for family in SHOWN_FAMILIES
                )
                print(f"| {wide}×{high} | {cap:,} | {seconds} | {fps} | {both} |")
    print("\nThe same frames left to the processors' own budgets (5 s, 1280×720):\n")
    print("| fps | Qwen2.5-VL: vision tokens | Qwen3-VL: vision tokens |\n|---:|---:|---:|")
    for fps in RATES:
        pictures = len(frame_indices(125, fps=fps))
        own = [counted(made[family.name], pictures=pictures, size=(1280, 720)) for family in SHOWN_FAMILIES]
        print(f"| {fps} | {own[0]:,} | {own[1]:,} |")


if __name__ == "__main__":
    main()
