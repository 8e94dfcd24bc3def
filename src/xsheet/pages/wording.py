"""Numbers, durations and untrusted text as readers see them."""

from xsheet.schemas.time import US_PER_S

_MIN_PERCENT_SHARE = 0.0001  # smaller shares read "< 0.01 %"
_HOUR_S = 3600


def printable(text: str) -> str:
    """Text with control and direction-changing characters written as escapes, so that it cannot alter the display."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def readable(name: str) -> str:
    """An identifier of the vocabulary as words: 'turn head' for 'turn_head'."""
    return name.replace("_", " ")


def plural(count: int, noun: str) -> str:
    """'1 clip', '2,000 clips'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_count(count: int) -> str:
    """A count with thousands separators."""
    return f"{count:,}"


def format_duration(seconds: float) -> str:
    """A duration in hours, minutes or seconds, with three digits."""
    if seconds >= 100 * _HOUR_S:
        return f"{seconds / _HOUR_S:,.0f} h"
    if seconds >= _HOUR_S:
        return f"{seconds / _HOUR_S:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"


def format_hours(hours: float, total_hours: float = 0.0) -> str:
    """A duration given in hours; it stays in hours if the total beside it does."""
    return f"{hours:.3g} h" if 1 <= total_hours < 100 else format_duration(hours * _HOUR_S)


def format_seconds(us: int) -> str:
    """A time given in microseconds, in seconds with two decimals."""
    return f"{us / US_PER_S:.2f} s"


def format_percent(share: float) -> str:
    """A share with three digits; a share below 1 never reads as 100 %, one above 0 never as 0 %."""
    if 0 < share < _MIN_PERCENT_SHARE:
        return "< 0.01 %"
    text = f"{100 * share:.3g}"
    return f"{'> 99.9' if text == '100' and share < 1 else text} %"


def css_percent(share: float) -> str:
    """A share as a CSS length."""
    return f"{100 * share:.2f}%"
