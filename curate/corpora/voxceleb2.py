"""VoxCeleb2: one text file per utterance, txt/SPEAKER/VIDEO/NNNNN.txt (vox2_dev_txt.zip, vox2_test_txt.zip).

    Identity  : 	id00012
    Reference : 	VIDEO
    Offset    : 	2
    FV Conf   : 	20.230	(1)
    ASD Conf  : 	2.765

    FRAME 	X 	Y 	W 	H
    000349 	0.319 	0.067 	0.424 	0.753       frames at 25 per second, shares of the picture

Utterances are called SPEAKER/VIDEO/NNNNN (mp4/id00012/VIDEO/00001.mp4, cropped to the face), recordings VIDEO. The
crop of a recording is the smallest that holds the face of all frames.
"""

from collections.abc import Iterator
from pathlib import Path

from xsheet.curate.corpora.clips import (
    CorpusClip,
    CorpusProblem,
    MalformedRowError,
    checked_crop,
    metadata_files,
    read_clips,
    read_text,
    text_columns,
)
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.time import FrameRate, span_of_frames

_RATE = FrameRate(25)
_HEADERS = {"Offset": "av_offset_frames", "FV Conf": "face_confidence", "ASD Conf": "speaker_confidence"}
_MAX_FRAME = 100_000_000


def voxceleb2_clips(meta: Path) -> Iterator[CorpusClip | CorpusProblem]:
    """Utterances of the folder `txt`, or of one file.

    Raises:
        ConfigError: no metadata.
    """
    files = ((file.relative_to(meta.parent).as_posix(), file) for file in metadata_files(meta, (".txt",)))
    return read_clips(files, _clips_of)


def _clips_of(where: str, file: Path) -> Iterator[CorpusClip]:
    try:
        lines = [line.strip() for line in read_text(file).splitlines()]
    except ConfigError as error:  # one of a million files
        raise MalformedRowError(str(error)) from error
    start = next((k for k, line in enumerate(lines) if line.split()[:1] == ["FRAME"]), None)
    if start is None:
        raise MalformedRowError("expected a line FRAME X Y W H, got none")
    head = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines[:start])}
    speaker, video = head.get("Identity", ""), head.get("Reference", "")
    if not speaker or not video:
        raise MalformedRowError("expected lines 'Identity :' and 'Reference :', got none")
    boxes = [_box(line) for line in lines[start + 1 :] if line]
    if not boxes:
        raise MalformedRowError("expected frames after FRAME X Y W H, got none")
    name = f"{speaker}/{video}/{file.stem}"
    frames = [frame for frame, _ in boxes]
    edges = list(zip(*(box for _, box in boxes), strict=True))
    yield CorpusClip(
        where=where, name=name, clip_files=(name,), video_files=(video,),
        span=span_of_frames(range(min(frames), max(frames) + 1), _RATE),
        crop=checked_crop(min(edges[0]), min(edges[1]), min(1.0, max(edges[2])), min(1.0, max(edges[3]))),
        columns=text_columns(
            {"speaker": speaker} | {ours: (head.get(key) or "").split("\t")[0] for key, ours in _HEADERS.items()}
        ),
    )  # fmt: skip


def _box(line: str) -> tuple[int, tuple[float, float, float, float]]:
    """Frame number and edges of the face of one line."""
    try:
        number, *values = line.split()
        frame = int(number)
        x, y, width, height = (float(value) for value in values)
    except ValueError:
        raise MalformedRowError(f"expected FRAME X Y W H, got {line[:60]!r}") from None
    if not 0 <= frame <= _MAX_FRAME:
        raise MalformedRowError(f"expected a frame number, got {number[:40]!r}")
    if not (-1 <= x < 1 and -1 <= y < 1 and 0 < width <= 2 and 0 < height <= 2):
        raise MalformedRowError(f"expected shares of the picture (VoxCeleb1 has pixels), got {line[:60]!r}")
    return frame, (max(0.0, x), max(0.0, y), x + width, y + height)
