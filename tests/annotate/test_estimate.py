import pytest

from xsheet.annotate.estimate import CostAssumptions, estimate_cost
from xsheet.annotate.vlm.annotator import VlmSettings
from xsheet.annotate.vlm.qwen.tokens import QWEN3, QWEN25
from xsheet.schemas.clip import Clip


def clips(*shapes):
    return [
        Clip(
            clip_id=f"clip_{k}", source_id="src_0", start_us=0, end_us=40_000 * frames, media_path="media/a.mp4",
            media_sha256="0" * 64, frames=frames, samples=0, width=wide, height=high,
        )
        for k, (frames, wide, high) in enumerate(shapes)
    ]  # fmt: skip


def test_a_clip_is_asked_twice_for_each_sample():
    found = estimate_cost(clips((125, 832, 480), (75, 832, 480)), VlmSettings(), samples=3)
    assert (found.clips, found.tokens.calls) == (2, 12)
    assert estimate_cost(clips((125, 832, 480)), VlmSettings(describe=False), samples=3).tokens.calls == 3


@pytest.mark.parametrize(("family", "pair"), [(QWEN25, 17 * 29), (QWEN3, 15 * 26)])
def test_vision_tokens_are_those_of_the_family(family, pair):
    found = estimate_cost(clips((125, 832, 480)), VlmSettings(describe=False), samples=1, family=family)
    assert found.tokens.vision == 20 * pair


def test_pictures_sent_one_by_one_cost_twice_a_video():
    video, images = (
        estimate_cost(clips((125, 832, 480)), VlmSettings(), samples=1, as_images=way).tokens.vision
        for way in (False, True)
    )
    assert images == 2 * video


def test_seconds_follow_from_tokens_and_pace():
    pace = CostAssumptions(prompt_tokens_per_s=100, reply_tokens_per_s=10)
    found = estimate_cost(clips((125, 832, 480)), VlmSettings(), samples=1, assumptions=pace)
    assert found.gpu_seconds == found.tokens.prompt / 100 + found.tokens.reply / 10


def test_no_reply_is_taken_to_pass_its_limit():
    found = estimate_cost(clips((250, 832, 480)), VlmSettings(describe=False, max_tokens=64), samples=1)
    assert found.tokens.reply == 64


def test_an_empty_set_costs_nothing():
    found = estimate_cost([], VlmSettings(), samples=3)
    assert (found.clips, found.gpu_seconds) == (0, 0)
