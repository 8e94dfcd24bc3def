"""The training string: an annotation as one base block and timed blocks of text, with their places in it.

    compiled = compile_training_text(annotation)
    compiled.text    "{base} Phase-1 [0.0-2.0s]: ... Phase-2 [2.0-4.0s]: ..."
    compiled.brief   "A woman is speaking."

Blocks follow one another without overlap. Where to cut: of all ways to cut the clip at starts and ends of phases into
at most `max_phases` blocks of at least `min_block_s`, the one that says the least wrong, in seconds: an action named
while it is not going on, an action going on that is not named, and `block_cost_s` for each block. A block names the
phases that fill half of it or have half of themselves in it, so that every phase is named at least once; a block that
names none keeps still. The string is never stored as the truth: it follows from annotation, policy and version.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal, NamedTuple

from pydantic import Field

from xsheet.annotate.text.block_text import base_text, block_text, short_caption
from xsheet.annotate.text.token_spans import CharSpan
from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.errors import ContractError
from xsheet.schemas.settings import StrictModel, settings_sha256
from xsheet.schemas.time import US_PER_S

TRAINING_TEXT_VERSION = "1"
STEPS_PER_S = 10  # times are told in tenths of a second
STEP_US = US_PER_S // STEPS_PER_S
MAX_PHASES = 100  # the search grows with their cube; a clip of 10 s holds a dozen


class BlockPolicy(StrictModel):
    """How blocks are cut and worded."""

    max_blocks: int = Field(default=4, ge=1, le=6, description="blocks of a clip; the model's phase table has six rows")
    min_block_s: float = Field(
        default=0.5, ge=0.1, le=5, description="seconds; three latent frames of 0.16 s, less is hardly an anchor"
    )
    block_cost_s: float = Field(
        default=0.3, ge=0, le=10, description="seconds of wrong text that a block must save; two latent frames"
    )
    gaps: Literal["still", "base"] = Field(
        default="still", description="time without action: a block that keeps still, or no block and the base alone"
    )
    max_base_words: int = Field(default=120, ge=5, description="words of the base block (methods.md, 1.3)")
    max_block_words: int = Field(default=35, ge=3, description="words of a block, marker not counted (methods.md, 1.3)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One timed block, told from `start_us` to `end_us`: both are whole tenths of a second."""

    start_us: int
    end_us: int
    text: str  # without its marker
    char_span: CharSpan  # of marker and text in the compiled text
    phase_ids: tuple[str, ...]  # phases it names; empty = keeps still


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingText:
    """What the model is told of one clip."""

    text: str
    short_caption: str  # caption of stage 1; free of identity
    base_span: CharSpan
    blocks: tuple[Block, ...]
    truncated: tuple[str, ...]  # what lost words to the limits: "base", ids of phases
    version: str
    policy_sha256: str

    @property
    def spans(self) -> tuple[CharSpan, ...]:
        """Places in the text: of the base block first, then of phase 1, 2, ..."""
        return (self.base_span, *(block.char_span for block in self.blocks))


DEFAULT_POLICY = BlockPolicy()


def compile_training_text(annotation: Annotation, policy: BlockPolicy = DEFAULT_POLICY) -> TrainingText:
    """The training string of an annotation; the same for the same annotation, policy and TRAINING_TEXT_VERSION.

    Raises:
        ContractError: no base block (the reply failed), or more than MAX_PHASES phases.
    """
    said = annotation.base
    if said is None or len(annotation.phases) > MAX_PHASES:
        raise ContractError(
            where=f"annotation {annotation.annotation_id}",
            expected=f"a base block and at most {MAX_PHASES} phases",
            got=f"status {annotation.status!r} with {len(annotation.phases)} phases",
            hint="compile annotations of single clips whose status is ok",
        )
    base = base_text(said, max_words=policy.max_base_words)
    text, shortened, blocks = base.text, ["base"] * base.truncated, list[Block]()
    earlier: set[str] = set()
    for start, end, phases in _timed_blocks(annotation, policy):
        words = block_text(phases, ongoing_ids=earlier, max_words=policy.max_block_words)
        begin = len(text) + 1
        text += f" Phase-{len(blocks) + 1} [{start / STEPS_PER_S:.1f}-{end / STEPS_PER_S:.1f}s]: {words.text}"
        told = Block(
            start_us=start * STEP_US,
            end_us=end * STEP_US,
            text=words.text,
            char_span=(begin, len(text)),
            phase_ids=words.phase_ids,
        )
        blocks.append(told)
        shortened += words.truncated
        earlier = set(words.phase_ids)
    return TrainingText(
        text=text,
        short_caption=short_caption(said),
        base_span=(0, len(base.text)),
        blocks=tuple(blocks),
        truncated=tuple(dict.fromkeys(shortened)),
        version=TRAINING_TEXT_VERSION,
        policy_sha256=settings_sha256(policy),
    )


class _QuantisedPhase(NamedTuple):
    """A phase in tenths of a second, half-open."""

    phase: Phase
    start: int
    end: int

    def overlap(self, start: int, end: int) -> int:
        """Tenths of a second of it inside a block."""
        return max(0, min(self.end, end) - max(self.start, start))

    def is_named(self, start: int, end: int) -> bool:
        """Whether a block names it: it fills half of the block, or half of it lies in the block."""
        return 2 * self.overlap(start, end) >= min(end - start, self.end - self.start)

    def mismatch(self, start: int, end: int) -> int:
        """Tenths of a second that a block says wrong of it."""
        shared = self.overlap(start, end)
        return end - start - shared if self.is_named(start, end) else shared


def _timed_blocks(annotation: Annotation, policy: BlockPolicy) -> Iterator[tuple[int, int, list[Phase]]]:
    """Blocks as (start, end, phases they name), in tenths of a second; with still gaps they cover the clip."""
    last = max(1, annotation.duration_us // STEP_US)  # rounded down: no time is told that the clip does not have
    acts, rests = list[_QuantisedPhase](), list[_QuantisedPhase]()
    for phase in annotation.phases:
        start = min((phase.start_us + STEP_US // 2) // STEP_US, last - 1)
        end = max(start + 1, min((phase.end_us + STEP_US // 2) // STEP_US, last))
        (rests if "rest" in (phase.kind, phase.action) else acts).append(_QuantisedPhase(phase, start, end))
    for start, end in pairwise(_best_edges(acts, last, policy)):
        named = [one.phase for one in acts if one.is_named(start, end)]
        if named or policy.gaps == "still":
            yield start, end, named or [one.phase for one in rests if one.is_named(start, end)]


def _best_edges(acts: Sequence[_QuantisedPhase], last: int, policy: BlockPolicy) -> tuple[int, ...]:
    """Edges of the cut that says the least wrong; of equals the one with fewer blocks, then with earlier edges."""

    @cache
    def judge(start: int, end: int) -> tuple[int, bool]:
        """Tenths said wrong by a block, and whether it counts as one."""
        wrong = sum(one.mismatch(start, end) for one in acts)
        return wrong, policy.gaps == "still" or any(one.is_named(start, end) for one in acts)

    shortest = min(last, round(policy.min_block_s * STEPS_PER_S))
    # (edge, blocks so far) → the best way there; ways grow edge by edge.
    best: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {(0, 0): (0, (0,))}
    for end in sorted({last, *(edge for one in acts for edge in (one.start, one.end))} - {0}):
        for (start, count), (cost, path) in list(best.items()):
            if end - start < shortest:
                continue
            wrong, counts = judge(start, end)
            if count + counts <= policy.max_blocks:
                way = (cost + wrong, (*path, end))
                best[end, count + counts] = min(best.get((end, count + counts), way), way)
    price = policy.block_cost_s * STEPS_PER_S
    return min((cost + price * count, count, path) for (end, count), (cost, path) in best.items() if end == last)[2]
