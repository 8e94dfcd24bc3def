"""Requests to a store with retries; errors of its client as ConfigError."""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from xsheet.schemas.errors import ConfigError, XsheetError

TRIES = 4
FIRST_PAUSE_S = 0.5  # before the second try; four times as long before each later one
_DENIED = (
    "access_denied", "access denied", "invalid_access_key", "signature_does_not_match", "unrecognized_client",
    "missing_authentication", "invalid_client_token", "expired_token", "unauthenticated", "permission", "forbidden",
    "credential", "unauthorized", "http response code: 403", "http response code: 401", "oauth2 access token",
)  # fmt: skip
_UNRESOLVED = ("could not resolve", "couldn't resolve", "name resolution", "name or service not known")
_LOGIN = {
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
            final = isinstance(error, FileNotFoundError) or _is_denied(error) or (is_first and _is_unresolved(error))
            if last or final:
                raise _store_error(url, error) from error
        time.sleep(pause_s)
        pause_s *= 4
    raise AssertionError("the last try returns or raises")


def _store_error(url: str, error: Exception) -> ConfigError:
    expected, got, hint = "an answer of the store", _short(error), "check network and endpoint, then run again"
    if isinstance(error, FileNotFoundError):
        expected, got, hint = "an object or folder", "nothing", "check the URL"
    elif _is_denied(error):
        expected = "credentials with access"
        hint = f"set them up as for the store's own tools: {_LOGIN[url.partition('://')[0]]}"
    return ConfigError(where=url, expected=expected, got=got, hint=hint)


def _is_denied(error: Exception) -> bool:
    text = f"{type(error).__name__} {error}".casefold()
    return isinstance(error, PermissionError) or any(mark in text for mark in _DENIED)


def _is_unresolved(error: Exception) -> bool:
    return any(mark in str(error).casefold() for mark in _UNRESOLVED)


def _short(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
