"""Wording (F): what a description must not say, and whether it tells of the class that it stands beside."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from xsheet.audit.checks import lexicon
from xsheet.audit.checks.base import Check, Judge, Outcome, View
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.annotation import Phase
from xsheet.schemas.time import US_PER_S


def _texts(view: View) -> Iterator[tuple[Phase | None, str]]:
    """The base, and each phase."""
    base = view.annotation.base
    if base is not None:
        yield None, f"{base.text} {base.subject}. {base.scene}"
    for phase in view.annotation.phases:
        yield phase, phase.text


@lru_cache(maxsize=200_000)
def _first(words: re.Pattern[str], text: str) -> str:
    """The first match; empty where there is none. Texts of a layer repeat, and look-ups are cheaper."""
    found = words.search(text)
    return found.group(0) if found else ""


def _never(words: re.Pattern[str]) -> Judge:
    """A judge that finds these words in any text."""

    def judge(view: View, _: AuditSettings) -> Iterator[Outcome]:
        for phase, text in _texts(view):
            said = _first(words, text)
            yield Outcome(not said, phase=phase, detail=f"says {said!r}" if said else "")

    return judge


def _emotion(view: View, _: AuditSettings) -> Iterator[Outcome]:
    for phase in view.annotation.phases:
        if phase.emotion is None:
            said = _first(lexicon.EMOTION, phase.text)
            yield Outcome(not said, phase=phase, detail=f"says {said!r} without a facial action" if said else "")


def _density(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limit = settings.text.max_words_per_s
    words = sum(phase.text.count(" ") + 1 for phase in view.annotation.phases)
    rate = words * US_PER_S / view.duration_us
    yield Outcome(rate <= limit, rate, limit)


def _repeated(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    gap_us = settings.text.neighbour_gap_s * US_PER_S
    by_track: dict[str, list[Phase]] = {}
    for phase in view.annotation.phases:
        by_track.setdefault(phase.track, []).append(phase)
    for phases in by_track.values():
        for a, b in pairwise(phases):
            same = a.action == b.action and a.laterality == b.laterality and b.start_us - a.end_us <= gap_us
            alike = same and _content(a.text) == _content(b.text)
            yield Outcome(not alike, phase=b, detail=f"{a.phase_id} before it says the same" if alike else "")


@lru_cache(maxsize=50_000)
def _content(text: str) -> frozenset[str]:
    """The words of a text without how often, how far and how fast."""
    return frozenset(re.findall(r"\w+", text.lower())) - _MANNER


_MANNER = frozenset(
    (
        "a",
        "the",
        "his",
        "her",
        "their",
        "once",
        "twice",
        "three",
        "four",
        "five",
        "times",
        "several",
        "slightly",
        "widely",
        "slowly",
        "quickly",
        "again",
    )
)


def _leak(view: View, _: AuditSettings) -> Iterator[Outcome]:
    base = view.annotation.base
    if base is not None:
        claimed = {phase.action for phase in view.annotation.phases}
        named = lexicon.actions_in(base.text)
        leaked = sorted(action for action in named if action not in lexicon.LASTING or action in claimed)
        # A base that says of a person at rest that it keeps still tells no action.
        leaked = [action for action in leaked if action != "rest"]
        yield Outcome(not leaked, detail=f"the base names {', '.join(leaked)}" if leaked else "")


def _class(view: View, _: AuditSettings) -> Iterator[Outcome]:
    for phase in view.annotation.phases:
        told = lexicon.tells(phase.action, phase.text)
        if told is not None:
            named = "" if told else f"class {phase.action!r}, but the words say {_named(phase.text)}"
            yield Outcome(told, phase=phase, detail=named)


def _named(text: str) -> str:
    return ", ".join(sorted(lexicon.actions_in(text)))


def _manner(view: View, _: AuditSettings) -> Iterator[Outcome]:
    for phase in view.annotation.phases:
        said = zip(("repetitions", "amplitude", "speed"), lexicon.manner_in(phase.text), strict=True)
        stated = {name: value for name, value in said if value is not None}
        wrong = [
            f"{name} {getattr(phase, name)}, but the words say {value}"
            for name, value in stated.items()
            if getattr(phase, name) is not None and _differ(name, value, getattr(phase, name))
        ]
        if stated:
            yield Outcome(not wrong, phase=phase, detail="; ".join(wrong))


def _differ(name: str, said: int, stated: int) -> bool:
    return said != stated if name == "repetitions" else abs(said - stated) > 1


TEXT = (
    Check(id="F1", why="a description is of the person, not of the medium", severity="warning",
          judge=_never(lexicon.MEDIUM), formula="no word of the list MEDIUM (§9-F)"),
    Check(id="F2", why="what is not sure is left out, not hedged", severity="warning",
          judge=_never(lexicon.HEDGE), formula="no word of the list HEDGE (§9-F)"),
    Check(id="F3", why="what is said belongs to the sound", severity="warning", judge=_never(lexicon.SPEECH),
          formula="no word of the list SPEECH and no quotation (§9-F)"),
    Check(id="F4", why="who somebody is, how old and of what descent cannot be seen", severity="error",
          judge=_never(lexicon.IDENTITY), formula="no word of the list IDENTITY (§9-F)"),
    Check(id="F5", why="an emotion needs the facial action that shows it", severity="warning", judge=_emotion,
          formula="no word of the list EMOTION in a phase without emotion.evidence (§9-F)"),
    Check(id="F6", why="nobody says so much in so little time", severity="warning", number="words_per_s", sense="<=",
          judge=_density, formula="words of all phases / duration; MotionBench's captions have 12.63 (§9-F)"),
    Check(id="F7", why="the same action without a gap is one phase", severity="error", judge=_repeated,
          formula="neighbours of a track differ in class, side or words, or have a gap (§9-F)"),
    Check(id="F8", why="a base names no timed action, or training cannot tell when it happens", severity="error",
          judge=_leak, formula="no words of a timed class in base.text (§9-F)"),
    Check(id="F9", why="words and class tell of the same action", severity="error", judge=_class,
          formula="the class, or one like it, among the classes that the words name"),
    Check(id="F10", why="words and fields tell of the same manner", severity="warning", judge=_manner,
          formula="repetitions equal; amplitude and speed at most one level apart"),
)  # fmt: skip
