"""How loud the sound speaks in each block: f(l) = (l / L)^γ on the residual of the audio attention.

ActAvatar's notes leave open whether l begins at 0 or 1. Ours begins at 1: with 0 the first block's path would be dead.
"""

from xsheet.model.config import Depth


def depth_factor(block: int, *, blocks: int, depth: Depth, gamma: float) -> float:
    """f(l) of the block with the 0-based index `block` = l - 1; 0 and 1 everywhere for `none` and `uniform`."""
    if depth == "power":
        return float(((block + 1) / blocks) ** gamma)
    return {"none": 0.0, "uniform": 1.0}[depth]
