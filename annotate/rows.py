"""Replies to rows: layer raw holds the reply verbatim, layer normalised holds it in the contract's vocabulary."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xsheet.annotate.base import AnnotationRequest, AnnotatorReply
from xsheet.annotate.motion.curves import motion_curves, moving_ranges, track_speeds
from xsheet.annotate.vlm.normalise import NormaliseSettings, TimeSnapTargets, normalise
from xsheet.annotate.vlm.response import parse_reply
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, Phase, Repair, annotation_id
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.time import CLIP_RATE, frame_start_us


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyContent:
    """A reply after parsing and normalisation."""

    status: vocab.ResponseStatus
    base: Base | None = None
    phases: tuple[Phase, ...] = ()
    repairs: tuple[Repair, ...] = ()


def interpret_reply(request: AnnotationRequest, reply: AnnotatorReply, *, settings: NormaliseSettings) -> ReplyContent:
    """Parse and normalise a reply; without a base, the last repair states the reason."""
    if reply.structured is not None:
        return ReplyContent(status="ok", base=reply.structured.base, phases=reply.structured.phases)
    if reply.text is None or reply.status in ("error", "skipped"):
        return ReplyContent(status=reply.status, repairs=(_refusal_repair(reply.note or reply.status),))
    parsed = parse_reply(reply.text, finish_reason=reply.usage.finish_reason if reply.usage else None)
    if parsed.reply is None:
        return ReplyContent(
            status=parsed.status, repairs=(*parsed.repairs, _refusal_repair(parsed.note or parsed.status))
        )
    normalised = normalise(parsed.reply, _snap_targets(request, reply), settings=settings)
    repairs = (*parsed.repairs, *normalised.repairs)
    if normalised.base is None:
        return ReplyContent(status="invalid", repairs=(*repairs, _refusal_repair(normalised.note or "nothing usable")))
    return ReplyContent(status="ok", base=normalised.base, phases=normalised.phases, repairs=repairs)


def raw_annotation(
    request: AnnotationRequest, reply: AnnotatorReply, content: ReplyContent, *, run_id: str
) -> Annotation:
    """The reply verbatim: text of a model, base and phases of a structured reply."""
    structured = reply.structured
    normalised, phases = (structured.base, structured.phases) if structured else (None, ())
    return Annotation(
        annotation_id=annotation_id(
            clip_id=request.clip.clip_id, layer="raw", run_id=run_id, sample_index=request.sample_index,
            base=normalised, phases=phases, raw_text=reply.text,
        ),
        vocab_version=vocab.VOCAB_VERSION,
        clip_id=request.clip.clip_id,
        media_sha256=request.clip.media_sha256,
        layer="raw",
        run_id=run_id,
        sample_index=request.sample_index,
        seed=request.seed,
        status=content.status,
        duration_us=request.clip.duration_us,
        base=normalised,
        phases=phases,
        raw_text=reply.text,
        raw_sha256=None if reply.text is None else hashlib.sha256(reply.text.encode()).hexdigest(),
        model_input=reply.model_input,
        repairs=() if content.base is not None else content.repairs[-1:],
        usage=reply.usage,
    )  # fmt: skip


def normalised_annotation(raw: Annotation, content: ReplyContent) -> Annotation:
    """The reply in the contract's vocabulary, with every change as a repair."""
    return Annotation(
        annotation_id=annotation_id(
            clip_id=raw.clip_id, layer="normalised", run_id=raw.run_id, sample_index=raw.sample_index,
            base=content.base, phases=content.phases,
        ),
        vocab_version=raw.vocab_version,
        clip_id=raw.clip_id,
        media_sha256=raw.media_sha256,
        layer="normalised",
        parent_ids=(raw.annotation_id,),
        run_id=raw.run_id,
        sample_index=raw.sample_index,
        seed=raw.seed,
        status=content.status,
        duration_us=raw.duration_us,
        base=content.base,
        phases=content.phases,
        model_input=raw.model_input,
        repairs=content.repairs,
    )  # fmt: skip


def _refusal_repair(note: str) -> Repair:
    return Repair(op="refuse", path="", reason=note)


def _snap_targets(request: AnnotationRequest, reply: AnnotatorReply) -> TimeSnapTargets:
    stamps = reply.model_input.stamps_us if reply.model_input is not None else ()
    return TimeSnapTargets(
        duration_us=request.clip.duration_us,
        stamps_us=tuple(us for us in stamps if 0 <= us <= request.clip.duration_us),
        edges_us=motion_boundaries_us(request.signals, request.clip),
    )


def motion_boundaries_us(signals: Signals, clip: Clip) -> Mapping[vocab.Track, Sequence[int]]:
    """Start and end times of measured motion by track, µs of the clip."""
    return {
        track: tuple(
            min(frame_start_us(frame, CLIP_RATE), clip.duration_us)
            for frames in moving_ranges(speed, track=track)
            for frame in (frames.start, frames.stop)
        )
        for track, speed in track_speeds(motion_curves(signals)).items()
    }
