"""FaceSeries and mouth on the latent grid."""

import numpy as np
import pytest

from xsheet.train.data.framing import Bucket, BucketFit
from xsheet.train.data.masks import MOUTH_BELOW, FaceSeries, face_masks

CELL = (8, 8)


def framing(frames: int = 9, side: int = 64) -> BucketFit:
    return BucketFit(bucket=Bucket(frames, side, side), crop_starts=(0,), scaled_size=(side, side), left=0, top=0)


def face(frames: int = 9, *, x: float = 0.5, y: float = 0.5, height: float = 0.5, roll: float = 0.0) -> FaceSeries:
    return FaceSeries(**{
        name: np.full(frames, value, np.float32)
        for name, value in (("x_T", x), ("y_T", y), ("height_T", height), ("roll_deg_T", roll))
    })  # fmt: skip


def middle(mask_FHW) -> tuple[float, float]:
    """Row and column of its centre, in cells."""
    row, column = np.indices(mask_FHW.shape[1:]) + 0.5
    weight = mask_FHW[1]
    return float((weight * row).sum() / weight.sum()), float((weight * column).sum() / weight.sum())


def test_there_is_one_mask_per_latent_frame():
    whole, lips = face_masks(face(), framing(), cell=CELL)
    assert whole.shape == lips.shape == (3, 8, 8)


def test_masks_cover_the_area_of_the_ellipse():
    whole, _ = face_masks(face(), framing(), cell=CELL)
    assert float(whole[0].sum()) * 64 == pytest.approx(np.pi / 4 * 0.8 * 32 * 32, rel=0.03)


def test_the_mouth_lies_below_the_middle_of_the_face():
    whole, lips = face_masks(face(), framing(), cell=CELL)
    assert middle(whole) == pytest.approx((4, 4), abs=0.05)
    assert middle(lips) == pytest.approx((4 + MOUTH_BELOW * 4, 4), abs=0.1)


def test_a_head_tilted_to_its_left_shoulder_has_its_mouth_on_the_left_of_the_picture():
    _, lips = face_masks(face(roll=30), framing(), cell=CELL)
    row, column = middle(lips)
    assert column < 4 - 0.3
    assert row > 4


def test_a_cut_moves_the_masks_with_it():
    cut = BucketFit(bucket=Bucket(9, 64, 64), crop_starts=(0,), scaled_size=(96, 96), left=16, top=16)
    whole, _ = face_masks(face(), cut, cell=CELL)
    assert middle(whole) == pytest.approx((4, 4), abs=0.05)


def test_frames_without_a_face_do_not_thin_the_mask():
    lost = face()
    lost.x_T[2:5] = np.nan
    whole, _ = face_masks(lost, framing(), cell=CELL)
    assert np.array_equal(whole[1], whole[2])


def test_where_no_face_was_found_nothing_is_covered():
    whole, lips = face_masks(face(x=np.nan), framing(), cell=CELL)
    assert not whole.any()
    assert not lips.any()
