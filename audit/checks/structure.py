"""Structure checks (A): rules that need the clip, other layers or the text, beyond the validation of a record."""

import re
from collections.abc import Iterator, Mapping

from xsheet.audit.checks.base import AnnotationView, Check, CheckResult
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import vocab
from xsheet.schemas.annotation import HALF_FRAME_US
from xsheet.schemas.time import US_PER_S

_SIDE_WORD = re.compile(r"\b(left|right)\b(?! (?:away|now|at|after|before|then))", re.IGNORECASE)
# Shortest and longest duration by class, seconds: about twice the range seen in people and the puppet.
_DURATION_RANGE_S: Mapping[vocab.Action, tuple[float, float]] = {
    "nod": (0.2, 4.0), "shake_head": (0.24, 5.0), "blink_long": (0.12, 1.5), "wink": (0.12, 1.5),
    "shrug": (0.2, 4.0), "clap": (0.2, 10.0), "raise_brows": (0.12, 6.0), "purse_lips": (0.12, 6.0),
}  # fmt: skip


def _check_inside_clip(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    end_us = view.duration_us + HALF_FRAME_US
    for phase in view.annotation.phases:
        yield CheckResult(phase.end_us <= end_us, phase.end_us / US_PER_S, end_us / US_PER_S, phase)


def _check_duration(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    for phase in view.annotation.phases:
        if (limits := _DURATION_RANGE_S.get(phase.action)) is not None:
            seconds = (phase.end_us - phase.start_us) / US_PER_S
            detail = f"{phase.action} lasts {seconds:.2f} s, expected {limits[0]} to {limits[1]}"
            yield CheckResult(limits[0] <= seconds <= limits[1], phase=phase, detail=detail)


def _check_side_in_text(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    for phase in view.annotation.phases:
        named = {side.lower() for side in _SIDE_WORD.findall(phase.text)}
        if len(named) == 1 and phase.laterality in ("left", "right"):
            (side,) = named
            detail = f"laterality {phase.laterality!r}, but the text says {side!r}"
            yield CheckResult(side == phase.laterality, phase=phase, detail=detail)


def _check_body_parts(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    for phase in view.annotation.phases:
        if phase.laterality in ("left", "right") and phase.body_parts:
            other = "right" if phase.laterality == "left" else "left"
            wrong = [part for part in phase.body_parts if part.endswith(f"_{other}")]
            yield CheckResult(not wrong, phase=phase, detail=f"laterality {phase.laterality!r} with {', '.join(wrong)}")


def _check_media_hash(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    media_sha256 = view.annotation.media_sha256
    if view.clip is None:
        yield CheckResult(False, detail="the set does not have this clip")
    elif media_sha256 is not None:
        yield CheckResult(media_sha256 == view.clip.media_sha256, detail="it was made from a different media file")


def _check_clip_duration(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    if view.clip is not None:
        gap_us = abs(view.annotation.duration_us - view.clip.duration_us)
        yield CheckResult(gap_us <= HALF_FRAME_US, gap_us / US_PER_S, HALF_FRAME_US / US_PER_S)


def _check_parents(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    yield CheckResult(not view.missing_parents, detail=f"the set lacks parent {', '.join(view.missing_parents[:3])}")


def _check_provenance(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    run = view.run
    missing = [] if run.tool_version else ["tool_version"]
    if run.kind == "annotate":
        missing += [] if run.model is not None else ["model"]
        missing += [] if run.settings_sha256 else ["settings_sha256"]
        # Models that respond in text have prompts; models that read signals have none.
        is_prompted = view.annotation.raw_text is not None or run.engine is not None
        missing += ["prompts"] if is_prompted and not run.prompts else []
        missing += ["sampling"] if is_prompted and run.sampling is None else []
    yield CheckResult(not missing, detail=f"run {run.run_id} lacks {', '.join(missing)}")


STRUCTURE_CHECKS = (
    Check(
        id="A1",
        requirement="A phase lies inside its clip",
        severity="error",
        metric="end_s",
        comparator="<=",
        evaluate=_check_inside_clip,
        formula="phase end ≤ clip duration + half a frame",
    ),
    Check(
        id="A3",
        requirement="An action has a plausible duration for its class",
        severity="warning",
        evaluate=_check_duration,
        formula="min duration(class) ≤ duration ≤ max duration(class)",
    ),
    Check(
        id="A5",
        requirement="Text and laterality name the same side",
        severity="error",
        evaluate=_check_side_in_text,
        formula="if the text names exactly one side, it equals laterality",
    ),
    Check(
        id="A5b",
        requirement="Body parts and laterality name the same side",
        severity="error",
        evaluate=_check_body_parts,
        formula="body_parts contains no part of the opposite side",
    ),
    Check(
        id="A6",
        requirement="The annotation refers to the clip's current media file",
        severity="error",
        evaluate=_check_media_hash,
        formula="annotation.media_sha256 = clip.media_sha256",
    ),
    Check(
        id="A6b",
        requirement="The annotation and the clip have the same duration",
        severity="error",
        metric="duration_gap_s",
        comparator="<=",
        evaluate=_check_clip_duration,
        formula="|annotation duration − clip duration| ≤ half a frame",
    ),
    Check(
        id="A7",
        requirement="Every parent annotation exists in the set",
        severity="error",
        evaluate=_check_parents,
        formula="each parent id exists in an earlier layer of the set",
    ),
    Check(
        id="A7b",
        requirement="The run records everything needed to reproduce it",
        severity="error",
        evaluate=_check_provenance,
        formula="tool version; for annotators also model and settings; for prompted models also prompts and sampling",
    ),
)
