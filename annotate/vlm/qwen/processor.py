"""What a Qwen-VL model is shown: our frames at our size with our times, and what its processor really made of them.

Axes: T pictures, H and W their sides.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from xsheet.annotate.vlm.client import FrameSelection, VlmRequest
from xsheet.annotate.vlm.frames import TEMPORAL_PATCH_SIZE, frame_indices, mean_fps
from xsheet.annotate.vlm.qwen.tokens import SPATIAL_MERGE_SIZE, QwenFamily, frame_pixel_cap
from xsheet.curate.media.reader import open_media
from xsheet.schemas.errors import MediaError, RunError
from xsheet.schemas.run import ModelInput
from xsheet.schemas.time import CLIP_RATE, us_from_seconds

_VIDEO = "<|video_pad|>"
_WRAPPED = f"<|vision_start|>{_VIDEO}<|vision_end|>"
_STAMP = re.compile(r"<(\d+\.\d) seconds><\|vision_start\|>")


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrames:
    """The pictures of one film."""

    indices: tuple[int, ...]
    pictures: torch.Tensor  # (T, 3, H, W) uint8


def decode_frames(selection: FrameSelection, *, family: QwenFamily) -> DecodedFrames:
    """Decode the frames of a film, at the size that the model gets: no second resizing.

    Raises:
        MediaError: the clip cannot be read, or has fewer frames than it should.
    """
    from qwen_vl_utils import smart_resize  # noqa: PLC0415 - imports torchvision, so behind the bridge only

    indices = frame_indices(selection.frames, fps=selection.fps)
    wanted = frozenset(indices)
    with open_media(selection.media, root=selection.media.parent) as media:
        cap = frame_pixel_cap(selection, pictures=len(indices), family=family)
        wide, high = media.size
        high, wide = smart_resize(high, wide, factor=family.token_px, min_pixels=family.token_px**2, max_pixels=cap)
        pictures = [frame.rgb for frame in media.frames(size=(wide, high)) if frame.index in wanted]
    if len(pictures) != len(indices):
        raise MediaError(
            reason="decode_failed",
            where=selection.media.name,
            expected=f"{selection.frames} frames",
            got=f"{len(pictures)} of the {len(indices)} to be shown",
            hint="write the clip again: `xsheet curate run`",
        )
    return DecodedFrames(indices, torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))


def prepare_inputs(
    requests: Sequence[VlmRequest],
    frames_by_selection: Mapping[FrameSelection, DecodedFrames],
    *,
    processor: Any,
    family: QwenFamily,
) -> tuple[dict[str, Any], list[ModelInput | None]]:
    """Inputs of the model for one batch, padded on the left, and what each turn shows.

    Raises:
        RunError: the processor writes times in another way than this module knows.
    """
    shown = [frames_by_selection[turn.frame_selection] for turn in requests if turn.frame_selection is not None]
    made = processor(
        text=[_render_chat(turn, processor, family) for turn in requests],
        videos=[sight.pictures for sight in shown] or None,
        video_metadata=[_video_metadata(sight.indices) for sight in shown] or None,
        do_sample_frames=False,
        do_resize=False,
        cap_pixels_per_frame=False,
        return_metadata=True,
        padding=True,
        return_tensors="pt",
    )
    inputs = dict(made)
    metadata = inputs.pop("video_metadata", [])
    stamps = _presented_times_us(inputs, metadata, processor=processor, family=family)
    seen = iter(
        ModelInput(
            frame_indices=tuple(map(int, of.frames_indices)),
            stamps_us=told,
            width=int(grid[2]) * family.patch_px,
            height=int(grid[1]) * family.patch_px,
            patches=int(grid.prod()),
        )
        for of, told, grid in zip(metadata, stamps, inputs.get("video_grid_thw", ()), strict=True)
    )
    return inputs, [None if turn.frame_selection is None else next(seen) for turn in requests]


def vision_tokens(model_input: ModelInput | None) -> int:
    """Tokens that the pictures take up."""
    return 0 if model_input is None or model_input.patches is None else model_input.patches // SPATIAL_MERGE_SIZE**2


def _render_chat(request: VlmRequest, processor: Any, family: QwenFamily) -> str:
    """The chat as the model's own template writes it, with one place for the video."""
    video: list[dict[str, str]] = [{"type": "video"}] if request.frame_selection is not None else []
    question = [*video, {"type": "text", "text": _escape_special_tokens(request.text, processor)}]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": _escape_special_tokens(request.system, processor)}]}
    ]
    messages.append({"role": "user", "content": question})
    text: str = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    # Qwen3-VL's processor wraps every pair of pictures itself, and leaves the template's wrapping around them all.
    return text.replace(_WRAPPED, _VIDEO) if family.has_text_timestamps else text


def _escape_special_tokens(text: str, processor: Any) -> str:
    """Text whose every word is only a word: a transcript must not end the user's message or open a video."""
    for token in processor.tokenizer.get_added_vocab():
        text = text.replace(token, token[:1] + " " + token[1:])
    return text


def _video_metadata(indices: Sequence[int]) -> dict[str, Any]:
    """What the processors take times from: Qwen3-VL from indices and rate, Qwen2.5-VL from rate × count / total.

    With frames from the first to the last that quotient is too low by a part in the count. The total given here makes
    it the mean rate of the frames, exactly.
    """
    rate = float(CLIP_RATE)
    return {
        "fps": rate,
        "frames_indices": list(indices),
        "total_num_frames": len(indices) * rate / mean_fps(indices),
    }


def _presented_times_us(
    inputs: Mapping[str, Any], metadata: Sequence[Any], *, processor: Any, family: QwenFamily
) -> list[tuple[int, ...]]:
    """Times in the inputs themselves, in µs of the clip, one for each pair of pictures of each video."""
    pairs = [int(grid[0]) for grid in inputs.get("video_grid_thw", ())]
    if not family.has_text_timestamps:
        steps = inputs.get("second_per_grid_ts", ())
        return [tuple(k * us_from_seconds(float(s)) for k in range(n)) for n, s in zip(pairs, steps, strict=True)]
    ids = inputs["input_ids"]
    texts = processor.tokenizer.batch_decode([row[row != processor.video_token_id] for row in ids])
    found = [tuple(us_from_seconds(float(s)) for s in _STAMP.findall(text)) for text in texts if _STAMP.search(text)]
    if [len(stamps) for stamps in found] != pairs or [
        len(of.frames_indices) // TEMPORAL_PATCH_SIZE for of in metadata
    ] != pairs:
        raise RunError(
            where="Qwen3-VL's processor",
            expected=f"stamps as '<1.2 seconds>' for {pairs} pairs of pictures",
            got=f"{[len(stamps) for stamps in found]}",
            hint="take the version of transformers in constraints.txt",
        )
    return found
