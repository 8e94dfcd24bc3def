import pytest

from xsheet.annotate.vlm.client import SamplingParams

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

TOKENS = torch.zeros(1, 1, dtype=torch.long)


def drawn(scores, *draws, steps=1):
    from xsheet.annotate.vlm.qwen.decoding import SeededSamplingProcessor

    draw = SeededSamplingProcessor(draws)
    rows = torch.tensor(scores).expand(len(draws), -1)
    return [draw(TOKENS.expand(len(draws), 1), rows).argmax(-1).tolist() for _ in range(steps)]


def test_temperature_zero_takes_the_likeliest():
    assert drawn([0.1, 2.0, 0.3], SamplingParams(temperature=0, top_p=1, max_tokens=1, seed=5), steps=4) == [[1]] * 4


@pytest.mark.slow
def test_tokens_come_as_often_as_they_are_likely():
    draw = SamplingParams(temperature=1, top_p=1, max_tokens=1, seed=0)
    steps = drawn(torch.tensor([0.5, 0.3, 0.2]).log().tolist(), draw, steps=4000)
    counts = [sum(row == [k] for row in steps) / 4000 for k in range(3)]
    assert counts == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


@pytest.mark.slow
def test_temperature_sharpens():
    chances = torch.tensor([0.6, 0.4]).log().tolist()
    cold = drawn(chances, SamplingParams(temperature=0.25, top_p=1, max_tokens=1, seed=0), steps=2000)
    assert sum(row == [0] for row in cold) / 2000 == pytest.approx(0.6**4 / (0.6**4 + 0.4**4), abs=0.03)


def test_nothing_outside_the_nucleus_is_drawn():
    chances = torch.tensor([0.3, 0.05, 0.5, 0.15]).log().tolist()
    steps = drawn(chances, SamplingParams(temperature=1, top_p=0.75, max_tokens=1, seed=0), steps=500)
    assert {row[0] for row in steps} == {0, 2}


def test_forbidden_tokens_are_never_drawn():
    steps = drawn(
        [float("-inf"), 0.0, float("-inf")], SamplingParams(temperature=1, top_p=0.9, max_tokens=1, seed=0), steps=50
    )
    assert {row[0] for row in steps} == {1}


def test_a_row_draws_the_same_alone_and_beside_others():
    one, other = (SamplingParams(temperature=1, top_p=0.9, max_tokens=1, seed=seed) for seed in (1, 2))
    scores = torch.rand(200, generator=torch.Generator().manual_seed(0)).tolist()
    alone = [row[0] for row in drawn(scores, one, steps=20)]
    beside = [row[1] for row in drawn(scores, other, one, steps=20)]
    assert alone == beside
    assert len(set(alone)) > 10
