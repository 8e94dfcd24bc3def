"""The processes that train together. Without torch.distributed there is one."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """Rank of this process, number of processes, and device."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        """Whether tensors are sharded; also in a group of one process."""
        return distributed.is_available() and distributed.is_initialized()

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.is_distributed:
            distributed.all_reduce(values)
        return values

    def all_gather(self, value: object) -> list[object]:
        """A small value of every process, by rank, in every process; it is pickled."""
        if not self.is_distributed:
            return [value]
        values: list[object] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def failures(self, mine: str | None) -> tuple[str, ...]:
        """Errors of all processes, in every process."""
        return tuple(str(failure) for failure in self.all_gather(mine) if failure is not None)


def current_process_group(device: torch.device) -> ProcessGroup:
    """The process group from torch.distributed."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ProcessGroup(device=device)
    return ProcessGroup(rank=distributed.get_rank(), size=distributed.get_world_size(), device=device)
