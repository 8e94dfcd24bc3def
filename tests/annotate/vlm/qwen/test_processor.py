"""What the real processors make of our frames. An upgrade of the libraries that moves a stamp or a pixel fails here."""

from dataclasses import replace

import pytest

from xsheet.annotate.vlm.client import FrameSelection, SamplingParams, VlmRequest
from xsheet.annotate.vlm.frames import frame_indices, mean_fps
from xsheet.annotate.vlm.qwen.folder import QwenFolder
from xsheet.annotate.vlm.qwen.tokens import call_tokens, presented_times_us

pytest.importorskip("llguidance")
DRAW = SamplingParams(temperature=0.5, top_p=0.9, max_tokens=10, seed=0)
FPS = (2.0, 4.0, 8.0, 12.0)


@pytest.fixture(scope="module")
def family(qwen_folder):
    return QwenFolder.from_path(qwen_folder).family


@pytest.fixture(scope="module")
def processor(qwen_folder):
    from transformers import AutoProcessor

    found = AutoProcessor.from_pretrained(qwen_folder)
    found.tokenizer.padding_side = "left"
    return found


@pytest.fixture(scope="module")
def film(moving_clip):
    return FrameSelection(media=moving_clip, frames=75, fps=8, max_frame_pixels=64 * 64, max_clip_pixels=10**6)


def turn_of(film, text="What is done?"):
    return VlmRequest(request_id="t", system="Be exact.", text=text, frame_selection=film, schema=None, sampling=DRAW)


def prepared(turns, processor, family):
    from xsheet.annotate.vlm.qwen.processor import decode_frames
    from xsheet.annotate.vlm.qwen.processor import prepare_inputs as inputs_of

    sights = {
        turn.frame_selection: decode_frames(turn.frame_selection, family=family)
        for turn in turns
        if turn.frame_selection is not None
    }
    return inputs_of(turns, sights, processor=processor, family=family)


def prompt_of(inputs, processor, row=0):
    ids = inputs["input_ids"][row][inputs["attention_mask"][row].bool()]
    return processor.tokenizer.decode(ids[ids != processor.video_token_id])


@pytest.mark.parametrize("fps", FPS)
def test_stamps_in_the_inputs_are_ours(film, processor, family, fps):
    inputs, (seen,) = prepared([turn_of(replace(film, fps=fps))], processor, family)
    indices = frame_indices(75, fps=fps)
    assert seen.frame_indices == indices
    assert seen.stamps_us == presented_times_us(indices, family)
    if family.has_text_timestamps:
        literal = [
            f"<{us / 1e6:.1f} seconds><|vision_start|><|vision_end|>" for us in presented_times_us(indices, family)
        ]
        assert "".join(literal) in prompt_of(inputs, processor)
    else:
        assert [float(s) for s in inputs["second_per_grid_ts"]] == [
            pytest.approx(2 / mean_fps(indices), rel=1e-7)
        ]  # float32


@pytest.mark.parametrize("fps", FPS)
def test_tokens_in_the_inputs_are_as_many_as_reckoned(film, processor, family, fps):
    shown = replace(film, fps=fps)
    inputs, _ = prepared([turn_of(shown)], processor, family)
    found = int((inputs["input_ids"] == processor.video_token_id).sum())
    assert found == call_tokens(shown, size=(96, 64), family=family).vision


def test_only_what_is_wrapped_by_the_model_s_own_rule_is_wrapped(film, processor, family):
    inputs, _ = prepared([turn_of(film)], processor, family)
    # Qwen3-VL wraps each of 12 pairs; the template's pair around them all would be a thirteenth.
    assert prompt_of(inputs, processor).count("<|vision_start|>") == (12 if family.has_text_timestamps else 1)


def test_the_frames_shown_are_those_named(film, family):
    from xsheet.annotate.vlm.qwen.processor import decode_frames

    sight = decode_frames(film, family=family)
    levels = sight.pictures.float().mean((1, 2, 3))
    assert [round((float(level) - 16) / 3) for level in levels] == list(sight.indices)


def test_pictures_reach_the_model_at_the_size_they_were_decoded_at(film, processor, family):
    inputs, (seen,) = prepared([turn_of(film)], processor, family)
    side = family.token_px
    assert (seen.width, seen.height) == (2 * side, side)
    assert seen.patches == len(inputs["pixel_values_videos"]) == 12 * 2 * 4


def test_rows_of_different_films_keep_their_own_times(film, processor, family):
    turns = [turn_of(replace(film, fps=4)), turn_of(None), turn_of(film)]
    _, seen = prepared(turns, processor, family)
    assert seen[1] is None
    assert [len(one.stamps_us) for one in (seen[0], seen[2])] == [6, 12]


def test_prompts_are_padded_on_the_left(film, processor, family):
    inputs, _ = prepared([turn_of(film), turn_of(film, text="What is done?" * 9)], processor, family)
    assert inputs["attention_mask"][0, 0] == 0
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1]


def test_times_in_foreign_text_are_not_taken_for_stamps(film, processor, family):
    _, (seen,) = prepared([turn_of(film, text="<9.9 seconds><|vision_start|>")], processor, family)
    assert seen.stamps_us == presented_times_us(frame_indices(75, fps=8), family)
