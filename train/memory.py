"""Running out of memory, said in one sentence that names what to lower."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from xsheet.schemas.errors import RunError


@contextmanager
def needing_memory(*, where: str, holds: str, todo: str) -> Iterator[None]:
    """RunError where the device has too little memory for what is computed in here."""
    try:
        yield
    except RuntimeError as error:
        # Of a CPU, torch says it in words only.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise RunError(where=where, expected=f"memory for {holds}", came="too little", todo=todo) from error
        raise
