"""Qwen2.5-VL and Qwen3-VL in process: a Chat over transformers.

    chat = QwenClient(QwenSettings(model=Path("Qwen3-VL-8B-Instruct")))
    for said in chat(turns):
        ...

Qwen-VL hears nothing: only pictures and text go in. Importing this module loads neither torch nor transformers.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from xsheet.annotate.vlm.client import VlmRequest, VlmResponse
from xsheet.annotate.vlm.qwen.folder import QwenFolder, QwenSettings
from xsheet.schemas.errors import RunError, install_extra
from xsheet.torchvision_compat import import_torchvision

if TYPE_CHECKING:
    from xsheet.annotate.vlm.qwen.engine import QwenModel


class QwenClient:
    """A Chat. Stores its settings; the weights are loaded by `open`, or by the first call, on the worker."""

    def __init__(self, settings: QwenSettings) -> None:
        self._settings = settings
        self._model_record: QwenModel | None = None

    def open(self) -> None:
        """Load the weights.

        Raises:
            ConfigError: the folder holds no model of these families.
            RunError: the extra is not installed, or the weights do not fit.
        """
        folder = QwenFolder.from_path(self._settings.model)
        try:
            import_torchvision()
            import qwen_vl_utils  # noqa: F401, PLC0415 - to be missed now, not at the first clip

            from xsheet.annotate.vlm.qwen.engine import QwenModel  # noqa: PLC0415 - heavy, and optional
        except ImportError as error:
            raise RunError(
                where="annotator qwen",
                expected="the packages of the extra 'vlm'",
                got=f"no module {error.name!r}",
                hint=install_extra("vlm"),
            ) from error
        self._model_record = QwenModel(folder, self._settings)

    def __call__(self, requests: Sequence[VlmRequest], /) -> Iterator[VlmResponse]:
        """One Said to every turn; those about the same film and of the same reply length share batches."""
        if self._model_record is None:
            self.open()
        assert self._model_record is not None
        for batch in _batches(requests, max_size=self._settings.batch_size):
            yield from self._model_record(batch)


def _batches(requests: Sequence[VlmRequest], *, max_size: int) -> Iterator[list[VlmRequest]]:
    """Turns that wait for each other little: as long a reply, as much to show."""
    batch: list[VlmRequest] = []
    for turn in sorted(requests, key=_batch_sort_key):
        if batch and (len(batch) == max_size or turn.sampling.max_tokens != batch[0].sampling.max_tokens):
            yield batch
            batch = []
        batch.append(turn)
    if batch:
        yield batch


def _batch_sort_key(request: VlmRequest) -> tuple[int, float, str]:
    film = request.frame_selection
    return (request.sampling.max_tokens, film.frames * film.fps if film else 0.0, os.fspath(film.media) if film else "")
