"""Motion from measured signals."""

import numpy as np
import pytest

from xsheet.annotate.text.mirror import mirror_signals
from xsheet.model.encoders.motion import SPREADS, MotionCodec
from xsheet.schemas.clip import Signals
from xsheet.train.data.motion import motion_array, motion_rest, motion_series

PLACE = {name: k for k, name in enumerate(SPREADS)}


def signals(**series):
    return Signals(clip_id="c", frames=5, extractor="test", **series)


def test_what_differs_between_people_is_relative_to_the_rest_of_the_clip():
    motion_TS = motion_array(signals(brow_raise=(0.2, 0.2, 0.3, 0.2, 0.2), yaw_deg=(4.0, 4.0, 4.0, 9.0, 4.0)))
    assert motion_TS[:, PLACE["brow_raise"]] == pytest.approx([0, 0, 0.1, 0, 0], abs=1e-6)
    assert motion_TS[:, PLACE["yaw_deg"]].tolist() == [4, 4, 4, 9, 4]


def test_gaps_are_filled_and_what_was_never_seen_keeps_still():
    motion_TS = motion_array(signals(pitch_deg=(None, 2.0, None, 4.0, None)))
    assert motion_TS[:, PLACE["pitch_deg"]].tolist() == [2, 2, 3, 4, 4]
    assert not motion_TS[:, PLACE["wrist_left_y"]].any()


def test_series_come_back_with_their_rest():
    one = signals(eye_left_open=(0.4, 0.4, 0.0, 0.4, 0.4), head_x=(0.9, 0.9, 0.9, 0.95, 0.9))
    series, rest = motion_series(motion_array(one), names=("eye_left_open", "head_x")), motion_rest(one)
    for name in series:
        assert series[name] + rest[name] == pytest.approx(np.array(getattr(one, name)), abs=1e-6)


def test_a_mirrored_latent_is_that_of_the_mirrored_clip():
    import torch

    one = signals(
        yaw_deg=(0.0, 5.0, 9.0, 5.0, 0.0), head_x=(0.4, 0.5, 0.6, 0.5, 0.4), wrist_left_x=(0.1, 0.2, 0.3, 0.2, 0.1),
        eye_left_open=(0.4, 0.1, 0.4, 0.4, 0.4),
    )  # fmt: skip
    codec = MotionCodec()
    straight, mirrored = (
        codec.encode(torch.from_numpy(motion_array(view))[None]) for view in (one, mirror_signals(one, aspect=1.5))
    )
    assert torch.allclose(codec.mirror(straight), mirrored, atol=1e-4)
