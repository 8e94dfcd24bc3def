"""Words of the training string. Text of models and reviewers cannot form a marker or a control code."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Base, Phase

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


def block_text(phases: Sequence[Phase], *, ongoing_ids: Collection[str], max_words: int) -> BlockText:
    """One sentence with the phases in order; "and" joins simultaneous ones, "then" later ones.

    If it is too long, short texts are used, then the shortest phases are dropped, then the sentence is truncated.

    Args:
        phases: of the block, sorted; none = keeps still.
        ongoing_ids: ids of phases of the previous block.
        max_words: of the sentence.
    """
    if not phases:
        return BlockText(f"{STILL_TEXT}.", (), ())
    kept, use_short = list(phases), False
    sentence = _join(kept, ongoing_ids, use_short=use_short)
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
        sentence = _join(kept, ongoing_ids, use_short=use_short)
    truncated = truncate_words(sentence, max_words)
    if truncated != sentence:
        lost.append(kept[0].phase_id)
    return BlockText(_with_full_stop(truncated), tuple(p.phase_id for p in kept), tuple(dict.fromkeys(lost)))


def _join(phases: Sequence[Phase], ongoing_ids: Collection[str], *, use_short: bool) -> str:
    sentence, clauses, end_us = "", set[str](), 0
    for phase in phases:
        clause = escape_markers((phase.text_short if use_short else None) or phase.text).rstrip(" .,;:。")
        clause = clause or phase.action.replace("_", " ")
        if phase.phase_id in ongoing_ids:
            clause = f"still {_lower_first(clause)}"
        if clause.casefold() not in clauses:
            link = "" if not sentence else ", then " if phase.start_us >= end_us else ", and "
            sentence += link + (_lower_first(clause) if link else clause)
            clauses.add(clause.casefold())
        end_us = max(end_us, phase.end_us)
    return sentence


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
