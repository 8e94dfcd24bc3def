"""What is a URL of a store, and where this machine keeps copies."""

import os
from pathlib import Path

SCHEMES = ("s3", "gs", "az", "hf")
CACHE_VARIABLE = "XSHEET_CACHE"


def is_url(text: str) -> bool:
    """Whether a text names something in an object store."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme in SCHEMES


def cache_folder() -> Path:
    """Folder of fetched videos and copies of sets: $XSHEET_CACHE, or `xsheet` below the cache of this user."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "xsheet"
