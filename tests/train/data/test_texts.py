"""Text of a clip: three forms, with phases, windows and sides that go with what is shown."""

from dataclasses import replace

import pytest
import torch

from xsheet.annotate.text.training_text import BlockPolicy, clip_annotation
from xsheet.model.encoders.text import ByteTextEncoder
from xsheet.schemas.annotation import MIN_PHASE_US, sorted_phases
from xsheet.schemas.errors import ContractError
from xsheet.schemas.time import FrameRate, Span
from xsheet.train.data.texts import DEFAULT_CAPTION, TokenizedText, mirror_annotation, tokenize_texts

FORMS = ("brief", "plain", "blocks")


def encoder(tokens: int = 128) -> ByteTextEncoder:
    return ByteTextEncoder(max_tokens=tokens, dim=8, rng=torch.Generator())


def tokenized(
    annotation, *, window: Span | None = None, tokens: int = 128, fps: int = 25, **policy
) -> dict[str, TokenizedText]:
    window = window or Span(0, annotation.duration_us)
    return tokenize_texts(
        annotation, window, forms=FORMS, encoder=encoder(tokens), policy=BlockPolicy(**policy), rate=FrameRate(fps)
    )  # fmt: skip


def test_stage_one_hears_a_caption_and_stage_two_timed_blocks(annotation):
    texts = tokenized(annotation)
    assert texts["brief"].text == "A woman is speaking."
    assert texts["blocks"].text == (
        "A woman speaks to the camera, a lamp on her left. "
        "Phase-1 [0.0-0.8s]: raises the left arm. Phase-2 [0.8-1.6s]: nods twice."
    )
    assert texts["plain"].text == "A woman speaks to the camera, a lamp on her left. raises the left arm. nods twice."


def test_every_token_of_a_block_carries_its_phase_and_no_other_text_has_any(annotation):
    texts = tokenized(annotation)
    assert sorted(set(texts["blocks"].phase_N.tolist())) == [0, 1, 2]
    assert not texts["plain"].phase_N.any()
    assert not texts["brief"].phase_N.any()


@pytest.mark.parametrize(("fps", "expected"), [(25, [[0, 20], [20, 40]]), (10, [[0, 8], [8, 16]])])
def test_windows_count_the_frames_that_are_shown(annotation, fps, expected):
    assert tokenized(annotation, fps=fps)["blocks"].window_K2[:2].tolist() == expected


def test_the_text_of_a_mirrored_picture_names_the_other_side(annotation):
    text = tokenized(mirror_annotation(annotation))["blocks"].text
    assert "raises the right arm" in text
    assert "on her right" in text
    assert "left" not in text


def test_a_stretch_tells_what_it_shows_on_its_own_clock(annotation):
    cut = clip_annotation(annotation, Span(400_000, 1_240_000))
    assert [(p.start_us, p.end_us) for p in cut.phases] == [(0, 420_000), (420_000, 840_000)]
    assert cut.duration_us == 840_000


def test_a_phase_that_barely_reaches_into_a_stretch_is_dropped(annotation):
    middle = annotation.phases[0].end_us
    cut = clip_annotation(annotation, Span(middle - MIN_PHASE_US + 1, annotation.duration_us))
    assert [phase.action for phase in cut.phases] == ["nod"]


def test_phases_that_a_cut_makes_start_together_are_in_order_again(annotation):
    arm, nod = annotation.phases
    long_nod = replace(nod, start_us=0, end_us=1_600_000)
    both = replace(annotation, phases=sorted_phases([replace(arm, start_us=200_000, end_us=800_000), long_nod]))
    cut = clip_annotation(both, Span(400_000, 1_640_000))
    assert [phase.action for phase in cut.phases] == ["raise_hand", "nod"]


def test_a_text_that_is_too_long_loses_words_but_no_phase(annotation):
    short = tokenized(annotation, tokens=36)["blocks"]
    assert len(short.phase_N) <= 36
    assert {1, 2} <= set(short.phase_N.tolist())
    assert len(short.text) < len(tokenized(annotation)["blocks"].text)


def test_a_text_that_cannot_be_made_to_fit_is_refused(annotation):
    with pytest.raises(ContractError, match=r"at most 20 tokens.*max_blocks"):
        tokenized(annotation, tokens=20)


def test_a_clip_that_nobody_described_has_a_caption_only():
    texts = tokenize_texts(
        None, Span(0, 1_000_000), forms=FORMS, encoder=encoder(), policy=BlockPolicy(), rate=FrameRate(25)
    )  # fmt: skip
    assert {form: one.text for form, one in texts.items()} == {"brief": DEFAULT_CAPTION}
