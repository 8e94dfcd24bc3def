"""Word times as speech recognisers, aligners and caption tools write them.

    [{"word": "hello", "start_s": 1.2, "end_s": 1.5}]                       a list of words, also with start and end
    {"segments": [{"words": [{"word": "hello", "start": 1.2, "end": 1.5}]}]}    WhisperX, faster-whisper
    [{"start": 0.0, "words": [...]}]                                            segments of faster-whisper as a list
    File type = "ooTextFile" ...        Praat TextGrid, long or short, as the Montreal Forced Aligner writes it; a tier
                                        `phones` gives the sounds of the words
    WEBVTT ...                          with a time in front of each word (<00:00:01.200>), with the spoken word
                                        underlined (whisper --highlight_words), or with one word per cue

Times are seconds of the source video. A word without times (WhisperX does not align numerals) is left out.
"""

import html
import re
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from xsheet.schemas.files import decode_json

MAX_WORDS = 1_000_000
_FORMS = "a list of words, an object with segments or words, a TextGrid or WebVTT"
_GRID_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![^\s=])([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?=\s|\Z)')
_SILENCES = {"", "<eps>", "sil", "sp", "spn"}
_MAX_CUE_CHARS = 10_000  # a caption has 80
_CUE = re.compile(
    r"^[ \t]*((?:\d+:)?\d\d:\d\d[.,]\d{3})[ \t]+-->[ \t]+((?:\d+:)?\d\d:\d\d[.,]\d{3})[^\n]*$", re.MULTILINE
)
_INLINE_TIME = re.compile(r"<((?:\d+:)?\d\d:\d\d[.,]\d{3})>")
_UNDERLINED = re.compile(r"<u>([^<]*)</u>")
_TAG = re.compile(r"<[^<>]*>")
# Recognisers add scores and speakers, so other keys are ignored.
_ANY_KEYS = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)
_Seconds = Annotated[float, Field(ge=0, le=1e6)]


class TimedPhone(BaseModel):
    """One speech sound, in seconds of the source video."""

    model_config = _ANY_KEYS

    name: Annotated[str, Field(max_length=20)]
    start_s: _Seconds
    end_s: _Seconds


class TimedWord(BaseModel):
    """One word, in seconds of the source video."""

    model_config = _ANY_KEYS

    word: Annotated[str, Field(max_length=100)]
    start_s: Annotated[float, Field(ge=0, le=1e6, validation_alias=AliasChoices("start_s", "start"))]
    end_s: Annotated[float, Field(ge=0, le=1e6, validation_alias=AliasChoices("end_s", "end"))]
    phones: Annotated[list[TimedPhone], Field(max_length=100)] = Field(default_factory=list)


_WORDS = TypeAdapter(Annotated[list[TimedWord], Field(max_length=MAX_WORDS)])


def parse_words(text: str) -> list[TimedWord]:
    """The words of a column `words` or of a file, in the order given.

    Raises:
        ValueError: none of the forms; the message says what was expected and where.
    """
    text = text.removeprefix("\ufeff")
    try:
        if text.lstrip().startswith(("File type", '"ooTextFile"')):
            return _WORDS.validate_python(list(_text_grid_words(text)))
        if text.lstrip().startswith("WEBVTT"):
            return _WORDS.validate_python(list(_webvtt_words(re.sub(r"\r\n?", "\n", text))))
        return _WORDS.validate_python(list(_json_words(_json_value(text))))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        location = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise ValueError(f"words{location}: {first['msg']}; expected objects with word, start_s and end_s") from None


# ---- JSON


def _json_value(text: str) -> Any:
    try:
        return decode_json(text)
    except ValueError as error:
        raise ValueError(f"words: Invalid JSON, {error}; expected {_FORMS}") from None


def _json_words(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = value.get("word_segments", value.get("segments", value.get("words")))
    if not isinstance(value, list):
        raise ValueError("words: expected a list of words, or an object with segments or words")
    for row in value:
        if isinstance(row, dict) and isinstance(row.get("words"), list):
            yield from _with_times(row["words"])
        else:
            yield from _with_times([row])


def _with_times(rows: list[Any]) -> Iterator[Any]:
    for row in rows:
        is_untimed = isinstance(row, dict) and "word" in row and not row.keys() & {"start", "start_s", "end", "end_s"}
        if not is_untimed:
            yield row


# ---- TextGrid


def _text_grid_words(text: str) -> Iterator[dict[str, Any]]:
    tiers = _text_grid_tiers(text)
    names = [name for name in tiers if name.lower() == "words" or name.lower().endswith("- words")]
    if not names:
        raise ValueError(f"words: expected an interval tier 'words' in the TextGrid, got {', '.join(tiers) or 'none'}")
    for name in names:
        sounds = name.lower().removesuffix("words") + "phones"
        phones = iter(next((rows for other, rows in tiers.items() if other.lower() == sounds), ()))
        phone = next(phones, None)
        for start, end, word in tiers[name]:
            inside = []
            while phone is not None and phone[0] < end:
                if phone[0] >= start and phone[2].strip().lower() not in _SILENCES:
                    inside.append({"name": phone[2], "start_s": phone[0], "end_s": phone[1]})
                phone = next(phones, None)
            if word.strip().lower() not in _SILENCES:
                yield {"word": word, "start_s": start, "end_s": end, "phones": inside}


def _text_grid_tiers(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """Interval tiers by name. Praat reads quoted strings and free-standing numbers, and takes all else as comment.

    Raises:
        ValueError: the numbers and strings do not follow the format.
    """
    tokens = iter(
        match[1].replace('""', '"') if match[1] is not None else float(match[2]) for match in _GRID_TOKEN.finditer(text)
    )
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    if list(islice(tokens, 2)) != ["ooTextFile", "TextGrid"]:
        raise ValueError("words: expected a TextGrid, got another Praat file")
    _, _, count = (_number(tokens) for _ in range(3))
    for _ in range(int(min(count, MAX_WORDS))):
        kind, name = _token(tokens), str(_token(tokens))
        _, _, entries = (_number(tokens) for _ in range(3))
        rows = tiers.setdefault(name, []) if kind == "IntervalTier" else []
        for _ in range(int(min(entries, MAX_WORDS))):
            start = _number(tokens)
            end = _number(tokens) if kind == "IntervalTier" else start
            rows.append((start, end, str(_token(tokens))))
    return tiers


def _token(tokens: Iterator[str | float]) -> str | float:
    token = next(tokens, None)
    if token is None:
        raise ValueError("words: expected a whole TextGrid, got its first part")
    return token


def _number(tokens: Iterator[str | float]) -> float:
    token = _token(tokens)
    if isinstance(token, str):
        raise ValueError(f"words: expected a number in the TextGrid, got {token[:40]!r}")
    return token


# ---- WebVTT


def _webvtt_words(text: str) -> Iterator[dict[str, Any]]:
    cues = list(_CUE.finditer(text))
    ends = [following.start() for following in cues[1:]] + [len(text)]
    bodies = [
        text[cue.end() : end].strip("\n").split("\n\n")[0][:_MAX_CUE_CHARS] for cue, end in zip(cues, ends, strict=True)
    ]
    is_underlined = any(_UNDERLINED.search(body) for body in bodies)
    has_inline_times = any(_INLINE_TIME.search(body) for body in bodies)
    for number, (cue, body) in enumerate(zip(cues, bodies, strict=True), start=1):
        start_s, end_s = _clock_seconds(cue[1]), _clock_seconds(cue[2])
        if is_underlined:  # each cue shows the whole line, with the word of that moment underlined; or a pause
            found = [(word, start_s, end_s) for word in _UNDERLINED.findall(body)[:1]]
        elif has_inline_times:
            found = list(_inline_words(body, start_s, end_s))
        elif (count := len(_plain(body).split())) > 1:
            raise ValueError(
                f"words: expected a time for each word, got {count} words in cue {number}; give the text in the column "
                "'transcript' and run `xsheet annotate words`"
            )
        else:
            found = [(body, start_s, end_s)]
        for word, start, end in found:
            if spoken := _plain(word):
                yield {"word": spoken, "start_s": start, "end_s": end}


def _inline_words(body: str, start_s: float, end_s: float) -> Iterator[tuple[str, float, float]]:
    """The words of a cue with times inside; a cue or line without them repeats an earlier one (rolling captions)."""
    text, *timed = _INLINE_TIME.split(body)  # text and times in turn
    if timed:
        times = [start_s, *map(_clock_seconds, timed[::2]), end_s]
        pieces = [text.rsplit("\n", 1)[-1], *(piece.split("\n", 1)[0] for piece in timed[1::2])]
        for piece, (start, end) in zip(pieces, pairwise(times), strict=True):
            yield piece, start, end


def _plain(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", text)).split())


def _clock_seconds(stamp: str) -> float:
    seconds = 0.0
    for part in stamp.replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds
