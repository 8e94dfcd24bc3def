"""A learner made ready to compute: recomputed activations, compiled blocks, weights spread over processes."""

from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from xsheet.train.gradients import sum_in_tree_order
from xsheet.train.learner import Learner
from xsheet.train.step import ComputeSettings
from xsheet.train.world import World


def make_ready(learner: Learner, *, compute: ComputeSettings, world: World) -> None:
    """Change the learner in place; its parameters are other objects afterwards, under the same keys.

    Weights are gathered in float32 and cast by autocast, as in one process without sharding: one path of rounding for
    all. That moves 60 instead of 40 GB per step at 5 billion weights, .13 s on NVLink beside a step of seconds.
    """
    learner.to(world.device)
    blocks = learner.transformer.blocks
    if compute.checkpointing:
        learner.transformer.enable_gradient_checkpointing()
    if compute.compiled:
        for block in blocks:
            block.compile()  # one by one: the blocks are alike, so the first compilation serves all
    if world.many:
        mesh = init_device_mesh(world.device.type, (world.size,))
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(learner, mesh=mesh)
        sum_in_tree_order(learner)
