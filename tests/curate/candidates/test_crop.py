import numpy as np
import pytest

from xsheet.curate.candidates.crop import crop_planes, crop_track, is_inside_crop
from xsheet.curate.media.planes import join_planes, split_planes
from xsheet.schemas.source import FaceTrack


def face_at(x: float, y: float) -> FaceTrack:
    """A face of a fifth of the picture height around a point in shares of a picture of 2:1."""
    middle, half = x * 2, 0.1
    return FaceTrack(
        track_id="t", source_id="s", detector="drawn", start_frame=0, frames=3,
        x0=(middle - half, None, middle - half), x1=(middle + half, None, middle + half),
        y0=(y - half, None, y - half), y1=(y + half, None, y + half),
    )  # fmt: skip


@pytest.mark.parametrize(("x", "inside"), [(0.3, True), (0.7, False)])
def test_a_face_belongs_to_the_crop_that_holds_its_middle(x, inside):
    assert is_inside_crop(face_at(x, 0.5), (0.0, 0.0, 0.5, 1.0), aspect=2.0) is inside


def test_positions_move_into_the_cropped_picture():
    track = crop_track(face_at(0.75, 0.5), (0.5, 0.25, 1.0, 0.75), aspect=2.0)
    assert (track.x0[0] + track.x1[0]) / 2 == pytest.approx(1.0)  # half of the crop's width of two heights
    assert (track.y0[0] + track.y1[0]) / 2 == pytest.approx(0.5)
    assert track.y1[0] - track.y0[0] == pytest.approx(0.4)  # the crop is half as high
    assert track.x0[1] is None


def test_a_cropped_picture_has_even_edges_inside_the_picture():
    luma, chroma = np.arange(40 * 60, dtype=np.uint16).astype(np.uint8).reshape(40, 60), np.zeros((20, 30), np.uint8)
    chroma[5, 15] = 77
    cut = split_planes(crop_planes(join_planes([luma, chroma, chroma]), (0.5, 0.25, 0.99, 0.77)))
    assert [plane.shape for plane in cut] == [(20, 28), (10, 14), (10, 14)]
    assert cut[0][0, 0] == luma[10, 30]
    assert cut[2][0, 0] == 77
    assert crop_planes(join_planes([luma, chroma, chroma]), (0.999, 0.999, 1.0, 1.0)).shape == (3, 2)
