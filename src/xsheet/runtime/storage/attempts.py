"""Requests to a store with retries; errors of its client as ConfigError."""

import errno
import json
import time
from collections.abc import Callable
from typing import TypeVar

from pyarrow import ArrowInvalid

from xsheet.schemas.errors import ConfigError, XsheetError

TRIES = 4
NOTHING = "nothing"
"""What an error got where no object was."""
FIRST_PAUSE_S = 0.5  # before the second try; four times as long before each later one
_DENIED = (
    "access_denied", "access denied", "invalid_access_key", "signature_does_not_match", "unrecognized_client",
    "missing_authentication", "invalid_client_token", "expired_token", "unauthenticated", "permission", "forbidden",
    "credential", "unauthorized", "http response code: 403", "http response code: 401", "oauth2 access token",
)  # fmt: skip
_UNRESOLVED = ("could not resolve", "couldn't resolve", "name resolution", "name or service not known")
_MISSING = ("no_such_bucket", "containernotfound")  # other stores raise FileNotFoundError
LOGIN = {
    "s3": "AWS_ACCESS_KEY_ID or AWS_PROFILE", "gs": "GOOGLE_APPLICATION_CREDENTIALS or `gcloud auth`",
    "az": "AZURE_STORAGE_KEY or `az login`", "hf": "HF_TOKEN or `hf auth login`",
}  # fmt: skip

T = TypeVar("T")


def tried(step: Callable[[], T], url: str, *, is_first: bool = False) -> T:
    """Result of a function, with retries; errors of the stores become ConfigError.

    Args:
        step: the request.
        url: where, for the error.
        is_first: a command begins with this request, so a host name that does not resolve is final: there is no
            network, or the name is wrong. In later requests it is retried.
    """
    pause_s = FIRST_PAUSE_S
    for last in (*[False] * (TRIES - 1), True):
        try:
            return step()
        except XsheetError:
            raise
        except Exception as error:  # each store has errors of its own
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise  # of this machine
            final = _is_missing(error) or _is_misused(error) or _is_denied(error)
            final = final or (is_first and _is_unresolved(error))
            if last or final:
                raise _store_error(url, error) from error
        time.sleep(pause_s)
        pause_s *= 4
    raise AssertionError("the last try returns or raises")


def _store_error(url: str, error: Exception) -> ConfigError:
    expected, got, hint = "an answer of the store", _short(error), "check network and endpoint, then run again"
    if _is_missing(error):
        expected, got, hint = "an object or folder", NOTHING, nothing_hint(url)
    elif _is_misused(error):
        expected, hint = "the URL of a file or folder of the store", "check the URL"
    elif _is_denied(error):
        expected = "credentials with access"
        hint = f"set them up as for the store's own tools: {LOGIN[url.partition('://')[0]]}"
    return ConfigError(where=url, expected=expected, got=got, hint=hint)


def nothing_hint(url: str) -> str:
    """What to do where nothing was found: the Hub hides private repositories from strangers."""
    more = f"; a private repository needs {LOGIN['hf']}" if url.startswith("hf://") else ""
    return f"check the URL{more}"


def _is_missing(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or any(mark in str(error).casefold() for mark in _MISSING)


def _is_misused(error: Exception) -> bool:
    """Whether a client refused the URL, as huggingface_hub does, rather than an answer."""
    return isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError | UnicodeError | ArrowInvalid)


def _is_denied(error: Exception) -> bool:
    text = f"{type(error).__name__} {error}".casefold()
    return isinstance(error, PermissionError) or any(mark in text for mark in _DENIED)


def _is_unresolved(error: Exception) -> bool:
    return any(mark in str(error).casefold() for mark in _UNRESOLVED)


def _short(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
