"""torchvision beside a torch without CUDA: the registry's builds import only where their CUDA operators load.

Qwen's processors import torchvision, for resizing. Its import describes two operators (non-maximum suppression) to
torch that its own library would have brought; beside a CPU build of torch that library cannot load, and the import ends
with "operator torchvision::nms does not exist". Naming the operators beforehand lets it pass. They are never called.
"""

import functools
import importlib
import sys
from typing import Any

_MISSING = "operator torchvision::nms does not exist"
_OPERATORS = ("nms", "qnms")


def import_torchvision() -> None:
    """Import torchvision; where exactly this gap is in the way, bridge it. To be called before transformers' models.

    Raises:
        ImportError: torch or torchvision is not installed.
        RuntimeError: torchvision fails for another reason.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        _define_operators()
        importlib.import_module("torchvision")


@functools.cache  # the operators last as long as this object
def _define_operators() -> Any:
    library = importlib.import_module("torch.library").Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
