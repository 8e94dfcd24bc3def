"""Import torchvision's PyPI build, which expects CUDA, beside a CPU-only build of torch.

Qwen's processors import torchvision, for resizing. At import, torchvision registers metadata for two operators
(non-maximum suppression) that its compiled library defines. That library needs CUDA; without it the import fails with
"operator torchvision::nms does not exist". Defining the operators beforehand lets the import pass. They are never
called.
"""

import functools
import importlib
import sys
from typing import Any

_MISSING = "operator torchvision::nms does not exist"
_OPERATORS = ("nms", "qnms")


def import_torchvision() -> None:
    """Import torchvision; if that error occurs, define the operators first. Call it before importing transformers.

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
            del sys.modules[name]  # partly imported
        _define_operators()
        importlib.import_module("torchvision")


@functools.cache  # the operators exist as long as the returned object
def _define_operators() -> Any:
    library = importlib.import_module("torch.library").Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
