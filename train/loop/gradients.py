"""Gradients of a step, summed in an order that does not depend on the number of workers.

Floating-point addition is not associative, so the same clips on two workers would give different bits than on one.
Therefore the micro-batches of a step are the leaves of one binary tree: worker r of W computes leaves r, W + r,
2W + r ... The lower levels of the tree are added between workers, the upper ones by each worker over time. If W is a
power of two, the tree, and so every bit, is the same as with one worker.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


def local_shard(tensor: Tensor) -> Tensor:
    """This process' rows of a sharded tensor, or the tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class TreeSum:
    """Sums of lists of tensors in the order of a binary tree, leaves from left to right.

    At most log2(leaves) + 1 partial sums live at once, as in a binary counter: for 5 micro-batches on each of 8 GPUs
    three times the sharded gradient (2.7 GiB each at 5.8 billion weights).
    """

    def __init__(self) -> None:
        self._partial: list[tuple[int, list[Tensor]]] = []  # (leaves, sum), larger ones first

    def add(self, leaf: list[Tensor]) -> None:
        """The next leaf; its tensors are changed in place."""
        leaves = 1
        while self._partial and self._partial[-1][0] == leaves:
            _, before = self._partial.pop()
            _add_in_place(before, leaf)
            leaf, leaves = before, 2 * leaves
        self._partial.append((leaves, leaf))

    def total(self) -> list[Tensor]:
        """The sum of all leaves so far; ValueError without one."""
        if not self._partial:
            raise ValueError("expected at least one leaf")
        _, total = self._partial.pop()
        while self._partial:
            _, before = self._partial.pop()
            _add_in_place(before, total)
            total = before
        return total


class TreeReduceScatter:
    """FSDP's sum over workers in the order of the tree: each gets its rows from all and adds them itself.

    It moves as many bytes as a ring does, in one all-to-all; W chunks are held at once instead of two.
    """

    def allocate(self, size: Sequence[int | torch.SymInt], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """A buffer for FSDP."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: distributed.ProcessGroup,
        op: object,
        async_op: bool = False,
    ) -> None:
        """FSDP's border: `op` is a plain sum, see `sum_in_tree_order`; all work is queued when this returns."""
        received = torch.empty_like(input_tensor)
        distributed.all_to_all_single(received, input_tensor, group=group)
        tree = TreeSum()
        for chunk in received.chunk(group.size()):
            tree.add([chunk])
        output_tensor.copy_(tree.total()[0])


def _add_in_place(into: list[Tensor], other: list[Tensor]) -> None:
    for mine, theirs in zip(into, other, strict=True):
        mine.add_(theirs)


def sum_in_tree_order(root: nn.Module) -> None:
    """Let FSDP add the gradients of workers, not average them, in the order of the tree; plain modules stay as is."""
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
            module.set_custom_reduce_scatter(TreeReduceScatter())  # type: ignore[arg-type]  # the protocol, not the class


def pop_gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Remove and return the gradients of the parameters; zeros where there is none."""
    gradients = []
    for parameter in parameters:
        gradients.append(
            local_shard(parameter.grad) if parameter.grad is not None else torch.zeros_like(local_shard(parameter))
        )
        parameter.grad = None
    return gradients


def set_gradients(parameters: Iterable[nn.Parameter], gradients: Iterable[Tensor]) -> None:
    """Set the gradients that `pop_gradients` returned."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if isinstance(parameter, DTensor):
            gradient = DTensor.from_local(  # noqa: PLW2901
                gradient, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
            )
        parameter.grad = gradient


def local_squared_norm(gradients: Iterable[Tensor]) -> Tensor:
    """Sum of squares of this worker's rows, float64 on their device.

    With another number of workers, shards are added in another order, in float64; rounded to float32 the norm differs
    about once in 10^8 steps. Gradients that are not finite give a norm that is not finite.
    """
    squares = [gradient.double().square().sum() for gradient in gradients]
    return torch.stack(squares).sum()
