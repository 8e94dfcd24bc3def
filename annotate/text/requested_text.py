"""The text of a script: blocks as in the training text, at exactly the requested times.

With `layout: phases` every action is a block, as in training. With `layout: partition` training text moves and merges
edges where that shortens the text; here edges never move: they are the starts and ends of the actions, and a block
names every action in progress.
"""

from collections.abc import Sequence
from itertools import pairwise

from xsheet.annotate.text.training_text import BlockPolicy, TrainingText, assemble_text
from xsheet.schemas.annotation import MIN_PHASE_US, Annotation, Phase
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.time import US_PER_S

TimedBlock = tuple[int, int, list[Phase]]


def compile_requested_text(annotation: Annotation, policy: BlockPolicy, *, max_blocks: int, where: str) -> TrainingText:
    """The text of a script, with unmoved times.

    Time without an action is a block that keeps still where the training text has such blocks, as long as there are
    blocks left for it: the longest gaps first.

    Args:
        annotation: the script as an annotation with a base block.
        policy: wording; its limits on edges do not apply.
        max_blocks: rows of the model's phase table.
        where: location for the error.

    Raises:
        ConfigError: the actions take more than `max_blocks` blocks.
    """
    assert annotation.base is not None
    acting, gaps = _partition(annotation) if policy.layout == "partition" else (_one_block_each(annotation), [])
    if len(acting) > max_blocks:
        raise ConfigError(
            where=where, expected=f"at most {max_blocks} timed blocks, each with other actions in progress",
            got=f"{len(acting)}: {', '.join(_interval(block) for block in acting)} s",
            hint="remove actions, or let simultaneous ones start and end together",
        )  # fmt: skip
    kept = sorted(gaps, key=lambda gap: gap[0] - gap[1])[: max_blocks - len(acting)] if policy.gaps == "still" else []
    return assemble_text(annotation.base, sorted(acting + kept, key=lambda block: block[0]), policy)


def _one_block_each(annotation: Annotation) -> list[TimedBlock]:
    return [(phase.start_us, phase.end_us, [phase]) for phase in annotation.phases if not _is_rest(phase)]


def _partition(annotation: Annotation) -> tuple[list[TimedBlock], list[TimedBlock]]:
    """Blocks with actions, and gaps with the rests that fill half of them."""
    actions = [phase for phase in annotation.phases if not _is_rest(phase)]
    rests = [phase for phase in annotation.phases if _is_rest(phase)]
    edges = sorted({0, annotation.duration_us, *(us for phase in actions for us in (phase.start_us, phase.end_us))})
    acting: list[TimedBlock] = []
    gaps: list[TimedBlock] = []
    for start, end in pairwise(edges):
        if named := _in_progress(actions, start, end):
            acting.append((start, end, named))
        elif end - start >= MIN_PHASE_US:
            gaps.append((start, end, [rest for rest in rests if _fills_half(rest, start, end)]))
    return acting, gaps


def _is_rest(phase: Phase) -> bool:
    return "rest" in (phase.kind, phase.action)


def _in_progress(phases: Sequence[Phase], start_us: int, end_us: int) -> list[Phase]:
    return [phase for phase in phases if phase.start_us <= start_us and phase.end_us >= end_us]


def _fills_half(phase: Phase, start_us: int, end_us: int) -> bool:
    return 2 * (min(phase.end_us, end_us) - max(phase.start_us, start_us)) >= end_us - start_us


def _interval(block: TimedBlock) -> str:
    return f"{block[0] / US_PER_S:g}-{block[1] / US_PER_S:g}"
