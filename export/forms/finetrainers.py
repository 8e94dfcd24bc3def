"""`finetrainers`: SPLIT/videos.txt and SPLIT/prompts.txt, training.json and, with a validation split, validation.json.

Rules (a-r-r-o-w/finetrainers, docs/dataset/README.md at 5346c1ad):
* `videos.txt` holds paths relative to the folder, `prompts.txt` the captions in the same order, one a line;
* the validation file has the field `data` with a list of objects; each has `caption`, and may have `height`, `width`,
  `num_frames` and `frame_rate`;
* buckets are [frames, height, width], sides multiples of 32; Wan takes 4n + 1 frames.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.export.forms.musubi import common_size
from xsheet.export.forms.plain import by_split
from xsheet.export.samples import ExportSample
from xsheet.export.settings import ExportSettings
from xsheet.schemas.files import write_text


def write_finetrainers(
    out: Path, samples: Sequence[ExportSample], settings: ExportSettings, *, location: str
) -> Iterator[Path]:
    """Write the lists of each split and the two configurations; yields the files."""
    splits = by_split(samples)
    for name, members in splits.items():
        write_text(out / name / "videos.txt", "".join(f"{sample.name}.mp4\n" for sample in members))
        write_text(out / name / "prompts.txt", "".join(f"{sample.caption.text}\n" for sample in members))
        yield from (out / name / "videos.txt", out / name / "prompts.txt")
    split, members = next(iter(splits.items()))
    width, height = common_size(members, multiple=32)
    frames = settings.largest_allowed(min(sample.frames for sample in members))
    dataset = {
        "data_root": f"{location}/{split}", "dataset_type": "video", "id_token": None,
        "video_resolution_buckets": [[frames, height, width]], "reshape_mode": "bicubic",
        "remove_common_llm_caption_prefixes": False,
    }  # fmt: skip
    yield _write_json(out / "training.json", {"datasets": [dataset]})
    if "val" in splits:
        rows = [
            {"caption": sample.caption.text, "height": height, "width": width, "num_frames": frames,
             "frame_rate": settings.fps}
            for sample in splits["val"]
        ]  # fmt: skip
        yield _write_json(out / "validation.json", {"data": rows})


def _write_json(path: Path, value: object) -> Path:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    return path
