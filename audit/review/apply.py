"""Apply reviews: write the accepted clips, with their edits, as layer `human`.

Nothing is merged silently. An annotation with inconsistent operations or with different results of two reviewers is
a conflict: it is listed and left out. `reviewers` then selects whose operations count.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xsheet import __version__
from xsheet.audit.review.draft import EditHistory
from xsheet.audit.review.journal import read_journals
from xsheet.runtime.lock import write_lock
from xsheet.schemas import ids
from xsheet.schemas.annotation import Annotation, Phase, Repair, Review, UnknownSpan, annotation_id
from xsheet.schemas.layers import LayerRun, list_layers, newest_of, write_layer
from xsheet.schemas.run import Run
from xsheet.schemas.tables import REVIEWS, iter_records, write_table

REPAIR_REASON = "reviewer decision"
COMPARED_FIELDS = (
    "start_us",
    "end_us",
    "track",
    "action",
    "laterality",
    "kind",
    "text",
    "amplitude",
    "speed",
    "repetitions",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewConflict:
    """An annotation left out because of a conflict, and the reason."""

    clip_id: str
    annotation_id: str
    reviewers: tuple[str, ...]
    phase_ids: tuple[str, ...]  # on which they differ; none when it is the whole clip
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """Result of applying the reviews of a layer."""

    human_layer: LayerRun | None  # None when nothing was accepted
    accepted_count: int
    changed_count: int  # of these, other than the layer had them
    rejected: tuple[str, ...]  # clips
    undecided: tuple[str, ...]  # clips that were edited and neither accepted nor rejected
    conflicts: tuple[ReviewConflict, ...]
    unknown_operations: int  # operations on annotations that this layer does not have


def apply_reviews(set_folder: Path, layer: LayerRun, *, reviewers: Sequence[str] = ()) -> ApplyResult:
    """Write the accepted annotations of `layer` as layer `human`, and all operations as table `reviews`.

    Args:
        set_folder: the set.
        layer: the layer that was reviewed.
        reviewers: reviewers whose operations count; empty = all.

    Raises:
        ContractError: a journal is damaged.
        OSError: the set cannot be written.
        RunError: another process writes to the set; reviewers can continue, because journals have separate locks.
    """
    with write_lock(set_folder):
        reviews = all_reviews(set_folder)
        write_table(set_folder, REVIEWS, reviews)
        counted = group_by_annotation(one for one in reviews if not reviewers or one.reviewer in reviewers)
        settled, conflicts = _resolve_reviews(layer, counted)
        accepted = [trail for trail in settled if trail.draft.decision == "accept"]
        run = _make_run(set_folder, layer, accepted)
        rows = [_to_human_annotation(trail, run) for trail in accepted]
        return ApplyResult(
            human_layer=write_layer(set_folder, run, "human", rows) if rows else None,
            accepted_count=len(rows),
            changed_count=sum(bool(row.repairs) for row in rows),
            rejected=tuple(t.annotation.clip_id for t in settled if t.draft.decision == "reject"),
            undecided=tuple(t.annotation.clip_id for t in settled if t.draft.decision is None),
            conflicts=tuple(conflicts),
            unknown_operations=sum(map(len, counted.values())),
        )


def all_reviews(set_folder: Path) -> list[Review]:
    """All operations, by reviewer in stored order, with those of lost journals from the table."""
    journals = read_journals(set_folder)
    known = {one.review_id for one in journals}
    return [one for one in iter_records(set_folder, REVIEWS) if one.review_id not in known] + journals


def group_by_annotation(reviews: Iterable[Review]) -> dict[str, list[Review]]:
    """Operations by annotation id."""
    grouped: dict[str, list[Review]] = {}
    for review in reviews:
        grouped.setdefault(review.annotation_id, []).append(review)
    return grouped


def _resolve_reviews(
    layer: LayerRun, reviews: dict[str, list[Review]]
) -> tuple[list[EditHistory], list[ReviewConflict]]:
    """The edit history of each reviewed annotation, and the conflicts; removes used operations from `reviews`."""
    settled: list[EditHistory] = []
    conflicts: list[ReviewConflict] = []
    for annotation in layer.read():
        ops = reviews.pop(annotation.annotation_id, [])
        names = dict.fromkeys(op.reviewer for op in ops)
        trails = [_replay(annotation, [op for op in ops if op.reviewer == name]) for name in names]
        worked = [trail for trail in trails if trail.undo_stack.applied_reviews or trail.rejected_reviews]
        conflict = _find_conflict(worked)
        if conflict is not None:
            conflicts.append(conflict)
        else:
            settled += worked[:1]
    samples = Counter(trail.annotation.clip_id for trail in settled if trail.draft.decision == "accept")
    conflicts += [
        _make_conflict(trail, reason="another sample of the same clip was accepted too")
        for trail in settled
        if samples[trail.annotation.clip_id] > 1
    ]
    return [trail for trail in settled if samples[trail.annotation.clip_id] <= 1], conflicts


def _find_conflict(trails: Sequence[EditHistory]) -> ReviewConflict | None:
    for trail in trails:
        if trail.rejected_reviews:
            op = trail.rejected_reviews[0]
            why = f"{op.operation} {op.review_id} was made on another state of the annotation"
            return _make_conflict(trail, reason=why, phase_ids=op.phase_ids)
    drafts = [trail.draft for trail in trails]
    if any((draft.decision, draft.phases) != (drafts[0].decision, drafts[0].phases) for draft in drafts):
        phases = {phase.phase_id for draft in drafts[1:] for phase in set(drafts[0].phases) ^ set(draft.phases)}
        return _make_conflict(*trails, reason="reviewers have different results", phase_ids=sorted(phases))
    return None


def _make_conflict(*trails: EditHistory, reason: str, phase_ids: Sequence[str] = ()) -> ReviewConflict:
    return ReviewConflict(
        clip_id=trails[0].annotation.clip_id,
        annotation_id=trails[0].annotation.annotation_id,
        reviewers=tuple(
            dict.fromkeys(op.reviewer for trail in trails for op in (*trail.reviews, *trail.rejected_reviews))
        ),
        phase_ids=tuple(phase_ids),
        reason=reason,
    )


def _to_human_annotation(trail: EditHistory, run: Run) -> Annotation:
    before, phases = trail.annotation, trail.draft.phases
    return Annotation(
        annotation_id=annotation_id(
            clip_id=before.clip_id,
            layer="human",
            run_id=run.run_id,
            sample_index=None,
            base=before.base,
            phases=phases,
        ),
        vocab_version=before.vocab_version,
        clip_id=before.clip_id,
        media_sha256=before.media_sha256,
        layer="human",
        parent_ids=(before.annotation_id,),
        run_id=run.run_id,
        status=before.status,
        duration_us=before.duration_us,
        base=before.base,
        phases=phases,
        unknown=(*before.unknown, *_unknown_spans(before.phases, phases)),
        repairs=tuple(_repairs(before.phases, phases)),
    )


def _unknown_spans(before: Sequence[Phase], after: Sequence[Phase]) -> Iterator[UnknownSpan]:
    """Spans of rejected phases, where their track has no other phase now."""
    kept = {phase.phase_id for phase in after}
    for phase in before:
        is_free = all(
            other.track != phase.track or other.end_us <= phase.start_us or phase.end_us <= other.start_us
            for other in after
        )
        if phase.phase_id not in kept and is_free and phase.action != "rest":
            yield UnknownSpan(track=phase.track, start_us=phase.start_us, end_us=phase.end_us)


def _repairs(before: Sequence[Phase], after: Sequence[Phase]) -> Iterator[Repair]:
    """Differences from the parent annotation, field by field."""
    old, new = ({phase.phase_id: phase for phase in phases} for phases in (before, after))
    for phase_id in old | new:
        a, b, path = old.get(phase_id), new.get(phase_id), f"phases/{phase_id}"
        if a is None and b is not None:
            yield Repair(op="add", path=path, after=f"{b.action} {b.span}: {b.text}", reason=REPAIR_REASON)
        elif a is not None and b is None:
            yield Repair(op="drop", path=path, before=f"{a.action} {a.span}: {a.text}", reason=REPAIR_REASON)
        elif a is not None and b is not None:
            for name in COMPARED_FIELDS:
                x, y = getattr(a, name), getattr(b, name)
                if x != y:
                    yield Repair(op="set", path=f"{path}/{name}", before=str(x), after=str(y), reason=REPAIR_REASON)


def _make_run(set_folder: Path, layer: LayerRun, accepted: Sequence[EditHistory]) -> Run:
    """The run of these operations: the latest one if nothing changed since, else a new one with it as a parent."""
    operations = [op.review_id for trail in accepted for op in trail.undo_stack.applied_reviews]
    key = ids.content_key("review", __version__, layer.run.run_id, operations)
    before = [
        one for one in list_layers(set_folder) if one.layer == "human" and layer.run.run_id in one.run.parent_run_ids
    ]
    newest = newest_of(before)
    if len(newest) == 1 and newest[0].run.settings_sha256 == key:
        return newest[0].run
    earlier = tuple(one.run.run_id for one in newest)
    run_id = ids.content_key(key, earlier) if earlier else key
    return Run(
        run_id=f"run_{run_id[:20]}",
        kind="review",
        tool_version=__version__,
        settings_sha256=key,
        parent_run_ids=(layer.run.run_id, *earlier),
    )


def _replay(annotation: Annotation, reviews: Iterable[Review]) -> EditHistory:
    trail = EditHistory(annotation)
    trail.replay(reviews)
    return trail
