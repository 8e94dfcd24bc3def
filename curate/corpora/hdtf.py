"""HDTF: names, links, times and crops in text files beside each other, one set of files per subset (RD, WDA, WRA).

Form (github.com/MRzzm/HDTF, README and download.py):

    WDA_video_url.txt       NAME https://www.youtube.com/watch?v=ID
    WDA_annotion_time.txt   NAME.mp4 MM:SS-MM:SS MM:SS-MM:SS ...
    WDA_crop_wh.txt         NAME_K.mp4 X WIDTH Y HEIGHT       pixels, K counts the times of NAME from 0
    WDA_resolution.txt      NAME.mp4 HEIGHT                   height of the picture whose pixels the crops count

Clips are called NAME_K (README) or WDA_NAME_KKK (download.py), recordings NAME, WDA_NAME or ID.
"""

from collections.abc import Iterator
from pathlib import Path

from xsheet.curate.corpora.clips import (
    CorpusClip,
    CorpusProblem,
    MalformedRowError,
    checked_crop,
    metadata_error,
    read_clips,
    read_text,
    span_of_seconds,
    youtube_id,
)
from xsheet.curate.manifest import Crop, clock_seconds
from xsheet.schemas.time import Span

_TIMES = "_annotion_time.txt"  # sic


def hdtf_clips(meta: Path) -> Iterator[CorpusClip | CorpusProblem]:
    """Clips of the folder HDTF_dataset.

    Raises:
        ConfigError: the folder has no file of times, or a file is unreadable.
    """
    times = sorted(meta.glob(f"*{_TIMES}")) if meta.is_dir() else []
    if not times:
        raise metadata_error(meta, f"a folder with files called SUBSET{_TIMES}", "none")
    for file in times:
        yield from _subset(meta, file.name.removesuffix(_TIMES))


def _subset(meta: Path, subset: str) -> Iterator[CorpusClip | CorpusProblem]:
    links = _fields(meta / f"{subset}_video_url.txt")
    crops = _fields(meta / f"{subset}_crop_wh.txt")
    heights = _fields(meta / f"{subset}_resolution.txt")

    def clips_of(where: str, part: tuple[str, int, str]) -> Iterator[CorpusClip]:
        name, k, text = part
        link = links.get(name)
        yield CorpusClip(
            where=where, name=f"{subset}/{name}_{k}", clip_files=(f"{name}_{k}", f"{subset}_{name}_{k:03d}"),
            video_files=(name, f"{subset}_{name}", *([youtube_id(link[0])] if link else ())), span=_span(text),
            crop=_crop(crops.get(f"{name}_{k}")), crop_height=_height(heights.get(name)), columns={"label": subset},
        )  # fmt: skip

    path = meta / f"{subset}{_TIMES}"
    lines = ((n, line.split()) for n, line in enumerate(read_text(path).splitlines(), start=1))
    # Each time is a row of its own: one typing error in a line of twenty clips costs one clip.
    parts = [
        (f"{path.name}, line {n}", (fields[0].removesuffix(".mp4"), k, text))
        for n, fields in lines
        for k, text in enumerate(fields[1:])
    ]
    return read_clips(parts, clips_of)


def _fields(path: Path) -> dict[str, list[str]]:
    """Fields of each line after its name; empty without the file, for a subset may lack one."""
    lines = (line.split() for line in (read_text(path).splitlines() if path.exists() else ()))
    return {fields[0].removesuffix(".mp4"): fields[1:] for fields in lines if len(fields) > 1}


def _span(text: str) -> Span:
    start, _, end = text.partition("-")
    seconds = clock_seconds(start), clock_seconds(end)
    if seconds[0] is None or seconds[1] is None:
        raise MalformedRowError(f"expected MM:SS-MM:SS, got {text[:40]!r}")
    return span_of_seconds(seconds[0], seconds[1])


def _crop(fields: list[str] | None) -> Crop | None:
    if fields is None:
        return None
    if len(fields) != 4 or not all(field.isdecimal() for field in fields):
        raise MalformedRowError(f"expected X WIDTH Y HEIGHT in pixels, got {' '.join(fields)[:40]!r}")
    x, width, y, height = map(float, fields)
    return checked_crop(x, y, x + width, y + height)


def _height(fields: list[str] | None) -> int | None:
    if fields is None:
        return None
    if not fields[0].isdecimal():
        raise MalformedRowError(f"expected the height of the picture, got {fields[0][:40]!r}")
    return int(fields[0])
