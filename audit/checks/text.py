"""Text checks (F): forbidden wording, repetition, and agreement of text with class and fields."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from xsheet.audit.checks import lexicon
from xsheet.audit.checks.base import AnnotationView, Check, CheckFunction, CheckResult
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.annotation import Phase
from xsheet.schemas.time import US_PER_S


def _texts(view: AnnotationView) -> Iterator[tuple[Phase | None, str]]:
    """Texts of the caption (with phase None) and of each phase."""
    base = view.annotation.base
    if base is not None:
        yield None, f"{base.text} {base.subject}. {base.scene}"
    for phase in view.annotation.phases:
        yield phase, phase.text


@lru_cache(maxsize=200_000)
def _first_match(words: re.Pattern[str], text: str) -> str:
    """The first match, or an empty string; cached, as texts of a layer repeat."""
    match = words.search(text)
    return match.group(0) if match else ""


def _forbid_words(words: re.Pattern[str]) -> CheckFunction:
    """An evaluation function that fails texts with these words."""

    def evaluate(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
        for phase, text in _texts(view):
            match = _first_match(words, text)
            yield CheckResult(not match, phase=phase, detail=f"contains {match!r}" if match else "")

    return evaluate


def _check_emotion_evidence(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    for phase in view.annotation.phases:
        if phase.emotion is None:
            match = _first_match(lexicon.EMOTION_WORDS, phase.text)
            detail = f"contains {match!r} without a facial action" if match else ""
            yield CheckResult(not match, phase=phase, detail=detail)


def _check_word_rate(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.text.max_words_per_s
    words = sum(phase.text.count(" ") + 1 for phase in view.annotation.phases)
    rate = words * US_PER_S / view.duration_us
    yield CheckResult(rate <= limit, rate, limit)


def _check_repeated_text(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    gap_us = settings.text.max_repeat_gap_s * US_PER_S
    by_track: dict[str, list[Phase]] = {}
    for phase in view.annotation.phases:
        by_track.setdefault(phase.track, []).append(phase)
    for phases in by_track.values():
        for a, b in pairwise(phases):
            same = a.action == b.action and a.laterality == b.laterality and b.start_us - a.end_us <= gap_us
            alike = same and _content_words(a.text) == _content_words(b.text)
            detail = f"the phase before it, {a.phase_id}, has the same action and words" if alike else ""
            yield CheckResult(not alike, phase=b, detail=detail)


@lru_cache(maxsize=50_000)
def _content_words(text: str) -> frozenset[str]:
    """The words of a text without articles and words for repetitions, amplitude and speed."""
    return frozenset(re.findall(r"\w+", text.lower())) - _ATTRIBUTE_WORDS


_ATTRIBUTE_WORDS = frozenset({
    "a", "the", "his", "her", "their", "once", "twice", "three", "four", "five", "times", "several", "slightly",
    "widely", "broadly", "deeply", "clearly", "slowly", "quickly", "again",
})  # fmt: skip


def _check_actions_in_caption(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    base = view.annotation.base
    if base is not None:
        annotated = {phase.action for phase in view.annotation.phases}
        named = lexicon.find_actions(base.text)
        leaked = sorted(action for action in named if action not in lexicon.SUSTAINED_ACTIONS or action in annotated)
        # "Keeps still" describes a rest, not an action.
        leaked = [action for action in leaked if action != "rest"]
        yield CheckResult(not leaked, detail=f"the caption names {', '.join(leaked)}" if leaked else "")


def _check_action_class(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    for phase in view.annotation.phases:
        matches = lexicon.text_matches_action(phase.action, phase.text)
        if matches is not None:
            detail = "" if matches else f"class is {phase.action!r}, but the text says {_list_actions(phase.text)}"
            yield CheckResult(matches, phase=phase, detail=detail)


def _list_actions(text: str) -> str:
    return ", ".join(sorted(lexicon.find_actions(text)))


def _check_attributes(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    for phase in view.annotation.phases:
        attributes = zip(("repetitions", "amplitude", "speed"), lexicon.find_attributes(phase.text), strict=True)
        stated = {name: value for name, value in attributes if value is not None}
        wrong = [
            f"{name} {getattr(phase, name)}, but the text says {value}"
            for name, value in stated.items()
            if getattr(phase, name) is not None and _attribute_differs(name, value, getattr(phase, name))
        ]
        if stated:
            yield CheckResult(not wrong, phase=phase, detail="; ".join(wrong))


def _attribute_differs(name: str, in_text: int, in_field: int) -> bool:
    return in_text != in_field if name == "repetitions" else abs(in_text - in_field) > 1


TEXT_CHECKS = (
    Check(
        id="F1",
        requirement="The text describes the person, not the video",
        severity="warning",
        evaluate=_forbid_words(lexicon.MEDIUM_WORDS),
        formula="no match of MEDIUM_WORDS",
    ),
    Check(
        id="F2",
        requirement="The text contains no hedging",
        severity="warning",
        evaluate=_forbid_words(lexicon.HEDGING_WORDS),
        formula="no match of HEDGING_WORDS",
    ),
    Check(
        id="F3",
        requirement="The text does not describe the content of speech",
        severity="warning",
        evaluate=_forbid_words(lexicon.SPEECH_CONTENT_WORDS),
        formula="no match of SPEECH_CONTENT_WORDS and no quotation marks",
    ),
    Check(
        id="F4",
        requirement="The text does not state identity, age or origin",
        severity="error",
        evaluate=_forbid_words(lexicon.IDENTITY_WORDS),
        formula="no match of IDENTITY_WORDS",
    ),
    Check(
        id="F5",
        requirement="An emotion is named only with the facial action that shows it",
        severity="warning",
        evaluate=_check_emotion_evidence,
        formula="no match of EMOTION_WORDS in a phase without emotion.evidence",
    ),
    Check(
        id="F6",
        requirement="The amount of text is plausible for the clip duration",
        severity="warning",
        metric="words_per_s",
        comparator="<=",
        evaluate=_check_word_rate,
        formula="words in all phases / clip duration in seconds; MotionBench captions have 12.63 (arXiv:2501.02955)",
    ),
    Check(
        id="F7",
        requirement="Adjacent phases of a track differ in class, side or text",
        severity="error",
        evaluate=_check_repeated_text,
        formula="consecutive phases differ in class, laterality or content words, or are separated by a gap",
    ),
    Check(
        id="F8",
        requirement="The caption names no timed action",
        severity="error",
        evaluate=_check_actions_in_caption,
        formula="no words of a timed action class in base.text, otherwise training cannot learn when it happens",
    ),
    Check(
        id="F9",
        requirement="Text and action class describe the same action",
        severity="error",
        evaluate=_check_action_class,
        formula="the class, or a related one, is among the classes named by the text",
    ),
    Check(
        id="F10",
        requirement="Text and fields state the same repetitions, amplitude and speed",
        severity="warning",
        evaluate=_check_attributes,
        formula="repetitions are equal; amplitude and speed differ by at most one level",
    ),
)
