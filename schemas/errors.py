"""The four kinds of error. Each says where, what was expected, what it got, and a hint.

ConfigError    a setting or an argument is wrong; the command exits with code 2 before any work.
ContractError  a record, table or set violates the data contract.
MediaError     one input file cannot be used; it becomes a row and the run continues.
RunError       the run cannot continue (disk full, output in use, a worker that does not start).
"""

from typing import Any, Literal, Self

MediaReason = Literal[
    "missing",  # no such file
    "not_a_file",  # a folder, device, pipe or socket
    "outside_root",  # resolves to a place outside the declared root, or is a URL or protocol form
    "unreadable",  # the operating system refuses to read it
    "empty",  # zero bytes
    "not_media",  # magic bytes of none of the allowed containers
    "no_video",  # opens, but holds no video stream
    "no_audio",  # opens, but holds no audio stream where one is needed
    "broken_header",  # the container cannot be opened, or its metadata is inconsistent
    "fetch_failed",  # an object of a store is absent, truncated, or changed since it was listed
    "bad_segment",  # a segment of the manifest lies outside the video, or its crop outside the picture
    "over_limit",  # a limit on pixels, duration, rate, streams, frames or memory is exceeded
    "decode_failed",  # the header is valid, but no frame can be decoded
    "encode_failed",  # the clip cannot be encoded
]


class XsheetError(Exception):
    """An error a user can act on; str() is one line."""

    def __init__(self, *, where: str, expected: str, got: str, hint: str) -> None:
        super().__init__(where, expected, got, hint)
        self.where = where
        self.expected = expected
        self.got = got
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, got {self.got}; {self.hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only constructors do not survive pickling by default, and errors cross processes.
        return (_rebuild, (type(self), self.__dict__.copy()))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild the error from its attributes."""
        return cls(**state)


def _rebuild(kind: type[XsheetError], state: dict[str, Any]) -> XsheetError:
    return kind.from_state(state)


class ConfigError(XsheetError):
    """A setting or an argument is wrong."""


class ContractError(XsheetError):
    """A record, table or set violates the data contract."""


class RunError(XsheetError):
    """The run cannot continue."""


class MediaError(XsheetError):
    """One input file cannot be used; `reason` is stored in its row."""

    def __init__(self, *, reason: MediaReason, where: str, expected: str, got: str, hint: str) -> None:
        super().__init__(where=where, expected=expected, got=got, hint=hint)
        self.reason: MediaReason = reason


def install_extra(extra: str) -> str:
    """Command that installs an extra, for the hint of an error. xsheet is installed from a clone, not from PyPI."""
    return f'in a clone of xsheet: pip install -c constraints.txt ".[{extra}]"'
