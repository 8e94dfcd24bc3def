"""Which frames and pixels of a clip are encoded."""

import numpy as np
import pytest

from xsheet.runtime.executor import Rejected
from xsheet.schemas.clip import Clip
from xsheet.train.data.framing import FACE_CENTRE_HEIGHT, Bucket, BucketFit, fit_to_bucket
from xsheet.train.data.settings import PictureEncodingSettings


def clip(frames: int = 150, width: int = 1280, height: int = 720) -> Clip:
    return Clip(
        clip_id="clip", source_id="src", start_us=0, end_us=40_000 * frames, media_path="media/a.mp4",
        media_sha256="0" * 64, frames=frames, samples=640 * frames, width=width, height=height,
    )  # fmt: skip


def framed(of: Clip, face=None, **settings) -> BucketFit:
    found = fit_to_bucket(
        of,
        PictureEncodingSettings(**{"frame_counts": (61, 125), "resolutions": ((64, 128), (128, 64))} | settings),
        face=face,
    )
    assert isinstance(found, BucketFit)
    return found


def test_a_clip_gets_the_longest_length_it_can_fill_and_the_nearest_aspect():
    assert framed(clip(frames=150)).bucket == Bucket(125, 64, 128)
    assert framed(clip(frames=124, width=720, height=1280)).bucket == Bucket(61, 128, 64)


def test_lengths_count_at_the_rate_shown():
    assert framed(clip(frames=310), fps=10).bucket.frames == 61
    assert framed(clip(frames=310), fps=10).crop_spans(PictureEncodingSettings(fps=10))[0].duration_us == 6_100_000


def test_crops_lie_inside_the_clip_from_its_start_to_its_end():
    found = framed(clip(frames=150), crops_per_clip=3)
    assert found.crop_starts == (0, 12, 25)
    assert framed(clip(frames=126), crops_per_clip=3).crop_starts == (0, 1)


def test_the_cut_keeps_the_face_in_the_middle_and_stays_in_the_picture():
    found = framed(clip(width=2560), face=(0.9 * 2560 / 720, 0.5, 0.3))
    assert found.left == found.scaled_size[0] - 128
    assert found.scaled_size[0] == round(2560 * 64 / 720)
    middle = framed(clip(width=2560), face=(0.5 * 2560 / 720, 0.5, 0.3))
    assert middle.left == pytest.approx((middle.scaled_size[0] - 128) / 2, abs=1)


def test_a_small_face_is_brought_nearer():
    near = framed(clip(), face=(0.8, 0.5, 0.2), min_face_height=0.5)
    assert near.scaled_size[1] * 0.2 == pytest.approx(0.5 * 64, abs=0.2)
    assert 0.5 * near.scaled_size[1] - near.top == pytest.approx(FACE_CENTRE_HEIGHT * 64, abs=1)


@pytest.mark.parametrize(
    ("of", "reason"), [(clip(frames=60), "too_short"), (clip(width=64, height=36), "too_small")]
)  # fmt: skip
def test_a_clip_that_cannot_fill_a_bucket_is_refused(of, reason):
    found = fit_to_bucket(of, PictureEncodingSettings(frame_counts=(61,), resolutions=((64, 128),)), face=None)
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_the_cut_has_the_size_of_the_bucket():
    found = framed(clip())
    picture = np.zeros((found.scaled_size[1], found.scaled_size[0], 3), np.uint8)
    assert found.crop_picture(picture).shape == (64, 128, 3)


@pytest.mark.parametrize("wrong", [{"frame_counts": (124,)}, {"frame_counts": (1,)}, {"fps": 24}])
def test_lengths_and_rates_that_cannot_be_encoded_are_refused(wrong):
    with pytest.raises(ValueError, match=r"4k \+ 1 frames|5, 9, 13 and so on|divides 16000"):
        PictureEncodingSettings(**wrong)
