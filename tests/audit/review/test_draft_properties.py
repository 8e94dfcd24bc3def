"""Whatever reviewers do, a draft keeps the rules, is what its journal says, and can be taken back to the start."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from xsheet.audit.review.draft import EditHistory
from xsheet.audit.review.edits import EditRequest, PhaseChange, to_review
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Review
from xsheet.schemas.errors import ContractError
from xsheet.schemas.layers import find_layer

TIMES = st.integers(0, 130).map(lambda frame: frame * 40_000)
PLACES = st.integers(0, 12)
JSON = TypeAdapter(Review)

EDITS = st.one_of(
    st.tuples(st.sampled_from(["accept", "reject", "delete", "flip_side", "undo", "accept clip"]), PLACES),
    st.tuples(st.just("split"), PLACES, TIMES),
    st.tuples(st.just("merge"), PLACES, PLACES),
    st.tuples(st.sampled_from(["start_us", "end_us"]), PLACES, TIMES),
    st.tuples(st.just("track"), PLACES, st.sampled_from(vocab.TRACKS)),
    st.tuples(st.just("new"), st.sampled_from(vocab.TRACKS), TIMES, TIMES),
)


def intent_of(edit: tuple, trail: EditHistory) -> EditRequest:
    draft = trail.draft
    ids = [phase.phase_id for phase in draft.phases] or ["none"]

    def named(place: int) -> str:
        return ids[place % len(ids)]

    match edit:
        case ("undo", _):
            facts = {"operation": "undo", "undoes": trail.undo_stack.undo_id}
        case ("accept clip", _):
            facts = {"operation": "accept"}
        case ("split", place, at_us):
            facts = {"operation": "split", "phase_ids": (named(place),), "at_us": at_us}
        case ("merge", a, b):
            facts = {"operation": "merge", "phase_ids": (named(a), named(b))}
        case ("new", track, start_us, end_us):
            change = PhaseChange(track=track, action="other", start_us=start_us, end_us=end_us)
            facts = {"operation": "new", "changes": (change,)}
        case (operation, place):
            facts = {"operation": operation, "phase_ids": (named(place),)}
        case (name, place, value):
            facts = {"operation": "edit", "changes": (PhaseChange(phase_id=named(place), **{name: value}),)}
    return EditRequest(before_sha256=draft.sha256, **facts)


def reviewed(annotation: Annotation, edits: list) -> EditHistory:
    trail = EditHistory(annotation)
    for second, edit in enumerate(edits):
        at = datetime.fromtimestamp(second, UTC)
        try:
            trail.append(to_review(intent_of(edit, trail), trail.draft, reviewer="anna", at=at))
        except ContractError:
            continue  # refused: nothing may have changed, which the later draft shows
    return trail


@pytest.fixture(scope="module")
def annotation(made_set) -> Annotation:
    return next(iter(find_layer(made_set, "consensus@xsheet.motion").read()))


@given(edits=st.lists(EDITS, max_size=12))
def test_a_journal_read_again_gives_the_same_draft(annotation, edits):
    trail, again = reviewed(annotation, edits), EditHistory(annotation)
    again.replay(JSON.validate_json(JSON.dump_json(review)) for review in trail.reviews)
    assert again.rejected_reviews == []
    assert again.draft == trail.draft
    assert again.undo_stack.decision == trail.draft.decision


@pytest.mark.slow
@given(edits=st.lists(EDITS, max_size=12))
def test_all_can_be_taken_back_and_done_again(annotation, edits):
    trail = reviewed(annotation, edits)
    end, steps = trail.draft, len(trail.undo_stack.applied_reviews)
    for direction, expected in (("undo", EditHistory(annotation).draft), ("redo", end)):
        for second in range(steps):
            undoes = getattr(trail.undo_stack, f"{direction}_id")
            intent = EditRequest(operation="undo", undoes=undoes, before_sha256=trail.draft.sha256)
            trail.append(to_review(intent, trail.draft, reviewer="anna", at=datetime.fromtimestamp(1000 + second, UTC)))
        assert trail.draft == expected
