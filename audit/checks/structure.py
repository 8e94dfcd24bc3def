"""Structure (A): what a record cannot refuse by itself, because it needs the clip, the other layers, or the words."""

import re
from collections.abc import Iterator, Mapping

from xsheet.audit.checks.base import Check, Outcome, View
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import vocab
from xsheet.schemas.annotation import HALF_FRAME_US
from xsheet.schemas.time import US_PER_S

_SIDE = re.compile(r"\b(left|right)\b(?! (?:away|now|at|after|before|then))", re.IGNORECASE)
# Shortest and longest of a class, seconds; §9-A has blink and nod, the rest is twice what the puppet and people do.
_DURATIONS_S: Mapping[vocab.Action, tuple[float, float]] = {
    "nod": (0.2, 4.0), "shake_head": (0.24, 5.0), "blink_long": (0.12, 1.5), "wink": (0.12, 1.5),
    "shrug": (0.2, 4.0), "clap": (0.2, 10.0), "raise_brows": (0.12, 6.0), "purse_lips": (0.12, 6.0),
}  # fmt: skip


def _in_clip(view: View, _: AuditSettings) -> Iterator[Outcome]:
    end_us = view.duration_us + HALF_FRAME_US
    for phase in view.annotation.phases:
        yield Outcome(phase.end_us <= end_us, phase.end_us / US_PER_S, end_us / US_PER_S, phase)


def _duration(view: View, _: AuditSettings) -> Iterator[Outcome]:
    for phase in view.annotation.phases:
        if (limits := _DURATIONS_S.get(phase.action)) is not None:
            seconds = (phase.end_us - phase.start_us) / US_PER_S
            detail = f"{phase.action} lasts {seconds:.2f} s, expected {limits[0]} to {limits[1]}"
            yield Outcome(limits[0] <= seconds <= limits[1], phase=phase, detail=detail)


def _side(view: View, _: AuditSettings) -> Iterator[Outcome]:
    for phase in view.annotation.phases:
        named = {side.lower() for side in _SIDE.findall(phase.text)}
        if len(named) == 1 and phase.laterality in ("left", "right"):
            (side,) = named
            detail = f"laterality {phase.laterality!r}, but the words say {side!r}"
            yield Outcome(side == phase.laterality, phase=phase, detail=detail)


def _parts(view: View, _: AuditSettings) -> Iterator[Outcome]:
    for phase in view.annotation.phases:
        if phase.laterality in ("left", "right") and phase.body_parts:
            other = "right" if phase.laterality == "left" else "left"
            wrong = [part for part in phase.body_parts if part.endswith(f"_{other}")]
            yield Outcome(not wrong, phase=phase, detail=f"laterality {phase.laterality!r} with {', '.join(wrong)}")


def _media(view: View, _: AuditSettings) -> Iterator[Outcome]:
    said = view.annotation.media_sha256
    if view.clip is None:
        yield Outcome(False, detail="the set has no such clip")
    elif said is not None:
        yield Outcome(said == view.clip.media_sha256, detail="it was made from another file than the set has")


def _length(view: View, _: AuditSettings) -> Iterator[Outcome]:
    if view.clip is not None:
        gap_us = abs(view.annotation.duration_us - view.clip.duration_us)
        yield Outcome(gap_us <= HALF_FRAME_US, gap_us / US_PER_S, HALF_FRAME_US / US_PER_S)


def _parents(view: View, _: AuditSettings) -> Iterator[Outcome]:
    yield Outcome(not view.missing_parents, detail=f"no parent {', '.join(view.missing_parents[:3])} in the set")


def _provenance(view: View, _: AuditSettings) -> Iterator[Outcome]:
    run = view.run
    missing = [] if run.tool_version else ["tool_version"]
    if run.kind == "annotate":
        missing += [] if run.model is not None else ["model"]
        missing += [] if run.settings_sha256 else ["settings_sha256"]
        # A model that answers in text was asked in words; one that reads signals was not.
        asked = view.annotation.raw_text is not None or run.engine is not None
        missing += ["prompts"] if asked and not run.prompts else []
        missing += ["sampling"] if asked and run.sampling is None else []
    yield Outcome(not missing, detail=f"run {run.run_id} lacks {', '.join(missing)}")


STRUCTURE = (
    Check(id="A1", why="a phase lies inside its clip", severity="error", number="end_s", sense="<=", judge=_in_clip,
          formula="end <= duration of the clip + half a frame (§9-A1)"),
    Check(id="A3", why="an action lasts as long as such actions do", severity="warning", judge=_duration,
          formula="shortest(class) <= duration <= longest(class) (§9-A3)"),
    Check(id="A5", why="words and laterality name the same side", severity="error", judge=_side,
          formula="the one side in the words = laterality (§9-A5)"),
    Check(id="A5b", why="body parts and laterality name the same side", severity="error", judge=_parts,
          formula="no part of the other side among body_parts (§9-A5)"),
    Check(id="A6", why="the annotation is of this file", severity="error", judge=_media,
          formula="media_sha256 = that of the clip (§9-A6)"),
    Check(id="A6b", why="the annotation's clock is that of the clip", severity="error", number="duration_gap_s",
          sense="<=", judge=_length, formula="|duration - clip duration| <= half a frame (§9-A6)"),
    Check(id="A7", why="a layer that was made from others can be traced", severity="error", judge=_parents,
          formula="every parent id stands in an earlier layer of the set (§9-A7)"),
    Check(id="A7b", why="a run can be repeated", severity="error", judge=_provenance,
          formula="model, settings, and for models that are asked prompts and sampling (§9-A7)"),
)  # fmt: skip
