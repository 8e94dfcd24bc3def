"""A layer as JSONL to fine-tune a vision-language model: the prompt of pass B and the layer as its reply.

    {"id": ..., "clip_id": ..., "messages": [{"role": "system", "content": ...}, {"role": "user", ...}, ...]}

Messages follow Qwen-VL: the user message holds the clip (path in the set, frame rate and pixel limit of the annotator)
and the text; the assistant message holds the response document with times in seconds. Fields that the response schema
cannot hold and annotations that cannot become samples are counted as losses.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from xsheet.annotate.formats.base import ConversionLoss, LossTally
from xsheet.annotate.text.wording import format_seconds
from xsheet.annotate.vlm.annotator import VlmSettings
from xsheet.annotate.vlm.prompts import load_prompt
from xsheet.annotate.vlm.response import (
    TIME_STEP_S,
    ResponseBase,
    ResponseDocument,
    ResponseLimits,
    ResponsePhase,
    max_phases_for,
)
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, Phase
from xsheet.schemas.clip import Clip
from xsheet.schemas.files import atomic_path
from xsheet.schemas.time import seconds_from_us, us_from_seconds

_STEP_US = us_from_seconds(TIME_STEP_S)
_UNSUPPORTED_FIELDS = (
    "start_sigma_us", "end_sigma_us", "text_short", "body_parts", "amplitude_z", "speed_z", "gesture_function",
    "kinematics", "speech", "emotion", "visibility", "confidence",
)  # fmt: skip
DEFAULT_SETTINGS = VlmSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class SftExport:
    """Result of an export."""

    samples: int
    excluded: int  # annotations that are no samples; the losses have the reasons
    losses: tuple[ConversionLoss, ...]


def export_sft(
    path: Path, layer: Iterable[Annotation], clips: Mapping[str, Clip], *, settings: VlmSettings = DEFAULT_SETTINGS
) -> SftExport:
    """Write a layer as training samples in its order; the file is written atomically.

    Args:
        path: file to write.
        layer: annotations, usually of a human layer.
        clips: of the set, by id.
        settings: frames and prompts of the model.

    Raises:
        OSError: the file cannot be written.
    """
    tally, samples, excluded = LossTally(), 0, 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for annotation in layer:
            sample = sft_sample(annotation, clips.get(annotation.clip_id), tally, settings=settings)
            if sample is None:
                excluded += 1
            else:
                samples += 1
                file.write(json.dumps(sample, ensure_ascii=False, separators=(",", ":")) + "\n")
    return SftExport(samples=samples, excluded=excluded, losses=tally.losses())


def sft_sample(
    annotation: Annotation, clip: Clip | None, tally: LossTally, *, settings: VlmSettings = DEFAULT_SETTINGS
) -> dict[str, Any] | None:
    """One annotation as a sample; None with a loss if a model could not write this reply."""
    reason = _exclusion_reason(annotation, clip, limits=settings.response_limits)
    if reason is not None or clip is None or annotation.base is None:
        tally.add("annotation", reason or "", annotation.annotation_id)
        return None
    max_phases = max_phases_for(seconds_from_us(annotation.duration_us), limits=settings.response_limits)
    system, question = _render_prompt(annotation.duration_us, settings.fps, max_phases)
    video = {
        "type": "video", "video": clip.media_path, "fps": settings.fps, "max_pixels": settings.max_frame_pixels
    }  # fmt: skip
    answer = ResponseDocument(
        base=_base(annotation.base, tally, limits=settings.response_limits),
        phases=tuple(_phase(p, annotation, tally, limits=settings.response_limits) for p in annotation.phases),
    )
    return {
        "id": annotation.annotation_id,
        "clip_id": annotation.clip_id,
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": [video, {"type": "text", "text": question}]},
            {"role": "assistant", "content": answer.model_dump_json()},
        ],
    }


@lru_cache
def _render_prompt(duration_us: int, fps: float, max_phases: int) -> tuple[str, str]:
    """System and user text; cached because rendering takes 4 ms, the rest of a sample 0.1 ms."""
    return load_prompt("segment").render(
        duration_s=format_seconds(duration_us),
        step_s=f"{1 / fps:.3g}",
        max_phases=max_phases,
        tracks=vocab.TRACKS,
        actions=vocab.ACTIONS,
        candidates=[],
        description=None,
        transcript=None,
        has_word_times=False,
        has_sound=False,  # a sample has frames alone
    )


def _exclusion_reason(annotation: Annotation, clip: Clip | None, *, limits: ResponseLimits) -> str | None:
    if annotation.status != "ok":
        return f"the reply is {annotation.status}"
    if clip is None:
        return "the set has no such clip"
    if annotation.media_sha256 not in (None, clip.media_sha256):
        return "made from another file than the set has now"
    if len(annotation.phases) > max_phases_for(seconds_from_us(annotation.duration_us), limits=limits):
        return "more phases than a reply may hold"
    return None


def _base(base: Base, tally: LossTally, *, limits: ResponseLimits) -> ResponseBase:
    for name in ("camera_note", "lang"):
        if getattr(base, name) is not None:
            tally.add(f"base.{name}", "no field of the response schema", getattr(base, name))
    return ResponseBase(
        text=_truncate("base.text", base.text, limits.max_base_chars, tally),
        subject=_truncate("base.subject", base.subject or "one person", limits.max_label_chars, tally),
        framing=base.framing,
        scene=_truncate("base.scene", base.scene or "not described", limits.max_label_chars, tally),
        camera=base.camera,
        speaking=base.speaking,
        emotion=base.emotion and _truncate("base.emotion", base.emotion, limits.max_label_chars, tally),
    )


def _phase(phase: Phase, annotation: Annotation, tally: LossTally, *, limits: ResponseLimits) -> ResponsePhase:
    for name in _UNSUPPORTED_FIELDS:
        if (value := getattr(phase, name)) not in (None, ()):
            tally.add(f"phases.{name}", "no field of the response schema", value)
    evidence = phase.evidence.text if phase.evidence is not None else None
    if evidence is None:
        tally.add("phases.evidence.text", "no evidence text: the text of the phase is used", phase.text)
    start_s, end_s = (_round_to_step(us, annotation.duration_us, tally) for us in (phase.start_us, phase.end_us))
    return ResponsePhase(
        evidence=_truncate("phases.evidence.text", evidence or phase.text, limits.max_evidence_chars, tally),
        track=phase.track,
        side=phase.laterality,
        start_s=start_s,
        end_s=end_s,
        action=phase.action,
        action_raw=phase.action_raw and _truncate("phases.action_raw", phase.action_raw, limits.max_label_chars, tally),
        amplitude=phase.amplitude,
        speed=phase.speed,
        repetitions=phase.repetitions and min(phase.repetitions, 99),
        text=_truncate("phases.text", phase.text, limits.max_text_chars, tally),
    )


def _round_to_step(us: int, duration_us: int, tally: LossTally) -> float:
    """Round to the nearest time step inside the clip."""
    steps = min((us + _STEP_US // 2) // _STEP_US, duration_us // _STEP_US)
    if steps * _STEP_US != us:
        tally.add("phases.start_us, phases.end_us", f"rounded to {TIME_STEP_S:g} s", us)
    return round(steps * TIME_STEP_S, 2)


def _truncate(name: str, text: str, max_chars: int, tally: LossTally) -> str:
    """Truncate a text at a word."""
    if len(text) <= max_chars:
        return text
    tally.add(name, f"cut to {max_chars} characters", text)
    kept = text[: max_chars + 1]
    return (kept.rpartition(" ")[0] or kept[:-1]).rstrip(" ,;:")
