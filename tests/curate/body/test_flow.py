"""Optical flow inside a body part: textures that move as planned, around points that say where to look."""

import cv2
import numpy as np
import pytest

from xsheet.curate.body.flow import HEIGHT_PX, part_flow
from xsheet.schemas.clip import Signals

FRAMES, SPEED = 12, 0.4  # picture heights per second


def texture(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def film(*, hand_speed: float, pan_px: float = 0.0) -> tuple[list[np.ndarray], Signals]:
    """A textured patch, the hand, that rises over a textured wall; the camera pans by some pixels a frame."""
    wall, patch = texture(1, HEIGHT_PX, 400), texture(2, 40, 40)
    pictures, ys = [], []
    for k in range(FRAMES):
        shift = np.float32([[1, 0, -pan_px * k], [0, 1, 0]])
        picture = cv2.warpAffine(wall, shift, (400, HEIGHT_PX), borderMode=cv2.BORDER_REFLECT)[:, :256].copy()
        y = 90 - hand_speed * HEIGHT_PX * k / 25
        moved = cv2.warpAffine(
            patch, np.float32([[1, 0, 0], [0, 1, y - int(y)]]), (40, 40), borderMode=cv2.BORDER_REFLECT
        )
        picture[int(y) : int(y) + 40, 100:140] = moved
        pictures.append(picture)
        ys.append((y + 20) / HEIGHT_PX)
    still = {"head_x": 0.4, "head_y": 0.3, "head_height": 0.3, "wrist_left_x": 120 / HEIGHT_PX}
    series = {name: (value,) * FRAMES for name, value in still.items()} | {"wrist_left_y": tuple(ys)}
    return pictures, Signals(clip_id="clip_a", frames=FRAMES, extractor="test", **series)


def test_the_flow_of_a_part_is_its_speed():
    flow = part_flow(*film(hand_speed=SPEED))
    assert np.median(flow["flow_arm_left"]) == pytest.approx(SPEED, rel=0.15)
    assert set(flow) == {"flow_head", "flow_arm_left"}


def test_a_panning_camera_moves_nothing():
    flow = part_flow(*film(hand_speed=0.0, pan_px=1.5))
    assert np.median(flow["flow_head"]) < 0.03


def test_a_point_that_moves_over_a_still_picture_is_no_movement():
    """What the tracker claims and the picture does not show."""
    pictures, _ = film(hand_speed=0.0)
    _, claimed = film(hand_speed=SPEED)
    assert np.median(part_flow(pictures, claimed)["flow_arm_left"]) < 0.03


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_clips_of_a_few_frames_have_a_value_per_frame_or_none(frames):
    pictures, signals = film(hand_speed=SPEED)
    flow = part_flow(pictures[:frames], signals)
    assert all(len(values) == frames for values in flow.values())
