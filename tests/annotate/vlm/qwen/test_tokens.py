"""The arithmetic of qwen_tokens, held against the makers' and the libraries' own code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.vlm.client import FrameSelection
from xsheet.annotate.vlm.frames import frame_indices
from xsheet.annotate.vlm.qwen.tokens import (
    FAMILIES,
    QWEN3,
    QWEN25,
    TokenCounts,
    call_tokens,
    frame_pixel_cap,
    presented_times_us,
    resized_size,
)

families = st.sampled_from(FAMILIES)
sides = st.integers(32, 2000)


def film(tmp_path, **changes):
    values = {"frames": 125, "fps": 8.0, "max_frame_pixels": 480 * 832, "max_clip_pixels": 10**8} | changes
    return FrameSelection(media=tmp_path / "clip.mp4", **values)


@pytest.fixture(scope="module")
def smart_resize():
    pytest.importorskip("torch")
    from xsheet.torchvision_compat import import_torchvision

    import_torchvision()
    return pytest.importorskip("qwen_vl_utils").smart_resize


def test_sizes_are_those_of_the_makers(smart_resize):
    @given(sides, sides, st.integers(16, 4000), families)
    def check(wide, high, cap_tokens, family):
        step = family.token_px
        if max(wide, high) > 4 * min(wide, high):
            return  # an aspect that theirs may round to no pixels at all
        cap = cap_tokens * step**2
        theirs = smart_resize(high, wide, factor=step, min_pixels=step**2, max_pixels=cap)
        assert resized_size((wide, high), max_pixels=cap, family=family) == theirs[::-1]

    check()


@given(sides, sides, st.integers(1, 10**7), families)
def test_a_picture_keeps_to_its_cap_and_has_no_side_of_nothing(wide, high, pixels, family):
    step = family.token_px
    cap = max(4 * step**2, pixels)
    size = resized_size((wide, high), max_pixels=cap, family=family)
    assert all(side >= step and side % step == 0 for side in size)
    assert size[0] * size[1] <= cap or step in size


def test_the_budget_of_a_clip_is_shared_by_its_pictures(tmp_path):
    assert frame_pixel_cap(film(tmp_path, max_clip_pixels=4_000_000), pictures=40, family=QWEN3) == 100_000
    assert frame_pixel_cap(film(tmp_path, max_clip_pixels=10), pictures=40, family=QWEN3) == 4 * 32 * 32


def test_qwen3_gets_the_mean_of_each_pair_in_tenths():
    assert presented_times_us((0, 3, 6, 9, 13, 16), QWEN3) == (100_000, 300_000, 600_000)


def test_qwen25_gets_even_steps_of_the_frames_mean_distance():
    assert presented_times_us((0, 3, 6, 10), QWEN25) == (0, 266_667)


@given(st.integers(4, 500), st.floats(1, 25), families)
def test_stated_times_are_within_a_frame_and_a_tenth_of_the_frames(frames, fps, family):
    indices = frame_indices(frames, fps=fps)
    real = np.array(indices) * 40_000
    shown = (real[::2] + real[1::2]) / 2 if family.has_text_timestamps else real[::2]
    assert np.abs(np.array(presented_times_us(indices, family)) - shown).max() <= (
        50_001 if family.has_text_timestamps else 40_001
    )


@pytest.mark.parametrize(("family", "tokens"), [(QWEN25, 20 * 17 * 29), (QWEN3, 20 * 15 * 26)])
def test_vision_tokens_of_five_seconds(tmp_path, family, tokens):
    counted = call_tokens(film(tmp_path), size=(832, 480), family=family, text_chars=4000, reply=500)
    assert counted.vision == tokens
    assert counted.prompt - counted.vision - 1000 == (2 if family is QWEN25 else 20 * 8)
    assert (counted.calls, counted.reply) == (1, 500)


def test_a_call_without_pictures_costs_its_text(tmp_path):
    assert call_tokens(None, size=(832, 480), family=QWEN3, text_chars=41) == TokenCounts(calls=1, prompt=11)


def test_calls_add_up():
    tokens = TokenCounts(calls=1, vision=2, prompt=3, reply=4)
    assert tokens * 2 + tokens == TokenCounts(calls=3, vision=6, prompt=9, reply=12)
