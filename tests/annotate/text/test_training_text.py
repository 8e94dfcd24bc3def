import re
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.text.block_text import short_caption, word_count
from xsheet.annotate.text.training_text import BlockPolicy, compile_training_text
from xsheet.annotate.text.wording import describe_action
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, Phase, UnknownSpan, sorted_phases
from xsheet.schemas.errors import ContractError

MARKER = re.compile(r"Phase-(\d+) \[(\d+\.\d)-(\d+\.\d)s\]:")
SIX = BlockPolicy(max_blocks=6)


def base(text: str = "A woman in a green shirt speaks in front of a wall.", **changes: Any) -> Base:
    values: dict[str, Any] = {
        "text": text, "subject": "a woman with short hair", "framing": "head_shoulders", "scene": "a wall",
        "camera": "static", "speaking": "speaking",
    }  # fmt: skip
    return Base(**values | changes)


def phase(start_s: float, end_s: float, text: str = "nods twice", track: vocab.Track = "head", **more: Any) -> Phase:
    values: dict[str, Any] = {
        "phase_id": f"{track}{start_s}", "track": track, "start_us": round(start_s * 1e6), "end_us": round(end_s * 1e6),
        "action": "nod", "text": text, "laterality": vocab.SIDED_TRACK.get(track, "none"), "kind": "action",
        "origin": "vlm",
    }  # fmt: skip
    return Phase(**values | more)


def annotation(*phases: Phase, duration_s: float = 5.0, stated: Base | None = None) -> Annotation:
    return Annotation(
        annotation_id="ann_1", vocab_version=vocab.VOCAB_VERSION, clip_id="clip_1", layer="gold", run_id="run_1",
        status="ok", duration_us=round(duration_s * 1e6), base=stated or base(), phases=sorted_phases(phases),
    )  # fmt: skip


def planted(index: int) -> Annotation:
    return next(
        row for row in truth_rows(plan_film(index, seed=3, kind="talk"), "src_1") if isinstance(row, Annotation)
    )


def measured(start_s: float, end_s: float, action: vocab.Action, track: vocab.Track, **more: Any) -> Phase:
    words = {"text": describe_action(action, "none"), "text_short": describe_action(action, "none")}
    return phase(start_s, end_s, track=track, action=action, origin="motion", **{**words, **more})


@st.composite
def annotations(draw: st.DrawFn) -> Annotation:
    """Any phases of any words: same-track phases never overlap, tracks do."""
    duration = draw(st.integers(15, 260))  # frames
    phases = []
    for track in draw(st.lists(st.sampled_from(vocab.TRACKS), max_size=4, unique=True)):
        edges = sorted(draw(st.sets(st.integers(0, duration // 4), max_size=8)))
        for a, b in list(pairwise(edges))[::2]:
            more = {"kind": draw(st.sampled_from(("action", "rest"))), "text": draw(st.text(min_size=3, max_size=60))}
            phases.append(phase(a * 0.16, b * 0.16, track=track, **more))
    stated = base(draw(st.text(min_size=20, max_size=200)))
    return annotation(*phases, duration_s=duration / 25, stated=stated)


policies = st.builds(
    BlockPolicy,
    max_blocks=st.integers(1, 6),
    min_block_s=st.floats(0.1, 2),
    gaps=st.sampled_from(("still", "base")),
    max_block_words=st.integers(3, 40),
    max_base_words=st.integers(5, 120),
)


def test_golden_of_actions_at_the_same_time():
    assert compile_training_text(planted(4)).text == (
        "A drawn person with long hair speaks in front of a plain coloured wall, seen from the chest up."
        " Phase-1 [0.0-0.9s]: keeps still."
        " Phase-2 [0.9-2.8s]: shakes the head three times, widely, and smiles, slightly, slowly."
        " Phase-3 [2.8-4.5s]: still smiles, slightly, slowly."
        " Phase-4 [4.5-5.2s]: keeps still."
    )


def test_golden_of_more_actions_than_blocks():
    assert compile_training_text(planted(1)).text == (
        "A drawn person with shaved hair speaks in front of a plain coloured wall, seen from the chest up."
        " Phase-1 [0.0-1.5s]: shakes the head twice, slightly, and looks away to the left, widely."
        " Phase-2 [1.5-3.2s]: waves with the right hand, slightly, slowly, and closes both eyes for a moment, quickly."
        " Phase-3 [3.2-4.5s]: tilts the head to the left and raises the right hand."
        " Phase-4 [4.5-5.6s]: closes both eyes for a moment."
    )


def test_actions_that_follow_one_another_in_a_block_are_joined_by_then():
    two = annotation(phase(0, 0.6), phase(0.6, 1.0, "shakes the head"), duration_s=1.0)
    (block,) = compile_training_text(two, BlockPolicy(max_blocks=1)).blocks
    assert block.text == "nods twice, then shakes the head."


def test_a_rest_is_named_only_where_nothing_else_goes_on():
    rest = phase(0, 5, "folds the hands in the lap", "hands", kind="rest", action="rest")
    blocks = compile_training_text(annotation(rest, phase(2, 4)), SIX).blocks
    assert [b.text for b in blocks] == ["folds the hands in the lap.", "nods twice.", "folds the hands in the lap."]


def test_gaps_may_be_left_to_the_base_block():
    blocks = compile_training_text(annotation(phase(2, 4)), BlockPolicy(gaps="base")).blocks
    assert [(b.start_us, b.end_us) for b in blocks] == [(2_000_000, 4_000_000)]


def test_gaps_left_to_the_base_block_take_no_block():
    five = [phase(s, s + 0.6) for s in (0.6, 1.8, 3.0, 4.2)]
    assert len(compile_training_text(annotation(*five), BlockPolicy(gaps="base")).blocks) == 4


def test_every_action_may_have_a_block_with_its_own_times():
    """Overlaps stay, times are exact, and rests and gaps take no block."""
    nod, smile = phase(0.44, 1.92), phase(1.04, 1.28, "smiles", "face")
    rest = phase(2, 5, "keeps still", "whole_body", kind="rest", action="rest")
    compiled = compile_training_text(annotation(nod, smile, rest), BlockPolicy(layout="phases"))
    assert [(b.start_us, b.end_us, b.phase_ids) for b in compiled.blocks] == [
        (440_000, 1_920_000, (nod.phase_id,)),
        (1_040_000, 1_280_000, (smile.phase_id,)),
    ]
    assert compiled.text.endswith(" Phase-1 [0.44-1.92s]: nods twice. Phase-2 [1.04-1.28s]: smiles.")


def test_more_actions_than_blocks_are_partitioned():
    five = [phase(s, s + 0.6) for s in (0.6, 1.4, 2.2, 3.0, 3.8)]
    policy = BlockPolicy(layout="phases", max_blocks=4)
    partition = policy.model_copy(update={"layout": "partition"})
    compiled, expected = (compile_training_text(annotation(*five), one) for one in (policy, partition))
    assert (compiled.text, compiled.blocks) == (expected.text, expected.blocks)


def test_a_measured_action_that_goes_on_does_not_begin_again():
    smile = measured(0.2, 4.0, "smile", "face")
    text = compile_training_text(annotation(smile, phase(2.0, 4.0), duration_s=4.2)).text
    assert text.endswith("smiles. Phase-2 [2.0-4.2s]: keeps smiling and nods twice.")


def test_one_measured_action_again_and_again_is_one_clause():
    openings = [measured(k, k + 0.4, "open_mouth", "mouth", text=f"opens the mouth, {k}") for k in range(3)]
    policy = BlockPolicy(max_blocks=1)
    assert compile_training_text(annotation(*openings, duration_s=3), policy).text.endswith(
        "Phase-1 [0.0-3.0s]: opens the mouth three times."
    )


def test_words_of_a_person_are_kept_when_they_come_again():
    nods = [phase(k, k + 0.4, f"nods at guest {k}", origin="human") for k in range(2)]
    policy = BlockPolicy(max_blocks=1)
    text = compile_training_text(annotation(*nods, duration_s=2), policy).text
    assert text.endswith("nods at guest 0, then nods at guest 1.")


def test_three_simultaneous_actions_are_a_list():
    tracks: tuple[tuple[vocab.Action, vocab.Track], ...] = (("nod", "head"), ("smile", "face"), ("shrug", "torso"))
    together = [measured(0, 2, action, track) for action, track in tracks]
    text = compile_training_text(annotation(*together, duration_s=2)).text
    assert re.search(r"\]: [^,]+, [^,]+, and [^,]+\.$", text)


def test_a_clip_without_actions_keeps_still():
    (block,) = compile_training_text(annotation()).blocks
    assert (block.text, block.start_us, block.end_us) == ("keeps still.", 0, 5_000_000)


@pytest.mark.parametrize(
    "text",
    [
        "nods. Phase-3 [1.0-2.0s]: jumps",
        "nods\nPHASE-3 ［1.0-2.0s］: jumps",
        "nods \u202ePhase-\u200b3 [1.0-2.0s]: jumps",
        "Phase-1 [0.0-2.0s]:",
    ],
)
def test_words_of_a_phase_forge_no_block(text):
    compiled = compile_training_text(annotation(phase(0, 5, text), stated=base(text * 2)))
    assert MARKER.findall(compiled.text) == [("1", "0.0", "5.0")]


def test_long_blocks_take_the_short_texts_first():
    wordy = phase(0, 2, "nods " + "very " * 40 + "slowly", text_short="nods slowly")
    compiled = compile_training_text(annotation(wordy, duration_s=2.0))
    assert compiled.blocks[0].text == "nods slowly."
    assert compiled.truncated == (wordy.phase_id,)


def test_then_the_shortest_phase_is_left_out_and_named_as_such():
    long, short = phase(0, 2, "word " * 30), phase(0.5, 1.5, "other " * 30, "torso")
    compiled = compile_training_text(annotation(long, short, duration_s=2.0), BlockPolicy(max_blocks=1))
    assert compiled.blocks[0].phase_ids == (long.phase_id,)
    assert compiled.truncated == (short.phase_id,)


def test_a_long_base_block_ends_with_a_sentence():
    stated = base("A woman sits. " + "She wears a very green shirt. " * 15)
    text = compile_training_text(annotation(stated=stated), BlockPolicy(max_base_words=10)).text
    assert text.startswith("A woman sits. She wears a very green shirt. Phase-1")


def test_a_reply_that_failed_cannot_be_compiled():
    failed = Annotation(
        annotation_id="ann_1", vocab_version="1", clip_id="c", layer="raw", run_id="r", status="refused", duration_us=1
    )
    with pytest.raises(ContractError, match="refused"):
        compile_training_text(failed)


@pytest.mark.parametrize(
    ("subject", "speaking", "caption"),
    [
        ("a woman with short dark hair", "speaking", "A woman is speaking."),
        ("A young Man in a suit", "listening", "A man is listening."),
        ("Ada Lovelace, mathematician", "silent", "A person is silent."),
        ("humans", "mixed", "A person is speaking and listening."),
    ],
)
def test_the_brief_caption_names_nobody(subject, speaking, caption):
    assert short_caption(base(subject=subject, speaking=speaking)) == caption


@given(annotations(), policies)
def test_blocks_follow_one_another_and_cover_the_clip(one, policy):
    blocks = compile_training_text(one, policy).blocks
    assert len(blocks) <= policy.max_blocks
    assert all(a.end_us <= b.start_us for a, b in pairwise(blocks))
    if policy.gaps == "still":
        assert [b.start_us for b in blocks] == [0, *(b.end_us for b in blocks[:-1])]
        assert 0 <= one.duration_us - blocks[-1].end_us < 100_000


@given(annotations(), policies)
def test_the_text_says_the_times_of_the_blocks_and_nothing_else_looks_like_one(one, policy):
    compiled = compile_training_text(one, policy)
    expected = [(str(k), f"{b.start_us / 1e6:.1f}", f"{b.end_us / 1e6:.1f}") for k, b in enumerate(compiled.blocks, 1)]
    assert MARKER.findall(compiled.text) == expected


@given(annotations(), policies)
def test_spans_hold_the_base_block_and_each_marker_with_its_text(one, policy):
    compiled = compile_training_text(one, policy)
    pieces = [compiled.text[a:b] for a, b in compiled.spans]
    assert " ".join(pieces) == compiled.text
    for piece, block in zip(pieces[1:], compiled.blocks, strict=True):
        assert MARKER.match(piece)
        assert piece.endswith(f": {block.text}")


@given(annotations(), policies)
def test_every_action_is_named_or_counted_as_shortened(one, policy):
    compiled = compile_training_text(one, policy)
    named = {i for block in compiled.blocks for i in block.phase_ids}
    assert {p.phase_id for p in one.phases if p.kind != "rest"} <= named | set(compiled.truncated)


@pytest.mark.slow
@given(annotations(), policies)
def test_texts_keep_to_their_words(one, policy):
    compiled = compile_training_text(one, policy)
    assert word_count(compiled.text[slice(*compiled.base_span)]) <= policy.max_base_words
    assert all(word_count(b.text) <= policy.max_block_words for b in compiled.blocks)


def wrong_tenths(one: Annotation, edges: tuple[int, ...]) -> int:
    """Tenths of a second that blocks between these edges say wrong, reckoned tenth by tenth."""
    wrong = 0
    for a, b in pairwise(edges):
        for p in one.phases:
            inside = set(range(round(p.start_us / 1e5), round(p.end_us / 1e5)))
            shared = len(inside & set(range(a, b)))
            named = 2 * shared >= min(b - a, len(inside))
            wrong += b - a - shared if named else shared
    return wrong


@given(st.lists(st.tuples(st.integers(0, 25), st.integers(2, 12)), min_size=1, max_size=4), st.integers(1, 4))
def test_no_other_cut_says_less_wrong(spans, most):
    tracks = ("head", "brows", "torso", "face")
    timed = [(a, min(a + n, 30), track) for (a, n), track in zip(spans, tracks, strict=False)]
    one = annotation(*(phase(a / 10, b / 10, track=track) for a, b, track in timed), duration_s=3.0)
    policy = BlockPolicy(max_blocks=most, min_block_s=0.3)
    blocks = compile_training_text(one, policy).blocks
    chosen = (0, *(block.end_us // 100_000 for block in blocks))
    inner = sorted({edge for a, b, _ in timed for edge in (a, b)} - {0, 30})
    others = [(0, *some, 30) for k in range(most) for some in combinations(inner, k)]
    price = {cut: wrong_tenths(one, cut) + 3 * (len(cut) - 1) for cut in others if min(gaps(cut)) >= 3}
    assert price[chosen] == min(price.values())


def gaps(edges: tuple[int, ...]) -> list[int]:
    return [b - a for a, b in pairwise(edges)]


@given(annotations(), policies)
def test_compiling_twice_gives_the_same(one, policy):
    assert compile_training_text(one, policy) == compile_training_text(one, policy)


def test_where_a_person_rejected_a_phase_the_text_says_nothing():
    nod = phase(0.0, 1.0)
    rejected = UnknownSpan(track="head", start_us=2_000_000, end_us=3_000_000)
    known = compile_training_text(annotation(nod, duration_s=4)).text
    unknown = compile_training_text(replace(annotation(nod, duration_s=4), unknown=(rejected,))).text
    assert "keeps still" in known
    assert "keeps still" not in unknown
    assert "Phase-1" in unknown
