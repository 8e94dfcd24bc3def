"""Inputs of a Qwen-VL model: our frames at our size with our times, and a record of what its processor made of them.

Axes: T frames, H height, W width.
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
from xsheet.annotate.vlm.sound import read_sound, sound_length_us
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.reader import open_media
from xsheet.schemas.errors import MediaError, RunError
from xsheet.schemas.run import ModelInput
from xsheet.schemas.time import CLIP_RATE, us_from_seconds

_VIDEO = "<|video_pad|>"
_WRAPPED = f"<|vision_start|>{_VIDEO}<|vision_end|>"
_STAMP = re.compile(r"<(\d+\.\d) seconds><\|vision_start\|>")


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrames:
    """Decoded frames of one selection."""

    indices: tuple[int, ...]
    pictures: torch.Tensor  # (T, 3, H, W) uint8
    sound: Samples | None = None  # (samples,) at 16 kHz


def decode_frames(selection: FrameSelection, *, family: QwenFamily) -> DecodedFrames:
    """Decode the selected frames at the input size of the model; nothing resizes them again.

    Raises:
        MediaError: the clip cannot be decoded, or has too few frames.
    """
    from qwen_vl_utils import smart_resize  # noqa: PLC0415 - imports torchvision, so behind the bridge only

    indices = frame_indices(selection.frames, fps=selection.fps)
    requested = frozenset(indices)
    with open_media(selection.media, root=selection.media.parent) as media:
        max_pixels = frame_pixel_cap(selection, pictures=len(indices), family=family)
        width, height = media.size
        height, width = smart_resize(
            height, width, factor=family.token_px, min_pixels=family.token_px**2, max_pixels=max_pixels
        )
        pictures = [frame.rgb for frame in media.frames(size=(width, height)) if frame.index in requested]
    if len(pictures) != len(indices):
        raise MediaError(
            reason="decode_failed",
            where=selection.media.name,
            expected=f"{selection.frames} frames",
            got=f"{len(pictures)} of the {len(indices)} requested",
            hint="write the clip again: `xsheet curate run`",
        )
    sound = read_sound(selection) if selection.sound else None
    return DecodedFrames(indices, torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), sound)


def prepare_inputs(
    requests: Sequence[VlmRequest],
    frames_by_selection: Mapping[FrameSelection, DecodedFrames],
    *,
    processor: Any,
    family: QwenFamily,
) -> tuple[dict[str, Any], list[ModelInput | None]]:
    """Model inputs of one batch, padded on the left, and the ModelInput record of each request.

    Raises:
        RunError: the processor writes times in an unknown format.
    """
    decoded = [
        frames_by_selection[request.frame_selection] for request in requests if request.frame_selection is not None
    ]
    processed = processor(
        text=[_render_chat(request, processor, family) for request in requests],
        videos=[frames.pictures for frames in decoded] or None,
        video_metadata=[_video_metadata(frames.indices) for frames in decoded] or None,
        do_sample_frames=False,
        do_resize=False,
        cap_pixels_per_frame=False,
        return_metadata=True,
        padding=True,
        return_tensors="pt",
        **(_omni_arguments(decoded) if family.has_audio_input else {}),
    )
    inputs = dict(processed)
    metadata = inputs.pop("video_metadata", [])
    stamps = _presented_times_us(inputs, metadata, processor=processor, family=family)
    model_inputs = iter(
        ModelInput(
            frame_indices=tuple(map(int, video.frames_indices)),
            stamps_us=times_us,
            width=int(grid[2]) * family.patch_px,
            height=int(grid[1]) * family.patch_px,
            patches=int(grid.prod()),
            audio_us=None if frames.sound is None else sound_length_us(frames.sound),
        )
        for video, times_us, grid, frames in zip(
            metadata, stamps, inputs.get("video_grid_thw", ()), decoded, strict=True
        )
    )
    return inputs, [None if request.frame_selection is None else next(model_inputs) for request in requests]


def _omni_arguments(decoded: Sequence[DecodedFrames]) -> dict[str, Any]:
    """Arguments of a processor that takes sound: one call only, since its rate holds for all videos.

    The sound of a video is interleaved with its frames by time.
    """
    if not decoded:
        return {}
    (frames,) = decoded
    rate: dict[str, Any] = {"fps": mean_fps(frames.indices)}
    if frames.sound is None:
        return rate
    return rate | {"audio": [frames.sound], "audio_from_video_indices": [0], "load_audio_from_video": True}


def vision_tokens(model_input: ModelInput | None) -> int:
    """Number of vision tokens."""
    return 0 if model_input is None or model_input.patches is None else model_input.patches // SPATIAL_MERGE_SIZE**2


def _render_chat(request: VlmRequest, processor: Any, family: QwenFamily) -> str:
    """Render the model's chat template with one placeholder for the video."""
    video: list[dict[str, str]] = [{"type": "video"}] if request.frame_selection is not None else []
    question = [*video, {"type": "text", "text": _escape_special_tokens(request.text, processor)}]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": _escape_special_tokens(request.system, processor)}]}
    ]
    messages.append({"role": "user", "content": question})
    text: str = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    # Qwen3-VL's processor wraps every pair of frames itself and keeps the template's wrapping.
    return text.replace(_WRAPPED, _VIDEO) if family.has_text_timestamps else text


def _escape_special_tokens(text: str, processor: Any) -> str:
    """Break special tokens in untrusted text: a transcript must not end the message or open a video."""
    for token in processor.tokenizer.get_added_vocab():
        text = text.replace(token, token[:1] + " " + token[1:])
    return text


def _video_metadata(indices: Sequence[int]) -> dict[str, Any]:
    """Metadata for the times: Qwen3-VL uses indices and rate, Qwen2.5-VL rate × count / total.

    With the clip's real total this quotient is slightly too low; the total here makes it the exact mean rate.
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
    """Times in the model inputs, µs of the clip, one per pair of frames of each video."""
    pairs = [int(grid[0]) for grid in inputs.get("video_grid_thw", ())]
    if not family.has_text_timestamps:
        steps = inputs.get("second_per_grid_ts", inputs.get("video_second_per_grid", ()))
        return [tuple(k * us_from_seconds(float(s)) for k in range(n)) for n, s in zip(pairs, steps, strict=True)]
    ids = inputs["input_ids"]
    texts = processor.tokenizer.batch_decode([row[row != processor.video_token_id] for row in ids])
    stamps_us = [
        tuple(us_from_seconds(float(s)) for s in _STAMP.findall(text)) for text in texts if _STAMP.search(text)
    ]
    if [len(stamps) for stamps in stamps_us] != pairs or [
        len(video.frames_indices) // TEMPORAL_PATCH_SIZE for video in metadata
    ] != pairs:
        raise RunError(
            where="Qwen3-VL's processor",
            expected=f"stamps as '<1.2 seconds>' for {pairs} pairs of pictures",
            got=f"{[len(stamps) for stamps in stamps_us]}",
            hint="take the version of transformers in constraints.txt",
        )
    return stamps_us
