"""Qwen2.5-VL, Qwen3-VL, Qwen2.5-Omni and Qwen3-Omni in process: a VlmClient over transformers.

    client = QwenClient(QwenSettings(model=Path("Qwen3-VL-8B-Instruct")))
    for response in client(requests):
        ...

Input is frames and text, for Qwen-Omni also sound; of Qwen-Omni only the part that reads and writes text is loaded.
Importing this module loads neither torch nor transformers.
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
    """A VlmClient. The constructor stores settings; `open` or the first call loads the weights on the worker."""

    def __init__(self, settings: QwenSettings) -> None:
        self._settings = settings
        self._model: QwenModel | None = None

    def open(self) -> None:
        """Load the weights.

        Raises:
            ConfigError: the folder holds no model of these families.
            RunError: the extra is not installed, or the weights do not fit.
        """
        folder = QwenFolder.from_path(self._settings.model)
        try:
            import_torchvision()
            import qwen_vl_utils  # noqa: F401, PLC0415 - fails here, not at the first clip

            from xsheet.annotate.vlm.qwen.engine import QwenModel  # noqa: PLC0415 - heavy, and optional
        except ImportError as error:
            raise RunError(
                where="annotator qwen",
                expected="the packages of the extra 'vlm'",
                got=f"no module {error.name!r}",
                hint=install_extra("vlm"),
            ) from error
        self._model = QwenModel(folder, self._settings)

    def __call__(self, requests: Sequence[VlmRequest], /) -> Iterator[VlmResponse]:
        """Yield one response per request; requests of the same clip and reply length share batches."""
        if self._model is None:
            self.open()
        assert self._model is not None
        # The processors of models with audio input take one frame rate for a whole batch.
        max_size = 1 if self._model.family.has_audio_input else self._settings.batch_size
        for batch in _batches(requests, max_size=max_size):
            yield from self._model(batch)


def _batches(requests: Sequence[VlmRequest], *, max_size: int) -> Iterator[list[VlmRequest]]:
    """Batches of requests with equal reply length and similar input length."""
    batch: list[VlmRequest] = []
    for request in sorted(requests, key=_batch_sort_key):
        if batch and (len(batch) == max_size or request.sampling.max_tokens != batch[0].sampling.max_tokens):
            yield batch
            batch = []
        batch.append(request)
    if batch:
        yield batch


def _batch_sort_key(request: VlmRequest) -> tuple[int, float, str]:
    selection = request.frame_selection
    return (
        request.sampling.max_tokens,
        selection.frames * selection.fps if selection else 0.0,
        os.fspath(selection.media) if selection else "",
    )
