"""Words of the training string. Text of models and reviewers is data: it can be neither a marker nor a control code."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Base, Phase

STILL = "keeps still"

_PEOPLE = re.compile(r"\b(woman|man|girl|boy|lady|gentleman|child|person)\b", re.IGNORECASE)
_DOES: dict[vocab.Speaking, str] = {
    "speaking": "is speaking",
    "listening": "is listening",
    "silent": "is silent",
    "mixed": "is speaking and listening",
}
_BRACKETS = str.maketrans("[]", "()")
_FORGED = re.compile(r"(phase)-(?=\d)", re.IGNORECASE)
# A letter of a script without spaces is a word, and so is every started run of 20 letters: limits bound any text.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{1,20}")
_STOPS = (".", "!", "?", "。", "！", "？")


@dataclass(frozen=True, slots=True)
class BaseText:
    """The base block, and whether it lost words."""

    text: str
    shortened: bool


@dataclass(frozen=True, slots=True)
class BlockText:
    """The sentence of a block."""

    text: str
    named: tuple[str, ...]  # ids of the phases it names
    shortened: tuple[str, ...]  # ids of phases that lost words or were left out


def brief_caption(base: Base) -> str:
    """The caption of stage 1, "A woman is speaking.": one noun of a closed list, so that nobody can be named."""
    found = _PEOPLE.search(base.subject)
    return f"A {found.group().lower() if found else 'person'} {_DOES[base.speaking]}."


def base_text(base: Base, *, most_words: int) -> BaseText:
    """The base block, cut after the last whole sentence that fits, or else in the sentence."""
    whole = clean(base.text) or brief_caption(base)
    kept = fit(whole, most_words)
    if kept != whole and not kept.endswith(_STOPS) and (stop := max(kept.rfind(f"{mark} ") for mark in ".!?")) > 0:
        kept = kept[: stop + 1]
    return BaseText(_ended(kept), kept != whole)


def block_text(phases: Sequence[Phase], *, going_on: Collection[str], most_words: int) -> BlockText:
    """One sentence that names the phases in order; simultaneous ones are joined by "and", later ones by "then".

    Where it is too long, short texts are taken; then the shortest phases are left out; then the sentence is cut.

    Args:
        phases: what the block names, sorted as the contract asks; none = keeps still.
        going_on: ids of phases that the block before has named already.
        most_words: of the sentence.
    """
    if not phases:
        return BlockText(f"{STILL}.", (), ())
    kept, short = list(phases), False
    sentence = _join(kept, going_on, short=short)
    lost: list[str] = []
    while word_count(sentence) > most_words and not (short and len(kept) == 1):
        if not short:
            short = True
            lost = [p.phase_id for p in kept if p.text_short]
        else:
            # Of equals the last one goes.
            least = min(reversed(kept), key=lambda p: p.span.duration_us)
            kept.remove(least)
            lost.append(least.phase_id)
        sentence = _join(kept, going_on, short=short)
    fitting = fit(sentence, most_words)
    if fitting != sentence:
        lost.append(kept[0].phase_id)
    return BlockText(_ended(fitting), tuple(p.phase_id for p in kept), tuple(dict.fromkeys(lost)))


def _join(phases: Sequence[Phase], going_on: Collection[str], *, short: bool) -> str:
    sentence, said, end_us = "", set[str](), 0
    for phase in phases:
        clause = clean((phase.text_short if short else None) or phase.text).rstrip(" .,;:。")
        clause = clause or phase.action.replace("_", " ")
        if phase.phase_id in going_on:
            clause = f"still {_lower(clause)}"
        if clause.casefold() not in said:
            link = "" if not sentence else ", then " if phase.start_us >= end_us else ", and "
            sentence += link + (_lower(clause) if link else clause)
            said.add(clause.casefold())
        end_us = max(end_us, phase.end_us)
    return sentence


def clean(text: str) -> str:
    """Text on one line that cannot pass for a marker: no control or format codes, no square brackets, no "Phase-2"."""
    visible = (c if unicodedata.category(c)[0] not in "CZ" else " " for c in unicodedata.normalize("NFKC", text))
    return _FORGED.sub(r"\1 ", " ".join("".join(visible).split()).translate(_BRACKETS))


def word_count(text: str) -> int:
    """Words of a text; see _WORD for scripts without spaces."""
    return len(_word_ends(text))


def fit(text: str, most_words: int) -> str:
    """The text up to its last word that fits."""
    ends = _word_ends(text)
    return text if len(ends) <= most_words else text[: ends[most_words - 1]]


def _word_ends(text: str) -> list[int]:
    return [found.end() for found in _WORD.finditer(text.rstrip("".join(_STOPS)))]


def _lower(clause: str) -> str:
    """'She nods' → 'she nods' inside a sentence, but 'OK sign' stays."""
    first = clause.split(" ", 1)[0]
    return clause[0].lower() + clause[1:] if first[1:].islower() or len(first) == 1 else clause


def _ended(text: str) -> str:
    return text if text.endswith(_STOPS) else f"{text.rstrip(' ,;:')}."
