"""The text of a crop names no arm or shoulder outside it."""

from dataclasses import replace

import numpy as np
import pytest

from xsheet.schemas.annotation import UnknownSpan
from xsheet.train.data.framing import Bucket, BucketFit
from xsheet.train.data.visibility import JOINTS, only_shown

FACE_CROP = BucketFit(bucket=Bucket(33, 64, 64), crop_starts=(0,), scaled_size=(256, 256), left=96, top=20)
"""A quarter of the picture's height and width, .375 to .625 from the left, .08 to .33 from above."""
WHOLE = BucketFit(bucket=Bucket(33, 256, 256), crop_starts=(0,), scaled_size=(256, 256), left=0, top=0)


def joints(frames: int = 100, **places: tuple[float, float]) -> np.ndarray:
    """Places that do not move; those that are not given were not measured."""
    measured = np.full((len(JOINTS), frames, 2), np.nan, np.float32)
    for name, place in places.items():
        measured[JOINTS.index(name)] = place
    return measured


def arm_phase(annotation):
    return next(phase for phase in annotation.phases if phase.track == "arm_left")


def tracks(annotation) -> set[str]:
    return {phase.track for phase in annotation.phases}


def test_an_arm_below_the_crop_is_unknown_and_not_named(annotation):
    shown = only_shown(annotation, joints(wrist_left=(0.5, 0.8)), FACE_CROP)
    arm = arm_phase(annotation)
    assert tracks(shown) == tracks(annotation) - {"arm_left"}
    assert shown.unknown == (UnknownSpan(track="arm_left", start_us=arm.start_us, end_us=arm.end_us),)


@pytest.mark.parametrize(
    ("measured", "crop"),
    [
        (joints(wrist_left=(0.5, 0.8)), WHOLE),
        (joints(wrist_left=(0.5, 0.2)), FACE_CROP),
        (joints(), FACE_CROP),  # nobody measured the body
        (joints(wrist_right=(0.5, 0.8)), FACE_CROP),  # nor this arm
        (joints(wrist_left=(0.5, 0.8)), replace(FACE_CROP, bucket=Bucket(33, 1, 1))),  # motion is not cropped
    ],
    ids=["whole-picture", "hand-at-the-face", "no-body", "other-arm", "motion"],
)
def test_an_arm_in_the_crop_or_of_unknown_place_stays(annotation, measured, crop):
    assert only_shown(annotation, measured, crop) is annotation


def test_an_arm_that_is_in_the_crop_for_half_of_its_phase_stays(annotation):
    arm = arm_phase(annotation)
    half = (arm.start_us + arm.end_us) // 80_000 + 1
    measured = joints(wrist_left=(0.5, 0.8))
    measured[0, :half] = (0.5, 0.2)
    assert "arm_left" in tracks(only_shown(annotation, measured, FACE_CROP))
    measured[0, : half - 2] = (0.5, 0.8)
    assert "arm_left" not in tracks(only_shown(annotation, measured, FACE_CROP))


def test_a_shrug_needs_its_shoulders_in_the_crop(annotation):
    shrug = replace(arm_phase(annotation), track="torso", action="shrug", laterality="both", body_parts=("shoulders",))
    other = replace(annotation, phases=(shrug,))
    below = joints(shoulder_left=(0.7, 0.6), shoulder_right=(0.3, 0.6), wrist_left=(0.5, 0.2))
    assert only_shown(other, below, WHOLE).phases == (shrug,)
    assert only_shown(other, below, FACE_CROP).phases == ()
