"""`musubi`: SPLIT.jsonl with video_path and caption, and dataset.toml that points at it.

Rules (kohya-ss/musubi-tuner, docs/dataset_config.md at 01d5904f):
* a dataset names `video_jsonl_file` and a `cache_directory` of its own; a line holds `video_path` and `caption`;
* a relative `video_path` that the working directory does not have is resolved against the folder of the JSONL file;
* `target_frames` are 4n + 1; `full` takes a whole video, trimmed to 4n + 1 and to `max_frames`;
* with `source_fps`, a decimal number, frames are skipped to reach the frame rate of the model (Wan 2.1: 16,
  HunyuanVideo: 24); without it every frame is used.

With `frames`, the videos have that length already and every frame is used; without, the reader resamples.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.export.forms.plain import by_split
from xsheet.export.samples import ExportSample
from xsheet.export.settings import ExportSettings
from xsheet.schemas.files import write_text


def write_musubi(
    out: Path, samples: Sequence[ExportSample], settings: ExportSettings, *, location: str
) -> Iterator[Path]:
    """Write the JSONL of each split and the TOML of the training split; yields the files."""
    splits = by_split(samples)
    for name, members in splits.items():
        lines = ({"video_path": sample.file, "caption": sample.caption.text} for sample in members)
        write_text(out / f"{name}.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        yield out / f"{name}.jsonl"
    first = next(iter(splits))
    write_text(out / "dataset.toml", _toml(location, first, splits[first], settings))
    yield out / "dataset.toml"


def _toml(location: str, split: str, samples: Sequence[ExportSample], settings: ExportSettings) -> str:
    width, height = common_size(samples, multiple=16)
    if settings.frames is not None:
        frames = f'target_frames = [{settings.frames}]\nframe_extraction = "head"\n'
    else:
        longest = settings.largest_allowed(max(sample.frames for sample in samples))
        frames = f'frame_extraction = "full"\nmax_frames = {longest}\nsource_fps = {float(settings.fps)}\n'
    return (
        f"[general]\nresolution = [{width}, {height}]\nbatch_size = 1\nenable_bucket = true\nbucket_no_upscale = true\n"
        f"\n[[datasets]]\nvideo_jsonl_file = {toml_string(f'{location}/{split}.jsonl')}\n"
        f"cache_directory = {toml_string(f'{location}/cache/{split}')}\n{frames}"
    )


def toml_string(path: str) -> str:
    """A path as a basic string of TOML, whose escapes are those of JSON."""
    return json.dumps(path, ensure_ascii=False).replace("\x7f", "\\u007f")


def common_size(samples: Sequence[ExportSample], *, multiple: int) -> tuple[int, int]:
    """The most frequent width and height, rounded down to a multiple."""
    sizes = [(sample.clip.width, sample.clip.height) for sample in samples]
    width, height = max(sorted(set(sizes)), key=sizes.count)
    return max(multiple, width // multiple * multiple), max(multiple, height // multiple * multiple)
