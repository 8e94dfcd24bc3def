from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.text.token_spans import byte_to_char_offsets, phase_token_spans, token_phase_ids
from xsheet.schemas.errors import ContractError

BASE = "Eine Frau spricht – 女性が話す 🙂."
TEXT = f"{BASE} Phase-1 [0.0-2.0s]: öffnet beide Hände 👐🏽. Phase-2 [2.0-4.0s]: nickt."
PHASE_1, PHASE_2 = TEXT.index("Phase-1"), TEXT.index("Phase-2")
SPANS = ((0, len(BASE)), (PHASE_1, PHASE_2 - 1), (PHASE_2, len(TEXT)))

words = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12)


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A text of a base block and phases with one space between, and their places in it."""
    pieces = draw(st.lists(words, min_size=1, max_size=5))
    ends = [sum(len(p) + 1 for p in pieces[: k + 1]) - 1 for k in range(len(pieces))]
    return " ".join(pieces), tuple((end - len(p), end) for end, p in zip(ends, pieces, strict=True))


def cut_at(cuts: set[int], length: int) -> tuple[tuple[int, int], ...]:
    return tuple(pairwise(sorted({0, length} | {c for c in cuts if c < length})))


def by_char(offsets, ids):
    """The phases of the tokens of every character."""
    found: dict[int, set[int]] = {}
    for (start, end), phase in zip(offsets, ids, strict=True):
        for k in range(start, end):
            found.setdefault(k, set()).add(phase)
    return found


def test_one_token_per_character_gives_the_spans_back():
    ids = token_phase_ids(TEXT, SPANS, [(k, k + 1) for k in range(len(TEXT))])
    assert phase_token_spans(ids) == {1: range(*SPANS[1]), 2: range(*SPANS[2])}


def test_pads_and_specials_belong_to_no_phase():
    offsets = [(0, 0), *((k, k + 1) for k in range(len(TEXT))), (len(TEXT), len(TEXT)), (0, 0), (0, 0)]
    ids = token_phase_ids(TEXT, SPANS, offsets)
    assert (ids[0], ids[-3:]) == (0, (0, 0, 0))


def test_a_token_that_swallowed_the_space_before_a_marker_is_the_markers():
    offsets = [(0, PHASE_1 - 1), (PHASE_1 - 1, PHASE_1 + 5), (PHASE_1 + 5, len(TEXT))]
    assert token_phase_ids(TEXT, SPANS, offsets)[1] == 1


def test_a_token_of_two_phases_belongs_to_the_one_with_more_of_it():
    offsets = [(0, PHASE_2 - 2), (PHASE_2 - 2, PHASE_2 + 4), (PHASE_2 + 4, len(TEXT))]
    assert token_phase_ids(TEXT, SPANS, offsets)[1] == 2


def test_a_text_that_was_cut_is_refused():
    with pytest.raises(ContractError, match="allow more tokens"):
        token_phase_ids(TEXT, SPANS, [(k, k + 1) for k in range(PHASE_2)])


def test_bytes_taken_for_characters_are_refused():
    with pytest.raises(ContractError, match="byte_to_char_offsets"):
        token_phase_ids(TEXT, SPANS, [(k, k + 1) for k in range(len(TEXT.encode()))])


def test_byte_offsets_outside_the_text_are_refused():
    with pytest.raises(ContractError, match="at most 2 bytes"):
        byte_to_char_offsets("é", [(0, 3)])


@given(texts(), st.data())
def test_every_token_of_a_phase_belongs_to_it_however_a_text_is_cut(text_and_spans, data):
    text, spans = text_and_spans
    offsets = cut_at(data.draw(st.sets(st.integers(0, len(text)))), len(text))
    ids = token_phase_ids(text, spans, offsets)
    assert len(ids) == len(offsets)
    for (start, end), phase in zip(offsets, ids, strict=True):
        inside = [k for k, (a, b) in enumerate(spans) if a <= start and end <= b]
        touched = {k for k, (a, b) in enumerate(spans) if start < b and a < end}
        assert phase in (inside or touched or {0})


@given(texts(), st.data())
def test_tokens_that_respect_the_spans_give_them_back(text_and_spans, data):
    text, spans = text_and_spans
    edges = {edge for span in spans for edge in span}
    offsets = cut_at(edges | data.draw(st.sets(st.integers(0, len(text)))), len(text))
    found = phase_token_spans(token_phase_ids(text, spans, offsets))
    back = {k: (offsets[tokens[0]][0], offsets[tokens[-1]][1]) for k, tokens in found.items()}
    assert back == dict(list(enumerate(spans))[1:])


@given(texts())
def test_bytes_of_a_character_go_with_the_character(text_and_spans):
    text, spans = text_and_spans
    offsets = byte_to_char_offsets(text, [(k, k + 1) for k in range(len(text.encode()))])
    phases = by_char(offsets, token_phase_ids(text, spans, offsets))
    assert all(phases[k] == {number} for number, (a, b) in enumerate(spans) for k in range(a, b))


def trained(kind: str):
    """Small tokenizers of the three families in use, as transformers' fast tokenizers hold them."""
    tokenizers = pytest.importorskip("tokenizers")
    models, pre, trainers = tokenizers.models, tokenizers.pre_tokenizers, tokenizers.trainers
    if kind == "bytes":  # Qwen, GPT
        made = tokenizers.Tokenizer(models.BPE())
        made.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False)
    elif kind == "sentencepiece":  # UMT5
        made = tokenizers.Tokenizer(models.Unigram())
        made.pre_tokenizer = pre.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=90, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
        )
    else:  # BERT
        made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.pre_tokenizer = pre.Whitespace()
        trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False)
    made.train_from_iterator([TEXT] * 3, trainer)
    made.add_special_tokens(["<pad>", "</s>"])
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", made.token_to_id("</s>"))]
    )
    made.enable_padding(pad_id=made.token_to_id("<pad>"), pad_token="<pad>", length=200)
    return made


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece", "wordpiece"])
def test_real_tokenizers_give_the_words_of_every_phase_back(kind):
    encoded = trained(kind).encode(TEXT)
    found = phase_token_spans(token_phase_ids(TEXT, SPANS, encoded.offsets))
    covered = [TEXT[encoded.offsets[t[0]][0] : encoded.offsets[t[-1]][1]].strip() for t in found.values()]
    assert covered == [TEXT[slice(*SPANS[1])], TEXT[slice(*SPANS[2])]]


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece", "wordpiece"])
def test_specials_and_pads_of_real_tokenizers_are_0(kind):
    encoded = trained(kind).encode(TEXT)
    ids = token_phase_ids(TEXT, SPANS, encoded.offsets)
    assert {i for i, special in zip(ids, encoded.special_tokens_mask, strict=True) if special} == {0}
