"""Qwen2.5-VL and Qwen3-VL in process: a Chat over transformers.

    chat = QwenChat(QwenSettings(model=Path("Qwen3-VL-8B-Instruct")))
    for said in chat(turns):
        ...

Qwen-VL hears nothing: only pictures and text go in. Importing this module loads neither torch nor transformers.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from xsheet.annotate.vlm.client import Said, Turn
from xsheet.annotate.vlm.qwen.folder import QwenFolder, QwenSettings
from xsheet.schemas.errors import RunError, install_extra
from xsheet.torchvision_compat import bridge

if TYPE_CHECKING:
    from xsheet.annotate.vlm.qwen.engine import QwenEngine


class QwenChat:
    """A Chat. Stores its settings; the weights are loaded by `open`, or by the first call, on the worker."""

    def __init__(self, settings: QwenSettings) -> None:
        self._settings = settings
        self._engine: QwenEngine | None = None

    def open(self) -> None:
        """Load the weights.

        Raises:
            ConfigError: the folder holds no model of these families.
            RunError: the extra is not installed, or the weights do not fit.
        """
        folder = QwenFolder.of(self._settings.model)
        try:
            bridge()
            import qwen_vl_utils  # noqa: F401, PLC0415 - to be missed now, not at the first clip

            from xsheet.annotate.vlm.qwen.engine import QwenEngine  # noqa: PLC0415 - heavy, and optional
        except ImportError as error:
            raise RunError(
                where="annotator qwen",
                expected="the packages of the extra 'vlm'",
                came=f"no module {error.name!r}",
                todo=install_extra("vlm"),
            ) from error
        self._engine = QwenEngine(folder, self._settings)

    def __call__(self, turns: Sequence[Turn], /) -> Iterator[Said]:
        """One Said to every turn; those about the same film and of the same reply length share batches."""
        if self._engine is None:
            self.open()
        assert self._engine is not None
        for batch in _batches(turns, at_most=self._settings.batch):
            yield from self._engine(batch)


def _batches(turns: Sequence[Turn], *, at_most: int) -> Iterator[list[Turn]]:
    """Turns that wait for each other little: as long a reply, as much to show."""
    batch: list[Turn] = []
    for turn in sorted(turns, key=_bulk):
        if batch and (len(batch) == at_most or turn.draw.max_tokens != batch[0].draw.max_tokens):
            yield batch
            batch = []
        batch.append(turn)
    if batch:
        yield batch


def _bulk(turn: Turn) -> tuple[int, float, str]:
    film = turn.film
    return (turn.draw.max_tokens, film.frames * film.fps if film else 0.0, os.fspath(film.media) if film else "")
