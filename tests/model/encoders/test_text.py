import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.text.token_spans import token_phase_ids
from xsheet.model.config import tiny_config
from xsheet.model.encoders.pretrained import import_transformers
from xsheet.model.encoders.text import ByteTextEncoder, Umt5TextEncoder
from xsheet.schemas.errors import ConfigError

TEXT = "A man speaks. Phase-1 [0.0-2.0s]: nods 😀 twice. Phase-2 [2.0-4.0s]: 你好 waves."
SPANS = ((0, 13), (14, 48), (49, len(TEXT)))


@pytest.fixture(scope="module")
def tokenizer():
    """A Unigram of single letters and some words that falls back to bytes, as UMT5's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    library = import_transformers()
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    letters = [(c, -5.0) for c in "abcdefghijklmnopqrstuvwxyz0123456789[].:-PA"]
    words = [("▁", -2.0), ("▁nods", -3.0), ("▁Phase", -3.0), *((f"<0x{b:02X}>", -15.0) for b in range(256))]
    rules = Tokenizer(models.Unigram(special + letters + words, unk_id=2, byte_fallback=True))
    rules.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    rules.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return library.PreTrainedTokenizerFast(
        tokenizer_object=rules, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture(scope="module")
def umt5(tokenizer):
    library = import_transformers()
    torch.manual_seed(2)
    config = library.UMT5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=2, dropout_rate=0.5
    )
    return Umt5TextEncoder(library.UMT5EncoderModel(config), tokenizer, max_tokens=96)


@pytest.fixture
def words(rng):
    return ByteTextEncoder(max_tokens=48, dim=16, rng=rng)


@pytest.fixture(params=["umt5", "words"])
def encoder(request):
    return request.getfixturevalue(request.param)


def embedded(encoder, *texts):
    with torch.no_grad():
        return encoder.embed(torch.stack([encoder.tokenize(text).ids_M for text in texts]))


def test_a_text_becomes_as_many_vectors_as_every_other(encoder):
    vectors = embedded(encoder, TEXT, "A nod.")
    assert vectors.shape == (2, encoder.max_tokens, encoder.dim)
    assert vectors.dtype == torch.float32


def test_behind_the_end_token_stand_zeros(encoder):
    count = len(encoder.tokenize(TEXT).char_spans)
    vectors = embedded(encoder, TEXT)[0]
    assert vectors[:count].any(1).all()
    assert not vectors[count:].any()


def test_a_text_is_encoded_as_if_it_were_alone(encoder):
    both = embedded(encoder, "A nod.", TEXT)
    torch.testing.assert_close(both[:1], embedded(encoder, "A nod."), atol=1e-5, rtol=1e-4)


def test_the_same_text_gives_the_same_vectors(encoder):
    assert torch.equal(embedded(encoder, TEXT), embedded(encoder, TEXT))


def test_the_null_prompt_is_an_end_token_alone(encoder):
    assert encoder.tokenize("").char_spans == ((0, 0),)
    assert embedded(encoder, "")[0].any(1).sum() == 1


def test_the_end_token_stands_behind_the_text(encoder):
    assert encoder.tokenize(TEXT).char_spans[-1] == (len(TEXT), len(TEXT))


def test_every_token_finds_its_phase_also_behind_characters_of_many_bytes(encoder):
    tokens = encoder.tokenize(TEXT)
    ids = token_phase_ids(TEXT, SPANS, tokens.char_spans)
    found = {
        k: "".join(TEXT[a:b] for (a, b), phase in zip(tokens.char_spans, ids, strict=True) if phase == k)
        for k in (1, 2)
    }
    assert found[1].replace(" ", "").startswith("Phase-1[0.0-2.0s]:nods")
    assert "😀" in found[1]
    assert "你好" in found[2]
    assert ids[-1] == 0


def test_a_word_knows_its_neighbours(encoder):
    # So a phase cannot be cut out of the text afterwards.
    first, second = embedded(encoder, "nods twice", "nods once")
    assert not torch.allclose(first[0], second[0])


def test_a_text_that_is_too_long_is_refused_not_cut(encoder):
    with pytest.raises(ValueError, match=f"expected at most {encoder.max_tokens} tokens, got [1-9]"):
        encoder.tokenize("nod " * 100)


@pytest.mark.slow
@given(st.text(max_size=40))
def test_every_character_but_space_is_in_exactly_one_token(text):
    words = ByteTextEncoder(max_tokens=96, dim=4, rng=torch.Generator())
    tokens = words.tokenize(text)
    places = [k for start, end in tokens.char_spans for k in range(start, end)]
    assert places == sorted(set(places))
    assert "".join(text[k] for k in places) == "".join(text.split())


@given(st.text(max_size=40))
def test_a_token_holds_the_bytes_of_its_characters(text):
    words = ByteTextEncoder(max_tokens=96, dim=4, rng=torch.Generator())
    tokens = words.tokenize(text)
    for ids, (start, end) in zip(tokens.ids_M[:-1].tolist(), tokens.char_spans[:-1], strict=False):
        assert bytes(b - 1 for b in ids if b) == text[start:end].encode(errors="replace")


def test_words_numbers_and_marks_are_tokens():
    words = ByteTextEncoder(max_tokens=48, dim=4, rng=torch.Generator())
    text = "Phase-1 [0.8-12.5s]: unbelievably far"
    assert [text[a:b] for a, b in words.tokenize(text).char_spans[:-1]] == [
        "Phase", "-", "1", "[", "0.8", "-", "12.5", "s", "]:", "unbelievably", "far",
    ]  # fmt: skip


def test_a_word_of_more_than_12_bytes_is_cut_between_characters():
    words = ByteTextEncoder(max_tokens=48, dim=4, rng=torch.Generator())
    assert [b - a for a, b in words.tokenize("你好你好你").char_spans[:-1]] == [4, 1]


def test_words_give_what_the_tiny_size_expects(rng):
    size = tiny_config()
    words = ByteTextEncoder(max_tokens=size.text_tokens, dim=size.text_dim, rng=rng)
    assert embedded(words, TEXT).shape == (1, size.text_tokens, size.text_dim)


def test_every_weight_of_the_words_is_learned(words):
    ids = torch.stack([words.tokenize(text).ids_M for text in (TEXT, "")])
    words.embed(ids).square().sum().backward()
    assert words.trainable
    assert [name for name, weight in words.named_parameters() if weight.grad is None or not weight.grad.any()] == []
    assert not words.bytes.weight.grad[0].any()


def test_first_weights_follow_from_the_generator_alone():
    first, second = (ByteTextEncoder(max_tokens=8, dim=8, rng=torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_weights_that_are_learned_are_no_part_of_the_fingerprint(words, rng):
    other = ByteTextEncoder(max_tokens=48, dim=16, rng=rng)
    assert not torch.equal(other.positions, words.positions)
    assert other.fingerprint() == words.fingerprint()
    assert ByteTextEncoder(max_tokens=49, dim=16, rng=rng).fingerprint() != words.fingerprint()


def test_umt5_gives_what_wans_pipeline_gives(umt5, tokenizer):
    from diffusers import WanPipeline

    pipeline = WanPipeline(tokenizer=tokenizer, text_encoder=umt5.model, vae=None, scheduler=None)
    expected = pipeline._get_t5_prompt_embeds(TEXT, max_sequence_length=umt5.max_tokens, device=torch.device("cpu"))
    torch.testing.assert_close(embedded(umt5, TEXT), expected)


def test_umt5_is_frozen(umt5):
    assert not umt5.trainable
    assert not any(weight.requires_grad for weight in umt5.model.parameters())


def test_a_saved_umt5_is_the_same_when_loaded(umt5, tmp_path):
    umt5.model.save_pretrained(tmp_path / "text_encoder")
    umt5.tokenizer.save_pretrained(tmp_path / "tokenizer")
    loaded = Umt5TextEncoder.load(tmp_path, max_tokens=umt5.max_tokens, dtype=torch.float32)
    assert torch.equal(embedded(loaded, TEXT), embedded(umt5, TEXT))
    assert loaded.fingerprint() == umt5.fingerprint()


def test_a_name_that_is_no_folder_is_not_looked_up_elsewhere(tmp_path):
    with pytest.raises(ConfigError, match=r"text_encoder: expected a folder .* got nothing"):
        Umt5TextEncoder.load(tmp_path / "google" / "umt5-xxl")
