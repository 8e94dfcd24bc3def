"""The text of a script: the times are those that were asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.text.requested_text import compile_requested_text
from xsheet.annotate.text.training_text import BlockPolicy, compile_training_text
from xsheet.schemas.annotation import Annotation, Base, Phase, annotation_id, sorted_phases
from xsheet.schemas.errors import ConfigError

POLICY = BlockPolicy()
BASE = Base(
    text="A woman speaks to the camera.", subject="A woman", framing="head_shoulders", scene="as described",
    camera="static", speaking="speaking",
)  # fmt: skip


def requested(*timed, duration_s=3.0):
    """An annotation with actions (start, end, text, track) in seconds."""
    phases = sorted_phases(
        Phase(
            phase_id=f"p{k}", track=track, start_us=round(start * 1e6), end_us=round(end * 1e6), action="other",
            text=text, laterality="none", kind="action", origin="human",
        )
        for k, (start, end, text, track) in enumerate(timed)
    )  # fmt: skip
    identity = {"clip_id": "c", "layer": "imported", "run_id": "r", "base": BASE, "phases": phases}
    return Annotation(
        annotation_id=annotation_id(sample_index=None, **identity), vocab_version="1", status="ok",
        duration_us=round(duration_s * 1e6), **identity,
    )  # fmt: skip


def compiled(*timed, max_blocks=6, **more):
    return compile_requested_text(requested(*timed, **more), POLICY, max_blocks=max_blocks, where="the script")


def test_an_action_that_training_text_would_move_keeps_its_times():
    nod = (0.3, 1.3, "nods", "head")
    assert "[0.0-1.3s]: nods" in compile_training_text(requested(nod), POLICY).text
    assert "Phase-1 [0.0-0.3s]: keeps still. Phase-2 [0.3-1.3s]: nods." in compiled(nod).text


def test_times_finer_than_a_tenth_are_kept():
    text = compiled((0.35, 1.275, "nods", "head"))
    assert "[0.35-1.275s]: nods." in text.text
    assert [(b.start_us, b.end_us) for b in text.blocks if b.phase_ids] == [(350_000, 1_275_000)]


def test_blocks_name_every_action_in_progress():
    text = compiled((0.5, 1.5, "nods", "head"), (1.0, 2.0, "raises the brows", "brows"))
    named = [(b.start_us, b.end_us, b.phase_ids) for b in text.blocks if b.phase_ids]
    assert named == [
        (500_000, 1_000_000, ("p0",)),
        (1_000_000, 1_500_000, ("p0", "p1")),
        (1_500_000, 2_000_000, ("p1",)),
    ]


def test_overlapping_actions_keep_a_block_each_where_training_text_does_so():
    nod, brows = (0.5, 1.55, "nods", "head"), (1.0, 2.0, "raises the brows", "brows")
    policy = BlockPolicy(layout="phases", max_blocks=6)
    text, trained = requested(nod, brows), compile_training_text(requested(nod, brows), policy)
    assert compile_requested_text(text, policy, max_blocks=6, where="the script").text == trained.text
    assert trained.text.endswith("Phase-1 [0.5-1.55s]: nods. Phase-2 [1.0-2.0s]: raises the brows.")


def test_still_blocks_give_way_to_actions_the_shortest_first():
    three = [(0.5, 1.0, "nods", "head"), (1.2, 1.6, "smiles", "mouth"), (2.4, 2.8, "blinks", "face")]
    spans = [(b.start_us // 1000, b.end_us // 1000) for b in compiled(*three, max_blocks=4).blocks]
    assert spans == [(500, 1000), (1200, 1600), (1600, 2400), (2400, 2800)]


def test_a_model_with_a_block_per_action_gets_them_with_their_own_times():
    policy = POLICY.model_copy(update={"layout": "phases"})
    asked = requested((0.5, 1.5, "nods", "head"), (1.0, 2.0, "raises the brows", "brows"))
    text = compile_requested_text(asked, policy, max_blocks=2, where="the script")
    assert [(b.start_us, b.end_us, b.phase_ids) for b in text.blocks] == [
        (500_000, 1_500_000, ("p0",)),
        (1_000_000, 2_000_000, ("p1",)),
    ]


def test_more_actions_than_the_model_has_phases_are_refused():
    many = [(k * 0.3, k * 0.3 + 0.2, f"action {k}", "head") for k in range(5)]
    with pytest.raises(ConfigError, match=r"at most 4 timed blocks.*got 5: 0-0\.2, 0\.3-0\.5"):
        compiled(*many, max_blocks=4)


@given(st.lists(st.integers(0, 2_999_000), min_size=2, max_size=8, unique=True))
def test_every_action_is_in_progress_exactly_in_its_requested_span(cuts_us):
    cuts = sorted(cuts_us)
    spans = [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False) if b - a >= 120_000]
    tracks = ("head", "brows", "mouth", "gaze")
    timed = [(a / 1e6, b / 1e6, f"action {k}", tracks[k]) for k, (a, b) in enumerate(spans)]
    text = compiled(*timed, max_blocks=16)
    for k, (start, end) in enumerate(spans):
        inside = [b for b in text.blocks if f"p{k}" in b.phase_ids]
        assert (inside[0].start_us, inside[-1].end_us) == (start, end)
