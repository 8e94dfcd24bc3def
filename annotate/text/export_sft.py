"""A layer as JSONL to fine-tune a vision-language model on: the question of pass B, and the layer's answer to it.

    {"id": ..., "clip_id": ..., "messages": [{"role": "system", "content": ...}, {"role": "user", ...}, ...]}

Messages are those of Qwen-VL: the user's hold the clip, by its path in the set with the frame rate and pixel cap that
annotating uses, then the text; the assistant's is the wire form with plain seconds, exactly as a model has to write it.
What the wire form cannot hold is counted, and so is every clip that could not become a sample.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from xsheet.annotate.formats.loss import Loss, Tally
from xsheet.annotate.vlm.annotator import VlmSettings
from xsheet.annotate.vlm.prompts import load
from xsheet.annotate.vlm.response import STEP_S, WireBase, WireLimits, WirePhase, WireReply, phase_cap
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, Phase
from xsheet.schemas.clip import Clip
from xsheet.schemas.tables import replacing
from xsheet.schemas.time import seconds_from_us, us_from_seconds

_STEP_US = us_from_seconds(STEP_S)
_NO_PLACE = (
    "start_sigma_us", "end_sigma_us", "text_short", "body_parts", "amplitude_z", "speed_z", "gesture_function",
    "kinematics", "speech", "emotion", "visibility", "confidence",
)  # fmt: skip
DEFAULTS = VlmSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """How an export ended."""

    samples: int
    left_out: int  # annotations that are no samples; why is among the losses
    losses: tuple[Loss, ...]


def export_sft(
    path: Path, layer: Iterable[Annotation], clips: Mapping[str, Clip], *, settings: VlmSettings = DEFAULTS
) -> Exported:
    """Write a layer as training samples, in the order given; the file appears whole or not at all.

    Args:
        path: file to write.
        layer: annotations, usually of a human layer.
        clips: of the set, by id.
        settings: how the model will be asked.

    Raises:
        OSError: the file cannot be written.
    """
    tally, samples, left_out = Tally(), 0, 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for annotation in layer:
            sample = sample_of(annotation, clips.get(annotation.clip_id), tally, settings=settings)
            if sample is None:
                left_out += 1
            else:
                samples += 1
                file.write(json.dumps(sample, ensure_ascii=False, separators=(",", ":")) + "\n")
    return Exported(samples=samples, left_out=left_out, losses=tally.losses())


def sample_of(
    annotation: Annotation, clip: Clip | None, tally: Tally, *, settings: VlmSettings = DEFAULTS
) -> dict[str, Any] | None:
    """One annotation as a sample; None, and a loss that says why, where a model could not give this answer."""
    why = _why_not(annotation, clip, limits=settings.wire)
    if why is not None or clip is None or annotation.base is None:
        tally.add("annotation", why or "", annotation.annotation_id)
        return None
    cap = phase_cap(seconds_from_us(annotation.duration_us), limits=settings.wire)
    system, question = _question(annotation.duration_us, settings.fps, cap)
    film = {
        "type": "video", "video": clip.media_path, "fps": settings.fps, "max_pixels": settings.max_frame_pixels
    }  # fmt: skip
    answer = WireReply(
        base=_base(annotation.base, tally, limits=settings.wire),
        phases=tuple(_phase(p, annotation, tally, limits=settings.wire) for p in annotation.phases),
    )
    return {
        "id": annotation.annotation_id,
        "clip_id": annotation.clip_id,
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": [film, {"type": "text", "text": question}]},
            {"role": "assistant", "content": answer.model_dump_json()},
        ],
    }


@lru_cache
def _question(duration_us: int, fps: float, cap: int) -> tuple[str, str]:
    """System and user text. Rendering takes 4 ms, all the rest of a sample 0.1 ms, and lengths repeat."""
    return load("segment").render(
        duration_s=f"{seconds_from_us(duration_us):.2f}".rstrip("0").rstrip("."),
        step_s=f"{1 / fps:.3g}",
        max_phases=cap,
        tracks=vocab.TRACKS,
        actions=vocab.ACTIONS,
        candidates=[],
        description=None,
        transcript=None,
    )


def _why_not(annotation: Annotation, clip: Clip | None, *, limits: WireLimits) -> str | None:
    if annotation.status != "ok":
        return f"the reply is {annotation.status}"
    if clip is None:
        return "the set has no such clip"
    if annotation.media_sha256 not in (None, clip.media_sha256):
        return "made from another file than the set has now"
    if len(annotation.phases) > phase_cap(seconds_from_us(annotation.duration_us), limits=limits):
        return "more phases than a reply may hold"
    return None


def _base(said: Base, tally: Tally, *, limits: WireLimits) -> WireBase:
    for name in ("camera_note", "lang"):
        if getattr(said, name) is not None:
            tally.add(f"base.{name}", "no place in the wire form", getattr(said, name))
    return WireBase(
        text=_fit("base.text", said.text, limits.max_base_chars, tally),
        subject=_fit("base.subject", said.subject or "one person", limits.max_label_chars, tally),
        framing=said.framing,
        scene=_fit("base.scene", said.scene or "not described", limits.max_label_chars, tally),
        camera=said.camera,
        speaking=said.speaking,
        emotion=said.emotion and _fit("base.emotion", said.emotion, limits.max_label_chars, tally),
    )


def _phase(phase: Phase, annotation: Annotation, tally: Tally, *, limits: WireLimits) -> WirePhase:
    for name in _NO_PLACE:
        if (value := getattr(phase, name)) not in (None, ()):
            tally.add(f"phases.{name}", "no place in the wire form", value)
    seen = phase.evidence.text if phase.evidence is not None else None
    if seen is None:
        tally.add("phases.evidence.text", "nobody said what was seen: the words of the phase stand in", phase.text)
    start_s, end_s = (_rounded(us, annotation.duration_us, tally) for us in (phase.start_us, phase.end_us))
    return WirePhase(
        evidence=_fit("phases.evidence.text", seen or phase.text, limits.max_evidence_chars, tally),
        track=phase.track,
        side=phase.laterality,
        start_s=start_s,
        end_s=end_s,
        action=phase.action,
        action_raw=phase.action_raw and _fit("phases.action_raw", phase.action_raw, limits.max_label_chars, tally),
        amplitude=phase.amplitude,
        speed=phase.speed,
        repetitions=phase.repetitions and min(phase.repetitions, 99),
        text=_fit("phases.text", phase.text, limits.max_text_chars, tally),
    )


def _rounded(us: int, duration_us: int, tally: Tally) -> float:
    """To the nearest step of the wire form, the last one inside the clip at most."""
    steps = min((us + _STEP_US // 2) // _STEP_US, duration_us // _STEP_US)
    if steps * _STEP_US != us:
        tally.add("phases.start_us, phases.end_us", f"rounded to {STEP_S:g} s", us)
    return round(steps * STEP_S, 2)


def _fit(name: str, text: str, most_chars: int, tally: Tally) -> str:
    """Whole words of a text that is too long."""
    if len(text) <= most_chars:
        return text
    tally.add(name, f"cut to {most_chars} characters", text)
    kept = text[: most_chars + 1]
    return (kept.rpartition(" ")[0] or kept[:-1]).rstrip(" ,;:")
