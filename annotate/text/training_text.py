"""The training string: an annotation as one base block and timed blocks of text, with their character spans.

    compiled = compile_training_text(annotation)
    compiled.text    "{base} Phase-1 [0.0-2.0s]: ... Phase-2 [2.0-4.0s]: ..."
    compiled.short_caption   "A woman is speaking."

With `layout: phases` every action is a block with its own times; blocks may overlap. With `layout: partition` blocks do
not overlap: of all partitions at starts and ends of phases into at most `max_blocks` blocks of at least `min_block_s`,
the one with the lowest cost in seconds is used: time of an action named while absent, time of an action present but not
named, and `block_cost_s` per block. A block names the phases that fill half of it or have half of themselves in it, so
every phase is named at least once; a block without phases keeps still, unless a person rejected a phase there: then
nothing is known and it has no text. The string is derived from annotation, policy and version, and is never stored as
ground truth.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Literal, NamedTuple

from pydantic import Field

from xsheet.annotate.text.block_text import base_text, block_text, short_caption
from xsheet.annotate.text.token_spans import CharSpan
from xsheet.schemas.annotation import MIN_PHASE_US, Annotation, Base, Phase, sorted_phases
from xsheet.schemas.errors import ContractError
from xsheet.schemas.settings import StrictModel, settings_sha256
from xsheet.schemas.time import US_PER_S, Span

TRAINING_TEXT_VERSION = "2"
STEPS_PER_S = 10  # times are written in tenths of a second
STEP_US = US_PER_S // STEPS_PER_S
MAX_PHASES = 100  # the search is cubic; a clip of 10 s has a dozen


class BlockPolicy(StrictModel):
    """Layout of the blocks and their wording."""

    layout: Literal["partition", "phases"] = Field(
        default="partition",
        description="partition: the paper's, blocks do not overlap; phases: a block per action with its own times, for "
        "a model that binds times to text; an annotation of more actions than max_blocks is partitioned",
    )
    max_blocks: int = Field(default=4, ge=1, le=6, description="blocks of a clip; the model's phase table has six rows")
    min_block_s: float = Field(
        default=0.5, ge=0.1, le=5, description="seconds; three latent frames of 0.16 s, less is hardly usable"
    )
    block_cost_s: float = Field(
        default=0.3, ge=0, le=10, description="seconds of wrong text that a block must save; two latent frames"
    )
    gaps: Literal["still", "base"] = Field(
        default="still", description="time without action: a block that keeps still, or no block and the base alone"
    )
    max_base_words: int = Field(default=120, ge=5, description="words of the base block ")
    max_block_words: int = Field(default=35, ge=3, description="words of a block, marker not counted ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One timed block; blocks of a partition start and end at whole tenths of a second."""

    start_us: int
    end_us: int
    text: str  # without its marker
    char_span: CharSpan  # of marker and text in the compiled text
    phase_ids: tuple[str, ...]  # phases it names; empty = keeps still


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingText:
    """The training text of one clip."""

    text: str
    short_caption: str  # caption of stage 1; free of identity
    base_span: CharSpan
    blocks: tuple[Block, ...]
    truncated: tuple[str, ...]  # truncated parts: "base", ids of phases
    version: str
    policy_sha256: str

    @property
    def spans(self) -> tuple[CharSpan, ...]:
        """Character spans of the base block, then of phase 1, 2, ..."""
        return (self.base_span, *(block.char_span for block in self.blocks))


DEFAULT_POLICY = BlockPolicy()


def clip_annotation(annotation: Annotation, window: Span) -> Annotation:
    """The annotation of a span, with times relative to its start; phases are cut at its ends, too short ones dropped.

    Gestures that are cut lose their inner parts.
    """
    phases = sorted_phases(cut for phase in annotation.phases if (cut := _clip_phase(phase, window)) is not None)
    return replace(annotation, phases=phases, duration_us=window.duration_us)


def _clip_phase(phase: Phase, window: Span) -> Phase | None:
    start, end = max(phase.start_us, window.start_us), min(phase.end_us, window.end_us)
    if end - start < MIN_PHASE_US:
        return None
    is_whole = (start, end) == (phase.start_us, phase.end_us)
    shift = window.start_us
    parts = (
        tuple(replace(one, start_us=one.start_us - shift, end_us=one.end_us - shift) for one in phase.kinematics)
        if is_whole
        else ()
    )
    return replace(phase, start_us=start - shift, end_us=end - shift, kinematics=parts)


def compile_training_text(annotation: Annotation, policy: BlockPolicy = DEFAULT_POLICY) -> TrainingText:
    """The training string of an annotation; the same for the same annotation, policy and TRAINING_TEXT_VERSION.

    Raises:
        ContractError: no base block (the reply failed), or more than MAX_PHASES phases.
    """
    base_record = annotation.base
    if base_record is None or len(annotation.phases) > MAX_PHASES:
        raise ContractError(
            where=f"annotation {annotation.annotation_id}",
            expected=f"a base block and at most {MAX_PHASES} phases",
            got=f"status {annotation.status!r} with {len(annotation.phases)} phases",
            hint="compile annotations of single clips whose status is ok",
        )
    return assemble_text(base_record, _timed_blocks(annotation, policy), policy)


def assemble_text(
    base_record: Base, timed: Iterable[tuple[int, int, Sequence[Phase]]], policy: BlockPolicy
) -> TrainingText:
    """Base block and timed blocks as one text.

    Args:
        base_record: base block of the annotation.
        timed: start and end in µs and the phases that the block names, in order of time; no phases = keeps still.
        policy: the most words of each block.
    """
    base = base_text(base_record, max_words=policy.max_base_words)
    text, truncated, blocks = base.text, ["base"] * base.truncated, list[Block]()
    previous_ids: set[str] = set()
    for start_us, end_us, phases in timed:
        span = Span(start_us, end_us)
        words = block_text(phases, span=span, ongoing_ids=previous_ids, max_words=policy.max_block_words)
        begin = len(text) + 1
        text += f" Phase-{len(blocks) + 1} [{_seconds(start_us)}-{_seconds(end_us)}s]: {words.text}"
        block = Block(
            start_us=start_us, end_us=end_us, text=words.text, char_span=(begin, len(text)), phase_ids=words.phase_ids
        )
        blocks.append(block)
        truncated += words.truncated
        previous_ids = set(words.phase_ids)
    return TrainingText(
        text=text,
        short_caption=short_caption(base_record),
        base_span=(0, len(base.text)),
        blocks=tuple(blocks),
        truncated=tuple(dict.fromkeys(truncated)),
        version=TRAINING_TEXT_VERSION,
        policy_sha256=settings_sha256(policy),
    )


def _seconds(us: int) -> str:
    """Seconds with one decimal; with up to three where a phase has a finer time."""
    return f"{us / US_PER_S:.1f}" if us % STEP_US == 0 else f"{us / US_PER_S:.3f}".rstrip("0")


class _QuantisedPhase(NamedTuple):
    """A phase in tenths of a second, half-open."""

    phase: Phase
    start: int
    end: int

    def overlap(self, start: int, end: int) -> int:
        """Tenths of a second of it inside a block."""
        return max(0, min(self.end, end) - max(self.start, start))

    def is_named(self, start: int, end: int) -> bool:
        """Whether a block names the phase: it fills half of the block, or half of it lies in the block."""
        return 2 * self.overlap(start, end) >= min(end - start, self.end - self.start)

    def mismatch(self, start: int, end: int) -> int:
        """Tenths of a second in which the block is wrong about the phase."""
        shared = self.overlap(start, end)
        return end - start - shared if self.is_named(start, end) else shared


def _timed_blocks(annotation: Annotation, policy: BlockPolicy) -> Iterator[tuple[int, int, list[Phase]]]:
    """Blocks as (start, end, phases they name), in microseconds."""
    actions = [phase for phase in annotation.phases if "rest" not in (phase.kind, phase.action)]
    if policy.layout == "phases" and len(actions) <= policy.max_blocks:
        return ((phase.start_us, phase.end_us, [phase]) for phase in actions)
    return ((start * STEP_US, end * STEP_US, phases) for start, end, phases in _partition(annotation, policy))


def _partition(annotation: Annotation, policy: BlockPolicy) -> Iterator[tuple[int, int, list[Phase]]]:
    """Blocks that do not overlap, in tenths of a second; with still gaps they cover the clip."""
    last = max(1, annotation.duration_us // STEP_US)  # rounded down to stay inside the clip
    actions, rests = list[_QuantisedPhase](), list[_QuantisedPhase]()
    for phase in annotation.phases:
        start = min((phase.start_us + STEP_US // 2) // STEP_US, last - 1)
        end = max(start + 1, min((phase.end_us + STEP_US // 2) // STEP_US, last))
        (rests if "rest" in (phase.kind, phase.action) else actions).append(_QuantisedPhase(phase, start, end))
    for start, end in pairwise(_best_edges(actions, last, policy)):
        named = [one.phase for one in actions if one.is_named(start, end)]
        if not named and any(s.start_us < end * STEP_US and start * STEP_US < s.end_us for s in annotation.unknown):
            continue  # not known what happens there, so nothing is claimed, nor stillness
        if named or policy.gaps == "still":
            yield start, end, named or [one.phase for one in rests if one.is_named(start, end)]


def _best_edges(actions: Sequence[_QuantisedPhase], last: int, policy: BlockPolicy) -> tuple[int, ...]:
    """Edges of the cheapest partition; at a tie fewer blocks, then earlier edges."""

    @cache
    def block_cost(start: int, end: int) -> tuple[int, bool]:
        """Mismatch of a block in tenths, and whether it counts as a block."""
        mismatch = sum(one.mismatch(start, end) for one in actions)
        return mismatch, policy.gaps == "still" or any(one.is_named(start, end) for one in actions)

    shortest = min(last, round(policy.min_block_s * STEPS_PER_S))
    # (edge, blocks so far) → the cheapest path to it.
    best: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {(0, 0): (0, (0,))}
    for end in sorted({last, *(edge for one in actions for edge in (one.start, one.end))} - {0}):
        for (start, count), (cost, path) in list(best.items()):
            if end - start < shortest:
                continue
            mismatch, is_block = block_cost(start, end)
            if count + is_block <= policy.max_blocks:
                candidate = (cost + mismatch, (*path, end))
                best[end, count + is_block] = min(best.get((end, count + is_block), candidate), candidate)
    block_price = policy.block_cost_s * STEPS_PER_S
    return min((cost + block_price * count, count, path) for (end, count), (cost, path) in best.items() if end == last)[
        2
    ]
