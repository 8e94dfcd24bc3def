"""Words of a model, cleaned: what cannot be seen is taken out, talk about the medium cut off, named sides are found."""

import re
import unicodedata

from xsheet.schemas.vocab import Laterality

_MEDIUM = r"(?:video|clip|footage|recording|image sequence|images?|frames?|sequence|picture|pictures|scene|camera)"
_SHOWS = r"(?:shows?|depicts?|features?|displays?|presents?|captures?|opens? with)"
# Formulas at the start of a sentence; what follows them is what the sentence says.
_THIS_MEDIUM = (
    rf"(?:the|this|these) (?:(?:provided|given|short|entire|whole) )?{_MEDIUM}(?: (?:sequence|clip|segment))?"
)
_FORMULA = re.compile(
    rf"(?:in|throughout|across|during) {_THIS_MEDIUM}, "
    rf"|{_THIS_MEDIUM} {_SHOWS}(?: that)?:? "
    r"|(?:we|you|viewers?|one) (?:can )?(?:clearly )?see (?:that )?",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?:(?<=[.!?] )|^)(?=\S)")
_PART = r"(?:hand|arm|forearm|wrist|fist|palm|elbow|shoulder|finger|fingers|index finger|thumb|eye|eyelid|eyebrow|brow)"
_SIDED_PART = re.compile(rf"\b(left|right)[ -]{_PART}s?\b", re.IGNORECASE)


def clean_line(text: str, *, max_chars: int) -> str:
    """The text on one line without invisible characters, in composed form, cut at a word where it is too long."""
    seen = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    line = " ".join(unicodedata.normalize("NFC", seen).split())
    if len(line) <= max_chars:
        return line
    return line[: max_chars + 1].rpartition(" ")[0].rstrip() or line[:max_chars]


def strip_medium_phrases(text: str) -> str:
    """The text without formulas such as 'The video shows ...' at the start of its sentences."""
    while (shorter := "".join(map(_strip_formula, _SENTENCE.split(text)))) != text:
        text = shorter
    return text


def _strip_formula(sentence: str) -> str:
    formula = _FORMULA.match(sentence)
    if formula is None or formula.end() == len(sentence):
        return sentence
    rest = sentence[formula.end() :]
    return rest[0].upper() + rest[1:] if sentence[0].isupper() and rest[0].isascii() else rest


def find_side(text: str) -> Laterality | None:
    """The one side whose hand, arm, eye, ... the words name; None where they name none or both."""
    named: set[Laterality] = {"left" if found.lower() == "left" else "right" for found in _SIDED_PART.findall(text)}
    return named.pop() if len(named) == 1 else None
