"""The frozen backbone beside low-rank updates, in less memory: smaller types, or blocks that wait in main memory.

store_frozen_layers    weights of the linear layers of the blocks in bfloat16, or a byte each with a scale per row
offload_frozen_layers  those weights on the host, but for the block that computes
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

FrozenDtype = Literal["float32", "bfloat16", "int8", "float8"]
_BYTES: Mapping[str, tuple[torch.dtype, float]] = {"int8": (torch.int8, 127.0), "float8": (torch.float8_e4m3fn, 448.0)}
"""Type of a stored weight and its largest value."""


class _ScaledRows(nn.Module):
    """A matrix as one byte per weight and one scale per row, given back in the type that it had.

    torchao stores the same, but its tensors pass by autocast, so a float32 input makes a float32 product.
    """

    def __init__(self, dtype: FrozenDtype) -> None:
        super().__init__()
        self._dtype, self._largest = _BYTES[dtype]

    def forward(self, stored: Tensor, scale: Tensor) -> Tensor:
        return stored.to(scale.dtype) * scale

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Not exact: weights are off by up to 1/254 of the row's largest (int8) or 1/16 of themselves (float8)."""
        weight = weight.detach()
        scale = (weight.abs().amax(1, keepdim=True) / self._largest).clamp_min(torch.finfo(weight.dtype).tiny)
        scaled = weight / scale
        return (scaled.round() if self._dtype is torch.int8 else scaled).to(self._dtype), scale


def store_frozen_layers(transformer: nn.Module, dtype: FrozenDtype) -> None:
    """Store the frozen linear layers of the blocks in this type, in place; what is trained stays as it is.

    Bytes are multiplied out when their layer computes, in bfloat16, so that autocast finds what it would make itself.
    """
    if dtype == "float32":
        return
    for layer in _frozen_layers(transformer.get_submodule("blocks")):
        layer.weight.data = layer.weight.data.bfloat16()
        if dtype != "bfloat16":
            parametrize.register_parametrization(layer, "weight", _ScaledRows(dtype), unsafe=True)


def offload_frozen_layers(transformer: nn.Module, *, device: torch.device) -> frozenset[Tensor]:
    """Keep the frozen weights of the blocks on the host and copy those of a block to the device while it computes.

    Backward keeps what forward read, so blocks have to be recomputed (gradient checkpointing): the recomputation copies
    once more, and its copies are released with its block. Copies are asynchronous from pinned memory; 5 billion weights
    in bfloat16 are 10 GB a pass, .4 s at 25 GB/s, beside some ten seconds of a step.

    Returns:
        The tensors that stay on the host.
    """
    offloaded = set[Tensor]()
    for block in transformer.get_submodule("blocks").children():
        host = {
            tensor: tensor.data.pin_memory() if device.type == "cuda" else tensor.data
            for layer in _frozen_layers(block)
            for tensor in (*layer.parameters(), *layer.buffers())
        }

        def to_device(_: nn.Module, __: tuple[Any, ...], host: Mapping[Tensor, Tensor] = host) -> None:
            for tensor, kept in host.items():
                tensor.data = kept.to(device, non_blocking=True, copy=True)

        def to_host(_: nn.Module, __: tuple[Any, ...], ___: Any, host: Mapping[Tensor, Tensor] = host) -> None:
            for tensor, kept in host.items():
                tensor.data = kept

        to_host(block, (), None)
        block.register_forward_pre_hook(to_device)
        block.register_forward_hook(to_host, always_call=True)  # recomputation ends its forward early, by an exception
        offloaded |= host.keys()
    return frozenset(offloaded)


def _frozen_layers(module: nn.Module) -> list[nn.Linear]:
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, nn.Linear) and not any(p.requires_grad for p in layer.parameters(recurse=False))
    ]
