"""Films on the demo page: a still of a film, a row of its frames, a short video with sound."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from xsheet.curate.media.audio import Samples
from xsheet.curate.media.image import Rgb
from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import ClipEncodingSettings, write_clip
from xsheet.pages.images import data_uri, encode_jpeg, jpeg_data_uri
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us

STILL_PX, FRAME_PX, VIDEO_PX = 192, 112, 320
"""Heights of a still, of a frame in a row, of a video."""
FRAMES_PER_STRIP = 8
"""Frames of one film in a row."""
_VIDEO = ClipEncodingSettings(crf=27, keyframe_interval_frames=25)  # some 100 kB for 5 s
_FRAME_US = frame_start_us(1, CLIP_RATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedVideo:
    """A video with its poster, as data URIs."""

    data_uri: str
    poster: str


def film_still(media: Path, shot_centres_us: Sequence[int]) -> str:
    """One square picture of a film: slices of its shots side by side; a wide picture gives one slice per half."""
    pictures = [picture for at_us in shot_centres_us for picture in _halves(_frame_at(media, at_us))]
    return jpeg_data_uri(encode_jpeg(np.concatenate([_slice(one, len(pictures)) for one in pictures], axis=1)))


def frame_strip(media: Path) -> str:
    """FRAMES_PER_STRIP frames side by side, evenly over a film."""
    frames, _ = _read(media, FRAME_PX)
    chosen = np.linspace(0, len(frames) - 1, FRAMES_PER_STRIP).round().astype(int)
    return jpeg_data_uri(encode_jpeg(np.concatenate([frames[k] for k in chosen], axis=1)))


def embed_video(*media: Path, scratch: Path) -> EmbeddedVideo:
    """A film with its sound; several films of equal length side by side, with the sound of the first.

    `scratch` is a folder for temporary files.
    """
    films = [_read(one, VIDEO_PX) for one in media]
    joined = [np.concatenate(pictures, axis=1) for pictures in zip(*(frames for frames, _ in films), strict=True)]
    file = scratch / f"{media[-1].stem}.mp4"
    write_clip(file, frames=joined, sound=films[0][1], encoding=_VIDEO)
    poster = jpeg_data_uri(encode_jpeg(joined[len(joined) // 2]))
    return EmbeddedVideo(data_uri=data_uri(file.read_bytes(), "video/mp4"), poster=poster)


def _read(media: Path, height_px: int) -> tuple[list[Rgb], Samples | None]:
    with open_media(media, root=media.parent) as film:
        width, height = film.size
        size = 2 * round(height_px * width / height / 2), height_px
        return [frame.rgb for frame in film.frames(size=size)], film.sound()


def _frame_at(media: Path, at_us: int) -> Rgb:
    with open_media(media, root=media.parent) as film:
        return next(iter(film.frames(span=Span(at_us, at_us + 2 * _FRAME_US)))).rgb


def _halves(rgb: Rgb) -> list[Rgb]:
    height, width = rgb.shape[:2]
    return [rgb] if width < 2 * height else [rgb[:, :height], rgb[:, -height:]]


def _slice(rgb: Rgb, count: int) -> Rgb:
    """The middle of a picture, 1 / count of the width of a still."""
    small = np.asarray(cv2.resize(rgb, (STILL_PX, STILL_PX), interpolation=cv2.INTER_AREA), np.uint8)
    width = STILL_PX // count
    return small[:, (STILL_PX - width) // 2 :][:, :width]
