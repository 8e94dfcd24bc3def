"""Mirroring: text and signals of a clip for the horizontally flipped picture.

Text, tracks, body parts, sides and signals change together. Mirroring twice is the
identity (positions: to the rounding of float32). A flipped annotation exists in memory only and keeps its id, so
training must record that it was flipped. Verbatim text (raw text, repairs, spoken words) is not changed.

Limits. English only: "links" and "左" stay as they are. Whether a word is a side is judged by its neighbours, and alike
before and after the flip: "right now" stays, and so does the unusual "left now"; "turns right before nodding" is read
as a side. "left" as a verb is recognised in few phrases ("left the room"). "anticlockwise" and "counter-clockwise"
stay. Text in the picture ("a sign says LEFT") is rewritten, although it appears as mirror writing.
"""

import re
from dataclasses import fields, replace
from typing import Any, TypeVar, cast

from xsheet.schemas.annotation import Annotation, Base, Phase, sorted_phases
from xsheet.schemas.clip import Signals

S = TypeVar("S", bound=str)

_PAIRS = (
    ("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"), ("clockwise", "counterclockwise"),
    ("Clockwise", "Counterclockwise"),
)  # fmt: skip
_OPPOSITE = dict(_PAIRS) | {b: a for a, b in _PAIRS}
_LETTER = r"[^\W\d_]"
# Also in leftmost, leftward(s), left-hand, lefthanded, hand_left, left's; not in cleft, bright, righteous, leftover.
_SIDE = re.compile(
    rf"(?<!{_LETTER})(?:[Ll]eft|[Rr]ight|LEFT|RIGHT)(?=(?:most|MOST|wards?|WARDS?|hand(?:ed)?|HAND(?:ED)?)?(?!{_LETTER}))"
    rf"|(?<!{_LETTER})(?<!-)(?:[Cc]ounterc|[Cc])lockwise(?!{_LETTER})"
)
# Neighbours that tell a side from a phrase. None of them may hold a word of _OTHER, or a flip would change the verdict.
_NOT_A_SIDE = re.compile(
    r"\s(?:(?:at|into) (?:the )?(?:camera|lens|viewer|audience)|in front of|next to|angles?|moments?|time|way|thing|"
    r"order|words?|answer)\b",
    re.IGNORECASE,
)
_IS_A_SIDE = re.compile(
    r"(?:\b(?:the|her|his|their|its|own|to|from|on|upper|lower|head|face|chin|eyes?|gaze|body|torso|shoulders?|arms?|"
    r"hands?|(?:look|turn|lean|tilt|glanc|gaz|mov|shift|step|sway|swing|point|fac|bend|roll|rotat|gestur|wav|walk|drift|"
    r"pann?)(?:e|e?s|ing|e?d)?)\s|(?<!that)'s\s|-)$",
    re.IGNORECASE,
)
_IDIOM_BEFORE = re.compile(r"\b(?:all|just|that's|that is)\s$", re.IGNORECASE)
_IDIOM_AFTER = re.compile(
    r"\s(?:now|away|then|here|there|after|before|as|when|through|on time|behind|beside|over|open|closed|unchanged|"
    r"alone|(?:the|this|her|his|their) (?:room|frame|scene|stage|picture|seat|table|desk))\b",
    re.IGNORECASE,
)
_CONTEXT_CHARS = 16  # characters; no neighbour before is longer


def mirror_annotation(annotation: Annotation) -> Annotation:
    """The annotation of the mirrored clip, under its own id."""
    base = annotation.base
    return replace(
        annotation,
        base=None if base is None else mirror_base(base),
        phases=sorted_phases(mirror_phase(phase) for phase in annotation.phases),
        unknown=tuple(replace(span, track=_mirror_name(span.track)) for span in annotation.unknown),
    )


def mirror_base(base: Base) -> Base:
    """The base block of the mirrored clip."""
    return replace(
        base,
        text=mirror_text(base.text),
        subject=mirror_text(base.subject),
        scene=mirror_text(base.scene),
        camera_note=_mirror_optional(base.camera_note),
        emotion=_mirror_optional(base.emotion),
    )


def mirror_phase(phase: Phase) -> Phase:
    """The phase of the mirrored clip: left and right exchanged."""
    evidence, emotion = phase.evidence, phase.emotion
    return replace(
        phase,
        track=_mirror_name(phase.track),
        body_parts=tuple(_mirror_name(part) for part in phase.body_parts),
        laterality=_mirror_name(phase.laterality),
        text=mirror_text(phase.text),
        text_short=_mirror_optional(phase.text_short),
        action_raw=_mirror_optional(phase.action_raw),
        evidence=None if evidence is None else replace(evidence, text=_mirror_optional(evidence.text)),
        emotion=None if emotion is None else replace(emotion, evidence=mirror_text(emotion.evidence)),
    )


def mirror_text(text: str) -> str:
    """English text with left and right exchanged; keeps case and idioms."""
    return _SIDE.sub(lambda found: found.group() if _is_idiom(found) else _OPPOSITE[found.group()], text)


def mirror_signals(signals: Signals, *, aspect: float) -> Signals:
    """The series of the mirrored clip.

    Args:
        signals: of the original clip.
        aspect: picture width / height; positions are in picture heights.
    """
    flipped: dict[str, Any] = {}
    for name in (field.name for field in fields(signals)):
        series = getattr(signals, _mirror_name(name))
        if not isinstance(series, tuple):
            continue
        if name in ("yaw_deg", "roll_deg", "gaze_x"):
            series = tuple(None if v is None else -v for v in series)
        elif name.endswith("_x"):
            series = tuple(None if v is None else aspect - v for v in series)
        flipped[name] = series
    return replace(signals, **flipped)


def _is_idiom(found: re.Match[str]) -> bool:
    before, after = found.string[max(0, found.start() - _CONTEXT_CHARS) : found.start()], found.string[found.end() :]
    if _NOT_A_SIDE.match(after):
        return True
    is_phrase = _IDIOM_BEFORE.search(before) or _IDIOM_AFTER.match(after)
    return bool(is_phrase) and not _IS_A_SIDE.search(before)


def _mirror_name(name: S) -> S:
    """A word of the vocabulary or a column for the other side: arm_left → arm_right, eye_left_open → eye_right_open."""
    return cast("S", "_".join(_OPPOSITE.get(part, part) for part in name.split("_")))


def _mirror_optional(text: str | None) -> str | None:
    return None if text is None else mirror_text(text)
