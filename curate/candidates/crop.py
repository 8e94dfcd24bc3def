"""The crop of a segment: which faces lie in it, and face tracks and series in the cropped picture.

A crop is (x0, y0, x1, y1) as shares of the picture. Positions of tracks are in picture heights from the top left.
"""

from dataclasses import replace

import numpy as np

from xsheet.curate.media.planes import Plane, join_planes, split_planes
from xsheet.schemas.columns import Series
from xsheet.schemas.source import FaceTrack, Timeline

Crop = tuple[float, float, float, float]


def is_inside_crop(track: FaceTrack, crop: Crop | None, *, aspect: float) -> bool:
    """Whether the middle of the face lies inside the crop most of the time.

    Args:
        track: a face of the source.
        crop: shares of the picture; None = the whole picture.
        aspect: picture width / height.
    """
    if crop is None:
        return True
    x0, y0, x1, y1 = crop
    boxes = np.array([track.x0, track.y0, track.x1, track.y1], np.float64)  # null becomes NaN
    x = np.nanmedian((boxes[0] + boxes[2]) / 2) / aspect
    y = np.nanmedian((boxes[1] + boxes[3]) / 2)
    return bool(x0 <= x <= x1 and y0 <= y <= y1)


def crop_planes(planes: Plane, crop: Crop) -> Plane:
    """The part of an I420 picture (height × 3/2, width) inside the crop, with even edges and sides of at least 2."""
    luma, *chroma = split_planes(planes)
    height, width = luma.shape
    left, right = _even_range(crop[0], crop[2], width)
    top, bottom = _even_range(crop[1], crop[3], height)
    parts = [plane[top // 2 : bottom // 2, left // 2 : right // 2] for plane in chroma]
    return join_planes([luma[top:bottom, left:right], *parts])


def _even_range(start: float, end: float, size: int) -> tuple[int, int]:
    first = min(round(start * size), size - 2) // 2 * 2
    length = max(2, (min(round(end * size), size) - first) // 2 * 2)
    return first, first + length


def crop_track(track: FaceTrack, crop: Crop, *, aspect: float) -> FaceTrack:
    """The track with positions in heights of the cropped picture, from its top left corner."""
    x0, y0, _, y1 = crop

    def move(series: Series, offset: float) -> Series:
        return tuple(None if value is None else (value - offset) / (y1 - y0) for value in series)

    return replace(
        track,
        x0=move(track.x0, x0 * aspect),
        x1=move(track.x1, x0 * aspect),
        y0=move(track.y0, y0),
        y1=move(track.y1, y0),
    )


def crop_timeline(timeline: Timeline, crop: Crop) -> Timeline:
    """The timeline with the motion of the camera in heights of the cropped picture."""
    height = crop[3] - crop[1]

    def scale(series: Series) -> Series:
        return tuple(None if value is None else value / height for value in series)

    return replace(timeline, camera_x=scale(timeline.camera_x), camera_y=scale(timeline.camera_y))
