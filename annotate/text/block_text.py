"""Words of the training string. Text of models and reviewers cannot form a marker or a control code."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from xsheet.annotate.text.wording import describe_ongoing, describe_repeated
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Base, Phase
from xsheet.schemas.time import Span

STILL_TEXT = "keeps still"

_PEOPLE = re.compile(r"\b(woman|man|girl|boy|lady|gentleman|child|person)\b", re.IGNORECASE)
_SPEAKING_CLAUSE: dict[vocab.Speaking, str] = {
    "speaking": "is speaking",
    "listening": "is listening",
    "silent": "is silent",
    "mixed": "is speaking and listening",
}
_BRACKETS = str.maketrans("[]", "()")
_FAKE_MARKER = re.compile(r"(phase)-(?=\d)", re.IGNORECASE)
# A letter of a script without spaces counts as a word, and so does each run of up to 20 letters.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{1,20}")
_STOPS = (".", "!", "?", "。", "！", "？")


@dataclass(frozen=True, slots=True)
class BaseText:
    """The base block, and whether it was truncated."""

    text: str
    truncated: bool


@dataclass(frozen=True, slots=True)
class BlockText:
    """The sentence of a block."""

    text: str
    phase_ids: tuple[str, ...]  # ids of the phases it names
    truncated: tuple[str, ...]  # ids of phases that were shortened or dropped


def short_caption(base: Base) -> str:
    """The caption of stage 1, "A woman is speaking."; its noun is from a closed list, so it contains no identity."""
    match = _PEOPLE.search(base.subject)
    return f"A {match.group().lower() if match else 'person'} {_SPEAKING_CLAUSE[base.speaking]}."


def base_text(base: Base, *, max_words: int) -> BaseText:
    """The base block, truncated after the last sentence that fits, else inside a sentence."""
    whole = escape_markers(base.text) or short_caption(base)
    kept = truncate_words(whole, max_words)
    if kept != whole and not kept.endswith(_STOPS) and (stop := max(kept.rfind(f"{mark} ") for mark in ".!?")) > 0:
        kept = kept[: stop + 1]
    return BaseText(_with_full_stop(kept), kept != whole)


def block_text(phases: Sequence[Phase], *, span: Span, ongoing_ids: Collection[str], max_words: int) -> BlockText:
    """One sentence with the phases in order; "and" joins simultaneous ones, "then" later ones.

    If it is too long, short texts are used, then the shortest phases are dropped, then the sentence is truncated.

    Args:
        phases: of the block, sorted; none = keeps still.
        span: of the block.
        ongoing_ids: ids of phases of the previous block.
        max_words: of the sentence.
    """
    if not phases:
        return BlockText(f"{STILL_TEXT}.", (), ())
    kept, use_short = list(phases), False
    sentence = _join(kept, span, ongoing_ids, use_short=use_short)
    lost: list[str] = []
    while word_count(sentence) > max_words and not (use_short and len(kept) == 1):
        if not use_short:
            use_short = True
            lost = [p.phase_id for p in kept if p.text_short]
        else:
            # The last of equals is dropped.
            shortest = min(reversed(kept), key=lambda p: p.span.duration_us)
            kept.remove(shortest)
            lost.append(shortest.phase_id)
        sentence = _join(kept, span, ongoing_ids, use_short=use_short)
    truncated = truncate_words(sentence, max_words)
    if truncated != sentence:
        lost.append(kept[0].phase_id)
    return BlockText(_with_full_stop(truncated), tuple(p.phase_id for p in kept), tuple(dict.fromkeys(lost)))


def _join(phases: Sequence[Phase], span: Span, ongoing_ids: Collection[str], *, use_short: bool) -> str:
    """The clauses in groups: simultaneous ones in a group, later groups after "then"."""
    groups: list[list[str]] = []
    known, end_us = set[str](), 0
    for alike in _repetitions(phases, ongoing_ids):
        clause = _clause(alike, span, use_short=use_short, is_ongoing=alike[0].phase_id in ongoing_ids)
        if clause.casefold() not in known:
            known.add(clause.casefold())
            if not groups or alike[0].start_us >= end_us:
                groups.append([])
            groups[-1].append(_lower_first(clause) if len(known) > 1 else clause)
        end_us = max(end_us, alike[-1].end_us)
    return ", then ".join(map(_series, groups))


def _repetitions(phases: Sequence[Phase], ongoing_ids: Collection[str]) -> list[list[Phase]]:
    """The phases, those in one list that measured the same action again, with no other of its track between."""
    groups: list[list[Phase]] = []
    latest: dict[vocab.Track, list[Phase]] = {}
    for phase in phases:
        before = latest.get(phase.track)
        if before is None or before[0].phase_id in ongoing_ids or not _is_same_measured(before[0], phase):
            latest[phase.track] = before = []
            groups.append(before)
        before.append(phase)
    return groups


def _is_same_measured(one: Phase, other: Phase) -> bool:
    same = (one.action, one.laterality) == (other.action, other.laterality)
    return same and one.origin == other.origin == "motion"


def _clause(alike: Sequence[Phase], span: Span, *, use_short: bool, is_ongoing: bool) -> str:
    """One clause for a phase, or for repetitions of one measured action."""
    phase = alike[0]
    if is_ongoing and phase.origin == "motion":
        return describe_ongoing(phase.action, phase.laterality, _part_under_way(phase, span))
    if len(alike) > 1:
        count = sum(one.repetitions or 1 for one in alike)
        return describe_repeated(phase.action, phase.laterality, count)
    clause = escape_markers((phase.text_short if use_short else None) or phase.text).rstrip(" .,;:。")
    clause = clause or phase.action.replace("_", " ")
    return f"still {_lower_first(clause)}" if is_ongoing else clause


def _part_under_way(phase: Phase, span: Span) -> vocab.Kinematic | None:
    """The kinematic part that takes most of the block."""
    parts = ((Span(one.start_us, one.end_us).overlap_us(span), one.phase) for one in phase.kinematics)
    return max(parts, default=(0, None))[1]


def _series(clauses: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b, and c'; a comma also where a clause has an "and" or a comma of its own."""
    if len(clauses) == 2 and not any(", " in clause or " and " in clause for clause in clauses):
        return " and ".join(clauses)
    return ", and ".join(filter(None, (", ".join(clauses[:-1]), clauses[-1])))


def escape_markers(text: str) -> str:
    """Text on one line without control codes, square brackets or "Phase-2", so that it cannot form a marker."""
    visible = (c if unicodedata.category(c)[0] not in "CZ" else " " for c in unicodedata.normalize("NFKC", text))
    return _FAKE_MARKER.sub(r"\1 ", " ".join("".join(visible).split()).translate(_BRACKETS))


def word_count(text: str) -> int:
    """Words of a text; see _WORD for scripts without spaces."""
    return len(_word_ends(text))


def truncate_words(text: str, max_words: int) -> str:
    """The first `max_words` words of the text."""
    ends = _word_ends(text)
    return text if len(ends) <= max_words else text[: ends[max_words - 1]]


def _word_ends(text: str) -> list[int]:
    return [match.end() for match in _WORD.finditer(text.rstrip("".join(_STOPS)))]


def _lower_first(clause: str) -> str:
    """'She nods' → 'she nods' inside a sentence, but 'OK sign' stays."""
    first = clause.split(" ", 1)[0]
    return clause[0].lower() + clause[1:] if first[1:].islower() or len(first) == 1 else clause


def _with_full_stop(text: str) -> str:
    return text if text.endswith(_STOPS) else f"{text.rstrip(' ,;:')}."
