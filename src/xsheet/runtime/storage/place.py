"""Recognise URLs of object stores, and find the folder for local copies."""

import os
import re
from pathlib import Path

SCHEMES = ("s3", "gs", "az", "hf")
CACHE_VARIABLE = "XSHEET_CACHE"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(text: str) -> bool:
    """Whether a text is the URL of an object store."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme in SCHEMES


def is_other_url(text: str) -> bool:
    """Whether a text is a URL that xsheet does not read."""
    return bool(_URL.match(text)) and not is_url(text)


def cache_folder() -> Path:
    """Folder of fetched videos and copies of sets: $XSHEET_CACHE, or `xsheet` in the user's cache folder."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "xsheet"
