"""The JSON object inside a reply, and repairs of small deviations whose meaning is unambiguous.

Around the object: reasoning (also with only the end tag `</think>`), a code fence, prose before or after, a list with
one item. Inside it: a missing key whose value may be null, an additional key, a time such as "0.4s" or "00:00.4". Each
is logged as a repair. Broken JSON is never repaired: that would invent a bracket or a number.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from xsheet.schemas.annotation import Repair

_THOUGHTS_END = "</think>"
_FENCE = re.compile(r"```[a-zA-Z]*\s*(?=[\[{])")
_SECONDS = re.compile(r"\s*(\d{1,5}(?:\.\d{1,6})?)\s*(?:s|sec|secs|seconds?)?\s*")
_CLOCK = re.compile(r"\s*(?:(\d{1,2}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,6})?)\s*")
_MAX_STARTS = 20  # braces at which the object may begin: bounds the time that a hostile reply costs
TIME_FIELDS = ("start_s", "end_s")


def extract_object(text: str) -> tuple[dict[str, Any], list[Repair]]:
    """The one object of a reply, and what was removed around it.

    Raises:
        ValueError: no object, broken JSON, a duplicate key, a constant, or several objects.
        RecursionError: nested too deeply.
    """
    repairs: list[Repair] = []
    thoughts, mark, answer = text.rpartition(_THOUGHTS_END)
    if mark and "{" in answer:
        repairs.append(_unwrap("thoughts", len(thoughts) + len(mark), reason="text before the answer"))
        text = answer
    stripped = text.strip()
    if stripped.startswith("<think>"):
        raise ValueError("a reasoning block without its end")
    if not stripped.startswith(("{", "[")):
        fence = _FENCE.search(stripped)
        what = "fence" if fence else "prose"
        start = fence.end() if fence else next(_object_starts(stripped), 0)
        end = stripped.rfind("```") if fence else len(stripped)
        inside = stripped[start : end if end > start else len(stripped)]
        if inside != stripped:
            reason = "code block around the answer" if fence else "text before the answer"
            repairs.append(_unwrap(what, len(stripped) - len(inside), reason=reason))
        stripped = inside.strip()
    value, end = _DECODER.raw_decode(stripped)
    rest = stripped[end:].strip()
    if rest:
        if "{" in rest:
            raise ValueError("a second object after the first")
        repairs.append(_unwrap("prose", len(rest), reason="text after the answer"))
    if isinstance(value, list) and len(value) == 1:
        repairs.append(_unwrap("list", 2, reason="a list of one answer"))
        value = value[0]
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__}")
    return value, repairs


def mend_fields(
    value: dict[str, Any], *, path: str, known: Collection[str], nullable: Collection[str]
) -> tuple[dict[str, Any], list[Repair]]:
    """The object with exactly the known keys where that needs no guess, and one repair per change.

    Args:
        value: of the reply.
        path: of the object, for the repairs; empty at the root.
        known: keys of the schema; others are dropped.
        nullable: keys that may be null; absent ones become null.
    """
    repairs: list[Repair] = []
    mended = {}
    for key, entry in value.items():
        at = f"{path}/{key}" if path else key
        if key not in known:
            repairs.append(Repair(op="drop", path=at[:200], before=str(entry)[:200], reason="no field of the schema"))
            continue
        seconds = _seconds(entry) if key in TIME_FIELDS else None
        if seconds is not None:
            repairs.append(Repair(op="set", path=at, before=str(entry), after=str(seconds), reason="time in words"))
        mended[key] = entry if seconds is None else seconds
    for key in nullable:
        if key not in mended:
            at = f"{path}/{key}" if path else key
            repairs.append(Repair(op="set", path=at, after="null", reason="a missing field that may be null"))
            mended[key] = None
    return mended, repairs


def _seconds(entry: object) -> float | None:
    """Seconds of a text such as "0.4s" or "00:00.4"; None for anything else."""
    if not isinstance(entry, str):
        return None
    if match := _SECONDS.fullmatch(entry):
        return float(match[1])
    if match := _CLOCK.fullmatch(entry):
        return 3600.0 * int(match[1] or 0) + 60.0 * int(match[2]) + float(match[3])
    return None


def _object_starts(text: str) -> Iterator[int]:
    """Positions at which an object decodes; prose may hold braces of its own."""
    at = -1
    for _ in range(_MAX_STARTS):
        at = text.find("{", at + 1)
        if at < 0:
            return
        try:
            _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        yield at


def _unwrap(what: str, characters: int, *, reason: str) -> Repair:
    return Repair(op="unwrap", path="", before=f"{what}, {characters} characters", reason=reason)


def _refuse_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json would silently keep the last of two equal keys.
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a duplicate key")
    return values


def _refuse_constant(name: str) -> float:
    raise ValueError(f"the constant {name}")


_DECODER = json.JSONDecoder(object_pairs_hook=_refuse_duplicate_keys, parse_constant=_refuse_constant)
