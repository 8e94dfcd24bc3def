"""Word times as speech recognisers and aligners write them.

    [{"word": "hello", "start_s": 1.2, "end_s": 1.5}]                       a list of words, also with start and end
    {"segments": [{"words": [{"word": "hello", "start": 1.2, "end": 1.5}]}]}    WhisperX, faster-whisper
    [{"start": 0.0, "words": [...]}]                                            segments of faster-whisper as a list
    File type = "ooTextFile" ...                                                TextGrid of the Montreal Forced Aligner

Times are seconds of the source video. A word without times (WhisperX does not align numerals) is left out.
"""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MAX_WORDS = 1_000_000
_TIER = re.compile(r'item \[\d+\]:\s*class = "IntervalTier"\s*name = "([^"]*)"(.*?)(?=item \[\d+\]:|\Z)', re.DOTALL)
_INTERVAL = re.compile(r'xmin = ([\d.]+)\s*xmax = ([\d.]+)\s*text = "((?:[^"]|"")*)"')
_SILENCES = {"", "<eps>", "sil", "sp", "spn"}


class TimedWord(BaseModel):
    """One word, in seconds of the source video."""

    # Recognisers add scores and speakers, so other keys are ignored.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    word: Annotated[str, Field(max_length=100)]
    start_s: Annotated[float, Field(ge=0, le=1e6, validation_alias=AliasChoices("start_s", "start"))]
    end_s: Annotated[float, Field(ge=0, le=1e6, validation_alias=AliasChoices("end_s", "end"))]


_WORDS = TypeAdapter(Annotated[list[TimedWord], Field(max_length=MAX_WORDS)])


def parse_words(text: str) -> list[TimedWord]:
    """The words of a column `words`, in the order given.

    Raises:
        ValueError: none of the forms; the message says what was expected and where.
    """
    if text.lstrip().startswith(("File type", '"ooTextFile"', "\ufeffFile type")):
        return _WORDS.validate_python(list(_text_grid_words(text)))
    try:
        rows = list(_json_words(json.loads(text)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"words: Invalid JSON, {error}; expected a list of objects with word, start_s and end_s"
        ) from None
    try:
        return _WORDS.validate_python(rows)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        location = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise ValueError(f"words{location}: {first['msg']}; expected objects with word, start_s and end_s") from None


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


def _text_grid_words(text: str) -> Iterator[dict[str, Any]]:
    tiers = dict(_TIER.findall(text))
    names = [name for name in tiers if name.lower() == "words" or name.lower().endswith("- words")]
    if not names:
        raise ValueError(f"words: expected an interval tier 'words' in the TextGrid, got {', '.join(tiers) or 'none'}")
    for name in names:
        for start, end, word in _INTERVAL.findall(tiers[name]):
            if word.strip().lower() not in _SILENCES:
                yield {"word": word.replace('""', '"'), "start_s": float(start), "end_s": float(end)}
