"""Replies as rows: the raw layer keeps what was said, the norm layer what it comes to in the contract's words."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xsheet.annotate.base import Ask, Reply
from xsheet.annotate.motion.curves import course_of, moving, speeds
from xsheet.annotate.vlm.normalise import NormaliseSettings, Ruler, normalise
from xsheet.annotate.vlm.parse import parse
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, Phase, Repair, annotation_id
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.time import CLIP_RATE, frame_start_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a reply comes to."""

    status: vocab.ReplyStatus
    base: Base | None = None
    phases: tuple[Phase, ...] = ()
    repairs: tuple[Repair, ...] = ()


def content_of(ask: Ask, reply: Reply, *, settings: NormaliseSettings) -> Content:
    """The reply in the contract's words; without a base it says why there is none in its last repair."""
    if reply.stated is not None:
        return Content(status="ok", base=reply.stated.base, phases=reply.stated.phases)
    if reply.text is None or reply.status in ("error", "skipped"):
        return Content(status=reply.status, repairs=(_left_out(reply.note or reply.status),))
    parsed = parse(reply.text, finish_reason=reply.usage.finish_reason if reply.usage else None)
    if parsed.reply is None:
        return Content(status=parsed.status, repairs=(*parsed.repairs, _left_out(parsed.note or parsed.status)))
    said = normalise(parsed.reply, _ruler(ask, reply), settings=settings)
    repairs = (*parsed.repairs, *said.repairs)
    if said.base is None:
        return Content(status="invalid", repairs=(*repairs, _left_out(said.note or "nothing usable")))
    return Content(status="ok", base=said.base, phases=said.phases, repairs=repairs)


def raw_row(ask: Ask, reply: Reply, content: Content, *, run_id: str) -> Annotation:
    """What was said, verbatim; an annotator of our own says it in phases."""
    stated = reply.stated
    said, phases = (stated.base, stated.phases) if stated else (None, ())
    return Annotation(
        annotation_id=annotation_id(
            clip_id=ask.clip.clip_id, layer="raw", run_id=run_id, sample_index=ask.sample_index, said=said,
            phases=phases, raw_text=reply.text,
        ),
        vocab_version=vocab.VOCAB_VERSION,
        clip_id=ask.clip.clip_id,
        media_sha256=ask.clip.media_sha256,
        layer="raw",
        run_id=run_id,
        sample_index=ask.sample_index,
        seed=ask.seed,
        status=content.status,
        duration_us=ask.clip.duration_us,
        base=said,
        phases=phases,
        raw_text=reply.text,
        raw_sha256=None if reply.text is None else hashlib.sha256(reply.text.encode()).hexdigest(),
        seen=reply.seen,
        repairs=() if content.base is not None else content.repairs[-1:],
        usage=reply.usage,
    )  # fmt: skip


def norm_row(raw: Annotation, content: Content) -> Annotation:
    """What it comes to, with every change that was made on the way."""
    return Annotation(
        annotation_id=annotation_id(
            clip_id=raw.clip_id, layer="norm", run_id=raw.run_id, sample_index=raw.sample_index, said=content.base,
            phases=content.phases,
        ),
        vocab_version=raw.vocab_version,
        clip_id=raw.clip_id,
        media_sha256=raw.media_sha256,
        layer="norm",
        parent_ids=(raw.annotation_id,),
        run_id=raw.run_id,
        sample_index=raw.sample_index,
        seed=raw.seed,
        status=content.status,
        duration_us=raw.duration_us,
        base=content.base,
        phases=content.phases,
        seen=raw.seen,
        repairs=content.repairs,
    )  # fmt: skip


def _left_out(note: str) -> Repair:
    return Repair(op="refuse", path="", reason=note)


def _ruler(ask: Ask, reply: Reply) -> Ruler:
    stamps = reply.seen.stamps_us if reply.seen is not None else ()
    return Ruler(
        duration_us=ask.clip.duration_us,
        stamps_us=tuple(us for us in stamps if 0 <= us <= ask.clip.duration_us),
        edges_us=edges_of(ask.signals, ask.clip),
    )


def edges_of(signals: Signals, clip: Clip) -> Mapping[vocab.Track, Sequence[int]]:
    """Where movement of each track begins or ends, µs of the clip."""
    return {
        track: tuple(
            min(frame_start_us(frame, CLIP_RATE), clip.duration_us)
            for stretch in moving(speed, track=track)
            for frame in (stretch.start, stretch.stop)
        )
        for track, speed in speeds(course_of(signals)).items()
    }
