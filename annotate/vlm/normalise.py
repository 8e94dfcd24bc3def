"""Normalise a parsed reply to the contract's vocabulary. Every change is a repair; the operation is idempotent.

Per phase, in this order: known track, else dropped; known class, else `other` with the model's word in action_raw;
start before end (swapped), inside the clip (clipped), at least 0.12 s (the end moves); snapped to motion boundaries or
frames; side consistent with track and text; numbers in range; text cleaned. Then overlaps on one track are trimmed
(repairs.trim_overlaps). A reply that loses all its phases, or whose times are those of another unit, is invalid, not
empty. Repair paths and values are those of the reply, in seconds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from pydantic import Field

from xsheet.annotate.repairs import RepairLog, trim_overlaps
from xsheet.annotate.text.wording import character_count, clean_line, find_side, kind_of, strip_medium_phrases
from xsheet.annotate.vlm.response import ResponseBase, ResponseDocument, ResponsePhase
from xsheet.schemas import vocab
from xsheet.schemas.annotation import MIN_PHASE_US, Base, Evidence, Phase, Repair
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE, frame_start_us, seconds_from_us, us_from_seconds

MIN_BASE_CHARS, MAX_BASE_CHARS, MIN_PHASE_CHARS, MAX_PHASE_CHARS = (
    20,
    600,
    3,
    400,
)  # as Latin letters; see character_count
MAX_LABEL_CHARS = 200
_OVERSHOOT_S, _OVERSHOOT_SHARE = 0.5, 0.1  # an end so little behind the clip is clipped; more is another unit
MAX_REPETITIONS = 99
DEFAULT_BASE_TEXT = "One person is visible; the reply has no further description."
ACTION_WORDS: dict[str, vocab.Action] = {action: action for action in vocab.ACTIONS}
ARM_TRACK_OF_SIDE: dict[vocab.Laterality, vocab.Track] = {side: track for track, side in vocab.SIDED_TRACK.items()}
SIDE_WORDS: dict[str, vocab.Laterality] = {"left": "left", "right": "right", "both": "both", "none": "none"}
# Synonyms that models use without a grammar, after the vocabulary itself.
TRACK_WORDS: dict[str, vocab.Track] = {
    **{track: track for track in vocab.TRACKS},
    "eyes": "gaze", "eye": "gaze", "eyebrows": "brows", "eyebrow": "brows", "brow": "brows", "lips": "mouth",
    "jaw": "mouth", "shoulders": "torso", "body": "whole_body", "upper_body": "torso", "arm": "arms", "hand": "hands",
    "left_arm": "arm_left", "right_arm": "arm_right", "left_hand": "arm_left", "right_hand": "arm_right",
    "hand_left": "arm_left", "hand_right": "arm_right", "both_arms": "arms", "both_hands": "hands",
}  # fmt: skip


class NormaliseSettings(StrictModel):
    """Snap tolerances; estimates until real replies have been scored against gold."""

    edge_tolerance_s: float = Field(default=0.12, ge=0, le=1, description="to a motion boundary; one step of 8 fps")
    stamp_tolerance_s: float = Field(
        default=0.08,
        ge=0,
        le=1,
        description="to a frame the model saw; two frames: more is no rounding error",
    )


DEFAULT_SETTINGS = NormaliseSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSnapTargets:
    """Snap targets in µs of the clip: times of the frames the model saw, and motion boundaries by track.

    Boundaries do not distinguish starts from ends: where a phase is trimmed to the next, both coincide.
    """

    duration_us: int
    stamps_us: Sequence[int] = ()
    edges_us: Mapping[vocab.Track, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        instants = [*self.stamps_us, *chain.from_iterable(self.edges_us.values())]
        if not all(0 <= us <= self.duration_us for us in instants):
            raise ValueError(f"expected instants of the clip, 0..{self.duration_us} µs, got {sorted(instants)}")

    @property
    def last_start_us(self) -> int:
        """Latest possible start of a phase."""
        return self.duration_us - MIN_PHASE_US

    @property
    def sigma_us(self) -> int | None:
        """Standard uncertainty of a time between two frames: step / √12."""
        if len(self.stamps_us) < 2:
            return None
        step = (self.stamps_us[-1] - self.stamps_us[0]) / (len(self.stamps_us) - 1)
        return math.ceil(step / math.sqrt(12))


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalisedReply:
    """A normalised reply; without a base it is invalid, and the note states the reason."""

    base: Base | None
    phases: tuple[Phase, ...] = ()
    repairs: tuple[Repair, ...] = ()
    note: str | None = None


def normalise(
    reply: ResponseDocument, targets: TimeSnapTargets, *, settings: NormaliseSettings = DEFAULT_SETTINGS
) -> NormalisedReply:
    """Normalise a reply. Pure and total: every ResponseDocument has a result."""
    repairs = RepairLog()
    base = _base(reply.base, repairs)
    scale = _time_scale(reply.phases, targets)
    if scale is None:
        last = max(max(phase.start_s, phase.end_s) for phase in reply.phases)
        note = f"times up to {last:g} do not fit a clip of {seconds_from_us(targets.duration_us):g} s in any one unit"
        return NormalisedReply(base=None, repairs=tuple(repairs.entries), note=note)
    reply = _rescaled(reply, scale, repairs)
    target = (_phase(i, phase, targets, repairs, settings=settings) for i, phase in enumerate(reply.phases))
    phases = trim_overlaps([phase for phase in target if phase is not None], repairs)
    if reply.phases and not phases:
        note = f"none of the {len(reply.phases)} phases could be used"
        return NormalisedReply(base=None, repairs=tuple(repairs.entries), note=note)
    return NormalisedReply(base=base, phases=phases, repairs=tuple(repairs.entries))


def _base(written: ResponseBase, repairs: RepairLog) -> Base:
    label = {
        name: _clean_words(f"base/{name}", value, repairs, max_chars=MAX_LABEL_CHARS)
        for name, value in (
            ("subject", written.subject),
            ("scene", written.scene),
            ("emotion", written.emotion or ""),
        )
    }
    text = _clean_words("base/text", written.text, repairs, max_chars=MAX_BASE_CHARS)
    if character_count(text) < MIN_BASE_CHARS:
        reason = f"shorter than {MIN_BASE_CHARS} characters"
        text = repairs.change("set", "base/text", text, DEFAULT_BASE_TEXT, reason=reason)
    return Base(
        text=text, subject=label["subject"], framing=written.framing, scene=label["scene"], camera=written.camera,
        speaking=written.speaking, emotion=label["emotion"] or None,
    )  # fmt: skip


def _phase(
    index: int, written: ResponsePhase, targets: TimeSnapTargets, repairs: RepairLog, *, settings: NormaliseSettings
) -> Phase | None:
    at = f"phases/{index}"
    action, raw = _action(at, written, repairs)
    track, side = _track_and_side(at, written, repairs)
    text = _phase_text(at, written, action, repairs)
    span = _span(at, written, targets, repairs)
    if track is None or span is None or text is None:
        missing = "track" if track is None else "time inside the clip" if span is None else "class and no words"
        repairs.drop(
            at,
            f"{written.track} {written.start_s}-{written.end_s} {written.action}: {written.text}",
            reason=f"no {missing}",
        )
        return None
    start_us, end_us = _snap(at, span, targets, track, repairs, settings=settings)
    evidence = _clean_words(f"{at}/evidence", written.evidence, repairs, max_chars=MAX_PHASE_CHARS)
    return Phase(
        phase_id=f"p{index}",
        track=track,
        start_us=start_us,
        end_us=end_us,
        start_sigma_us=targets.sigma_us,
        end_sigma_us=targets.sigma_us,
        action=action,
        action_raw=raw,
        text=text,
        laterality=side,
        kind=kind_of(action),
        amplitude=_clip(f"{at}/amplitude", written.amplitude, 0, 3, repairs),
        speed=_clip(f"{at}/speed", written.speed, 0, 3, repairs),
        repetitions=_clip(f"{at}/repetitions", written.repetitions, 1, MAX_REPETITIONS, repairs),
        evidence=Evidence(text=evidence) if evidence else None,
        origin="vlm",
    )


# ---- what: class, words, numbers


def _action(path: str, written: ResponsePhase, repairs: RepairLog) -> tuple[vocab.Action, str | None]:
    raw = _clean_words(f"{path}/action_raw", written.action_raw or "", repairs, max_chars=MAX_LABEL_CHARS) or None
    action = ACTION_WORDS.get(_normalised_key(written.action))
    if action is not None:
        return repairs.change("set", f"{path}/action", written.action, action, reason="spelling of the vocabulary"), raw
    repairs.change("set", f"{path}/action", written.action, "other", reason="no class of the vocabulary")
    own = strip_medium_phrases(clean_line(written.action, max_chars=MAX_LABEL_CHARS)) or None
    return "other", raw or repairs.change("set", f"{path}/action_raw", None, own, reason="the model's own word")


def _phase_text(path: str, written: ResponsePhase, action: vocab.Action, repairs: RepairLog) -> str | None:
    text = _clean_words(f"{path}/text", written.text, repairs, max_chars=MAX_PHASE_CHARS)
    if character_count(text) >= MIN_PHASE_CHARS:
        return text
    if action == "other":
        return None
    return repairs.change("set", f"{path}/text", text, action.replace("_", " "), reason="empty; the class in words")


def _clean_words(path: str, written: str, repairs: RepairLog, *, max_chars: int) -> str:
    cleaned = clean_line(written, max_chars=max_chars)
    repairs.change("clean", path, written, cleaned, reason="one line of visible characters, not too long")
    return repairs.change("clean", path, cleaned, strip_medium_phrases(cleaned), reason="talks about the medium")


def _clip(path: str, written: int | None, minimum: int, maximum: int, repairs: RepairLog) -> int | None:
    if written is None:
        return None
    return repairs.change(
        "clip", path, written, min(max(written, minimum), maximum), reason=f"outside {minimum}..{maximum}"
    )


def _normalised_key(word: str) -> str:
    return "_".join(word.lower().replace("-", " ").replace("_", " ").split())


# ---- who: track and side


def _track_and_side(
    path: str, written: ResponsePhase, repairs: RepairLog
) -> tuple[vocab.Track | None, vocab.Laterality]:
    """Consistent track and side: the majority of track, side and text; a sided track wins over its side."""
    track = TRACK_WORDS.get(_normalised_key(written.track))
    side = SIDE_WORDS.get(_normalised_key(written.side), "none")
    text_side = find_side(clean_line(written.text, max_chars=MAX_PHASE_CHARS))
    if track is None:
        return None, side
    track_side = vocab.SIDED_TRACK.get(track)
    if track_side is not None and side == text_side != track_side:
        track = ARM_TRACK_OF_SIDE[side]
    elif track_side is not None:
        side = track_side
    elif text_side is not None and side != "both":
        side = text_side
    repairs.change("set", f"{path}/track", written.track, track, reason="consistent with spelling, side and text")
    repairs.change("set", f"{path}/side", written.side, side, reason="consistent with track and text")
    return track, side


# ---- when


def _time_scale(phases: Sequence[ResponsePhase], targets: TimeSnapTargets) -> float | None:
    """Factor from the written times to seconds: 1, or 1/1000 for milliseconds; None if they fit no unit for certain.

    Times that lie outside the clip are a sign of another unit (frames, percent, a clip of twice the length), and then
    the ones inside are wrong too. Only milliseconds are certain: whole numbers too large for any other unit.
    """
    times = [time for phase in phases for time in (phase.start_s, phase.end_s)]
    last_s = seconds_from_us(targets.duration_us)
    starts_outside = any(min(phase.start_s, phase.end_s) >= last_s for phase in phases)
    if not times or (not starts_outside and max(times) <= last_s + max(_OVERSHOOT_S, _OVERSHOOT_SHARE * last_s)):
        return 1.0
    largest_other_unit = max(targets.duration_us / frame_start_us(1, CLIP_RATE), 100.0, 2 * last_s)
    is_ms = all(time == int(time) for time in times) and largest_other_unit < max(times) <= 1000 * (
        last_s + _OVERSHOOT_S
    )
    return 0.001 if is_ms else None


def _rescaled(reply: ResponseDocument, scale: float, repairs: RepairLog) -> ResponseDocument:
    if scale == 1.0:
        return reply
    phases = []
    for k, phase in enumerate(reply.phases):
        start_s, end_s = (
            repairs.change("scale", f"phases/{k}/{name}", written, written * scale, reason="milliseconds")
            for name, written in (("start_s", phase.start_s), ("end_s", phase.end_s))
        )
        phases.append(phase.model_copy(update={"start_s": start_s, "end_s": end_s}))
    return reply.model_copy(update={"phases": tuple(phases)})


def _span(path: str, written: ResponsePhase, targets: TimeSnapTargets, repairs: RepairLog) -> tuple[int, int] | None:
    start_s, end_s = written.start_s, written.end_s
    if start_s > end_s:
        start_s = repairs.change("swap", f"{path}/start_s", start_s, end_s, reason="starts after its end")
        end_s = repairs.change("swap", f"{path}/end_s", end_s, written.start_s, reason="starts after its end")
    last_s = seconds_from_us(targets.duration_us)
    if us_from_seconds(min(max(start_s, 0.0), last_s)) > targets.last_start_us:
        return None
    start_s = repairs.change("clip", f"{path}/start_s", start_s, max(start_s, 0.0), reason="before the clip")
    end_s = repairs.change("clip", f"{path}/end_s", end_s, min(max(end_s, 0.0), last_s), reason="outside the clip")
    return us_from_seconds(start_s), us_from_seconds(end_s)


def _snap(
    path: str,
    span: tuple[int, int],
    targets: TimeSnapTargets,
    track: vocab.Track,
    repairs: RepairLog,
    *,
    settings: NormaliseSettings,
) -> tuple[int, int]:
    """Snap start and end to targets, at least the minimum duration apart.

    The order makes it idempotent: a start is a fixed point of `_nearest_target`, and so is an end unless the phase
    would be too short; overlaps are then trimmed to starts only.
    """
    start, end = (_nearest_target(us, targets, track, settings=settings) for us in span)
    if end - start < MIN_PHASE_US:
        end = _nearest_target(start + MIN_PHASE_US, targets, track, settings=settings)
        end = max(end, start + MIN_PHASE_US)
    for name, before, after in (("start_s", span[0], start), ("end_s", span[1], end)):
        seconds = seconds_from_us(before), seconds_from_us(after)
        repairs.change("snap", f"{path}/{name}", *seconds, reason="to a motion boundary or frame, at least 0.12 s long")
    return start, end


def _nearest_target(us: int, targets: TimeSnapTargets, track: vocab.Track, *, settings: NormaliseSettings) -> int:
    """The nearest motion boundary; else the nearest frame and the boundary near it; else unchanged. Idempotent."""
    edges = targets.edges_us.get(track, ())
    edge_us, stamp_us = us_from_seconds(settings.edge_tolerance_s), us_from_seconds(settings.stamp_tolerance_s)
    target = _nearest_within(us, edges, edge_us)
    if target is None:
        stamp = _nearest_within(us, targets.stamps_us, stamp_us)
        target = us if stamp is None else stamp
        edge = _nearest_within(target, edges, edge_us)
        target = target if edge is None else edge
    # A phase could no longer start there.
    return us if us <= targets.last_start_us < target else target


def _nearest_within(us: int, instants: Sequence[int], tolerance_us: int) -> int | None:
    nearest = min(instants, key=lambda one: (abs(one - us), one), default=None)
    return nearest if nearest is not None and abs(nearest - us) <= tolerance_us else None
