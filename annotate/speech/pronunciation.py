"""From a transcript in English to words that can be pronounced: a dictionary first, else a guess from the letters.

A guess is rough. It only needs about the duration of the word, and about its first and last sounds: names and rare
words then get times accurate to some 50 ms, instead of preventing the alignment of the whole sentence.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

MAX_WORD_CHARS = 60
_NOISE = re.compile(r"\[[^\]\[]{0,100}\]|<[^<>]{0,100}>|\([^()]{0,100}\)")  # [laughs], <unk>, (music)
_PIECE = re.compile(r"\d+(?:st|nd|rd|th)\b|\d+|[^\W\d_]+(?:'[^\W\d_]+)*'?")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SYMBOLS = {"&": "and", "%": "percent", "@": "at", "+": "plus", "=": "equals"}
# Longest first; two sounds where a letter has two. ARPABET without stress, as the acoustic model has it.
_SOUNDS = {
    "tch": "CH", "igh": "AY", "eau": "OW", "sch": "SH", "tion": "SH AH N", "sion": "ZH AH N", "ough": "AO",
    "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "gh": "G", "ck": "K", "qu": "K W", "wh": "W", "ng": "NG", "kn": "N",
    "wr": "R", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "oi": "OY", "oy": "OY", "ai": "EY",
    "ay": "EY", "ei": "EY", "ey": "IY", "ie": "IY", "oa": "OW", "au": "AO", "aw": "AO", "ew": "UW", "ue": "UW",
    "er": "ER", "ir": "ER", "ur": "ER", "ar": "AA R", "or": "AO R", "ce": "S", "ci": "S IH", "cy": "S IY",
    "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K",
    "l": "L", "m": "M", "n": "N", "o": "OW", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V",
    "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
_LETTERS = re.compile("|".join(sorted(_SOUNDS, key=len, reverse=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """One word of a transcript: its text, and how it is pronounced, as one or more words of the aligner."""

    text: str  # as the transcript writes it, without punctuation around it
    parts: tuple[str, ...]  # lower case; "2021" has two or more
    guesses: tuple[tuple[str, str], ...]  # parts that the dictionary lacks, each with its sounds


def spoken_words(transcript: str, *, sounds_of: Callable[[str], str | None]) -> Iterator[SpokenWord]:
    """The words of a transcript in order; notes in brackets and lone punctuation are left out.

    Args:
        transcript: untrusted.
        sounds_of: the sounds of a word (lower case) in the dictionary; None if it lacks the word.

    Raises:
        ValueError: a word without a pronunciation, such as one in another script; the message names it.
    """
    text = unicodedata.normalize("NFC", transcript).replace("’", "'").replace("ʼ", "'")
    for token in _NOISE.sub(" ", text).split():
        pieces = list(chain.from_iterable(_pieces(token)))
        if not pieces:
            continue
        if len(token) > MAX_WORD_CHARS:
            raise ValueError(f"a word of at most {MAX_WORD_CHARS} characters, got {len(token)}: {token[:20]!r}")
        parts, guesses = list[str](), list[tuple[str, str]]()
        for piece in pieces:
            found = _in_dictionary(piece, sounds_of)
            if not found:
                found = (piece.lower(),)
                base = sounds_of(found[0].removesuffix("'s")) if found[0].endswith("'s") else None
                guesses.append((found[0], f"{base} Z" if base else guess_sounds(piece)))
            parts += found
        yield SpokenWord(text=_without_punctuation(token), parts=tuple(parts), guesses=tuple(guesses))


def guess_sounds(word: str) -> str:
    """Sounds of a word from its letters, in ARPABET with spaces between.

    Raises:
        ValueError: a letter that English does not use.
    """
    letters = _without_accents(word.lower()).replace("'", "")
    if not (letters.isascii() and letters.isalpha()):
        raise ValueError(f"words in English, got {word[:40]!r}, which has no pronunciation here")
    single = re.sub(r"([b-df-hj-np-tv-z])\1", r"\1", letters)  # a double consonant is one sound
    single = re.sub(r"(?<=[^aeiou][^aeiou])e$|(?<=[aeiouy][^aeiou])e$", "", single)  # a silent e
    return " ".join(_SOUNDS[match] for match in _LETTERS.findall(single))


def _pieces(token: str) -> Iterator[list[str]]:
    for symbol_or_text in re.split(r"([&%@+=])", token):
        if symbol_or_text in _SYMBOLS:
            yield [_SYMBOLS[symbol_or_text]]
            continue
        text = re.sub(r"(?<=\d)\.(?=\d)", " point ", re.sub(r"(?<=\d),(?=\d{3})", "", symbol_or_text))
        for piece in _PIECE.findall(text):
            if match := _ORDINAL.fullmatch(piece):
                *others, last = number_words(match[1])
                regular = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
                yield [*others, _ORDINALS.get(last, regular)]
            else:
                yield number_words(piece) if piece.isdigit() else [piece]


def number_words(digits: str) -> list[str]:
    """An integer spelled out; a year as two numbers, a long one digit by digit."""
    value = int(digits[:9])
    if not digits.isascii() or len(digits) > 6 or (len(digits) > 1 and digits[0] == "0"):
        return [_ONES[int(digit)] for digit in digits]
    if len(digits) == 4 and 15 <= value // 100 <= 19 and value % 100 >= 10:
        return [*_below_thousand(value // 100), *_below_thousand(value % 100)]
    thousands, rest = divmod(value, 1000)
    return [
        *([*_below_thousand(thousands), "thousand"] if thousands else []),
        *(_below_thousand(rest) if rest or not thousands else []),
    ]


def _below_thousand(value: int) -> list[str]:
    hundreds, rest = divmod(value, 100)
    words = [_ONES[hundreds], "hundred"] if hundreds else []
    if rest < 20:
        return words + ([_ONES[rest]] if rest or not hundreds else [])
    return [*words, _TENS[rest // 10], *([_ONES[rest % 10]] if rest % 10 else [])]


def _in_dictionary(piece: str, sounds_of: Callable[[str], str | None]) -> tuple[str, ...]:
    """Words of the dictionary for a piece; empty if there are none. A short name in capitals is spelled."""
    for word in (piece.lower(), piece.lower().rstrip("'"), _without_accents(piece.lower())):
        if sounds_of(word) is not None:
            return (word,)
    is_spelled = piece.isupper() and 1 < len(piece) <= 5 and piece.isascii() and piece.isalpha()
    return tuple(piece.lower()) if is_spelled else ()


def _without_accents(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


def _without_punctuation(token: str) -> str:
    return re.sub(r"^[^\w&%@+=$€£]+|[^\w%]+$", "", token) or token
