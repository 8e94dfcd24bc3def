import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.consensus import build_consensus, f1, lexical_distance
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, KinematicPhase, Phase, sorted_phases

CLIP_US = 5_000_000


def base(text="A woman sits before a plain wall."):
    return Base(
        text=text, subject="a woman", framing="face", scene="a wall", camera="static", speaking="speaking"
    )  # fmt: skip


def phase(start_us, end_us, *, track="head", action="nod", text="nods once", **more):
    return Phase(
        phase_id=f"{track}{start_us}", track=track, start_us=start_us, end_us=end_us, action=action, text=text,
        laterality=vocab.SIDED_TRACK.get(track, "none"), kind="action", origin="vlm", **more,
    )  # fmt: skip


def sample(*phases, name="s", status="ok", statement=None):
    return Annotation(
        annotation_id=name, vocab_version=vocab.VOCAB_VERSION, clip_id="clip", layer="normalised", parent_ids=("raw",),
        run_id="asked", sample_index=0, status=status, duration_us=CLIP_US,
        base=(statement or base()) if status == "ok" else None, phases=sorted_phases(phases),
    )  # fmt: skip


def content(phases):
    return [replace(one, phase_id="p", origin="consensus", evidence=None) for one in phases]


def test_a_phase_of_two_in_three_samples_stays_and_one_of_a_single_sample_goes():
    nod, smile = phase(1_000_000, 2_000_000), phase(3_000_000, 4_000_000, track="face", action="smile")
    agreed = build_consensus([sample(nod, name="a"), sample(nod, smile, name="b"), sample(name="c")], run_id="r")
    assert [(p.action, p.evidence.support_k, p.evidence.k) for p in agreed.phases] == [("nod", 2, 3)]
    assert [(r.op, r.reason) for r in agreed.repairs] == [("drop", "only 1 of 3 samples contain it")]


def test_boundaries_are_medians_and_their_spread_is_the_uncertainty():
    starts = (1_000_000, 1_100_000, 1_500_000)
    agreed = build_consensus([sample(phase(s, 3_000_000), name=str(s)) for s in starts], run_id="r")
    (found,) = agreed.phases
    assert (found.start_us, found.end_us) == (1_100_000, 3_000_000)
    assert (found.start_sigma_us, found.end_sigma_us) == (264_576, 0)


def test_uncertainty_is_never_below_that_of_the_samples():
    one = phase(1_000_000, 2_000_000, start_sigma_us=36_085, end_sigma_us=36_085)
    assert (
        build_consensus([sample(one, name="a"), sample(one, name="b")], run_id="r").phases[0].start_sigma_us == 36_085
    )


def test_the_class_is_voted_and_the_words_are_those_of_its_medoid():
    statement = [("nod", "nods once"), ("nod", "nods once slightly"), ("lower_head", "lowers the head")]
    samples = [
        sample(phase(0, 1_000_000, action=action, text=text), name=text.replace(" ", ".")) for action, text in statement
    ]
    (found,) = build_consensus(samples, run_id="r").phases
    assert (found.action, found.text) == ("nod", "nods once")


def test_the_base_is_the_medoid_of_the_samples():
    texts = ("A man stands in a garden at night.", "A woman sits at a desk.", "A woman sits at a white desk.")
    agreed = build_consensus([sample(statement=base(text), name=text[-5:-1].strip()) for text in texts], run_id="r")
    assert agreed.base.text == "A woman sits at a desk."


def test_failed_samples_do_not_count_against_a_phase():
    nod = phase(1_000_000, 2_000_000)
    agreed = build_consensus(
        [sample(nod, name="a"), sample(nod, name="b"), sample(status="truncated", name="c")], run_id="r"
    )
    assert agreed.phases[0].evidence.k == 2
    assert agreed.parent_ids == ("a", "b", "c")


def test_too_few_usable_samples_give_no_consensus():
    failed = [sample(status="truncated", name=name) for name in "ab"]
    agreed = build_consensus([*failed, sample(name="c")], run_id="r")
    assert (agreed.status, agreed.base, agreed.phases) == ("truncated", None, ())


def test_agreement_of_the_samples_is_a_score():
    nod, late = phase(1_000_000, 2_000_000), phase(3_000_000, 4_000_000)
    assert build_consensus([sample(nod, name="a"), sample(nod, name="b")], run_id="r").scores.consistency == 1
    assert build_consensus([sample(nod, name="a"), sample(late, name="b")], run_id="r").scores.consistency == 0


def test_kinematics_stay_only_with_the_span_they_were_measured_in():
    stroke = (KinematicPhase(phase="stroke", start_us=1_000_000, end_us=1_500_000),)
    gesture = phase(1_000_000, 2_000_000, kinematics=stroke)
    assert build_consensus([sample(gesture)], run_id="r").phases[0].kinematics == stroke
    moved = build_consensus([sample(gesture, name="a"), sample(phase(1_400_000, 2_200_000), name="b")], run_id="r")
    assert moved.phases[0].kinematics == ()


def test_samples_of_two_clips_are_refused():
    with pytest.raises(ValueError, match="samples of one clip"):
        build_consensus([sample(), replace(sample(), clip_id="other")], run_id="r")


def test_words_are_compared_as_often_as_they_stand():
    assert lexical_distance("nods once", "Nods once") == 0
    assert lexical_distance("nods nods", "nods") == pytest.approx(1 / 3)
    assert lexical_distance("", "nods") == 1


# ---- properties


@st.composite
def samples_of_one_clip(draw, at_most=5):
    def drawn(name):
        phases = []
        for track in draw(st.lists(st.sampled_from(["head", "face", "arm_left"]), unique=True)):
            cuts = sorted(draw(st.lists(st.integers(0, 41), unique=True, max_size=6)))
            spans = zip(cuts[::2], cuts[1::2], strict=False)
            words = st.sampled_from(["nods once", "nods", "shakes the head once"])
            action = st.sampled_from(["nod", "shake_head", "other"])
            phases += [
                phase(a * 120_000, b * 120_000, track=track, action=draw(action), text=draw(words)) for a, b in spans
            ]
        return sample(*phases, name=name)

    return [drawn(f"s{i}") for i in range(draw(st.integers(1, at_most)))]


@pytest.mark.slow
@given(samples_of_one_clip(), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_plays_no_part(samples, rng: random.Random):
    shuffled = rng.sample(samples, len(samples))
    assert build_consensus(shuffled, run_id="r") == build_consensus(samples, run_id="r")


@pytest.mark.slow
@given(samples_of_one_clip(at_most=1), st.integers(1, 5))
def test_equal_samples_agree_on_their_own_phases(samples, k):
    agreed = build_consensus([replace(samples[0], annotation_id=f"s{i}") for i in range(k)], run_id="r")
    unsure = [replace(one, start_sigma_us=None, end_sigma_us=None) for one in agreed.phases]
    assert content(unsure) == content(samples[0].phases)
    assert not agreed.repairs


@given(samples_of_one_clip(at_most=2))
def test_f1_is_symmetric_and_one_for_equals(samples):
    a, b = samples[0].phases, samples[-1].phases
    assert f1(a, b, min_tiou=0.5) == f1(b, a, min_tiou=0.5)
    assert f1(a, a, min_tiou=0.5) == 1
