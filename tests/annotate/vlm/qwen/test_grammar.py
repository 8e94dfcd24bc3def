import json

import pytest

from xsheet.schemas.errors import ConfigError

pytest.importorskip("llguidance")
torch = pytest.importorskip("torch")

POINT = {"type": "object", "properties": {"at": {"type": "number", "minimum": 0, "maximum": 3, "multipleOf": 0.01}},
         "required": ["at"], "additionalProperties": False}  # fmt: skip
WORD = {"type": "object", "properties": {"word": {"enum": ["nod", "smile"]}}, "required": ["word"],
        "additionalProperties": False}  # fmt: skip
PROMPT = [1, 2, 3]


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer):
    return tiny_tokenizer


@pytest.fixture(scope="module")
def grammar(tokenizer):
    from xsheet.annotate.vlm.qwen.decoding import Grammar

    return Grammar(tokenizer, vocab_size=len(tokenizer) + 8, eos_token_ids=(tokenizer.eos_token_id,))


def written(grammar, tokenizer, schemas, *, steps=200, seed=0):
    """Rows drawn evenly from what the masks leave, until all have ended."""
    from xsheet.annotate.vlm.qwen.decoding import GrammarLogitsProcessor

    end = tokenizer.eos_token_id
    mask = GrammarLogitsProcessor([None if s is None else grammar.matcher(s) for s in schemas], eos_token_ids=(end,))
    rows = torch.tensor([PROMPT] * len(schemas))
    ended = torch.zeros(len(schemas), dtype=torch.bool)
    stream = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        scores = mask(rows, torch.zeros(len(schemas), len(tokenizer) + 8))
        token = torch.multinomial(scores.softmax(-1), 1, generator=stream)
        token[ended] = tokenizer.pad_token_id
        ended |= token[:, 0] == end
        rows = torch.cat((rows, token), 1)
        if ended.all():
            break
    assert ended.all()
    return [tokenizer.decode(row, skip_special_tokens=True) for row in rows[:, len(PROMPT) :].tolist()]


@pytest.mark.parametrize("seed", range(5))
def test_each_row_follows_its_own_schema_whatever_the_others_do(grammar, tokenizer, seed):
    point, word = written(grammar, tokenizer, [POINT, WORD], seed=seed)
    assert 0 <= json.loads(point)["at"] <= 3
    assert json.loads(word)["word"] in ("nod", "smile")


def test_replies_have_no_white_space_between_tokens(grammar, tokenizer):
    assert written(grammar, tokenizer, [WORD])[0] in ('{"word":"nod"}', '{"word":"smile"}')


def test_a_row_without_schema_is_left_alone(grammar, tokenizer):
    from xsheet.annotate.vlm.qwen.decoding import GrammarLogitsProcessor

    scores = torch.rand(2, len(tokenizer) + 8)
    masked = GrammarLogitsProcessor([None, grammar.matcher(WORD)], eos_token_ids=(tokenizer.eos_token_id,))(
        torch.tensor([PROMPT] * 2), scores
    )
    assert torch.equal(masked[0], scores[0])
    assert masked[1].isfinite().sum() == 1  # the brace


def test_what_only_the_model_knows_and_the_tokenizer_does_not_is_never_written(grammar, tokenizer):
    from xsheet.annotate.vlm.qwen.decoding import GrammarLogitsProcessor

    text = {"type": "string"}
    mask = GrammarLogitsProcessor([grammar.matcher(text)], eos_token_ids=(tokenizer.eos_token_id,))
    quote = tokenizer.encode('"', add_special_tokens=False)
    mask(torch.tensor([PROMPT]), torch.zeros(1, len(tokenizer) + 8))
    inside = mask(torch.tensor([PROMPT + quote]), torch.zeros(1, len(tokenizer) + 8))[0]
    assert inside[tokenizer.encode("a", add_special_tokens=False)].isfinite().all()
    assert not inside[len(tokenizer) :].isfinite().any()
    assert not inside[tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|video_pad|>"])].isfinite().any()


@pytest.mark.parametrize("schema", [{"type": "string", "pattern": "(?=a)b"}, {"type": "tuple"}])
def test_a_schema_that_no_grammar_holds_is_refused(grammar, schema):
    with pytest.raises(ConfigError, match="a JSON schema that llguidance can follow"):
        grammar.matcher(schema)
