"""`ltx`: SPLIT/metadata.jsonl with caption, video and audio, videos and WAV files beside it.

Rules (Lightricks/LTX-2, packages/ltx-trainer/docs/dataset-preparation.md at 94a2c9a5):
* a JSONL row has `caption` and `video`; `audio` names a sound file and replaces the sound track of the video;
* paths are relative to the metadata file;
* a bucket WIDTHxHEIGHTxFRAMES has sides that are multiples of 32 and 8n + 1 frames; the first frames are taken.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.export.forms.musubi import common_size
from xsheet.export.forms.plain import by_split
from xsheet.export.samples import ExportSample
from xsheet.export.settings import ExportSettings
from xsheet.schemas.files import write_text


def write_ltx(out: Path, samples: Sequence[ExportSample]) -> Iterator[Path]:
    """Write the metadata of each split; yields the files. A clip without sound has no audio."""
    for name, members in by_split(samples).items():
        lines = []
        for sample in members:
            line = {"caption": sample.caption.text, "video": f"{sample.name}.mp4"}
            lines.append(line | ({"audio": f"{sample.name}.wav"} if sample.clip.samples else {}))
        write_text(out / name / "metadata.jsonl", "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines))
        yield out / name / "metadata.jsonl"


def resolution_bucket(samples: Sequence[ExportSample], settings: ExportSettings) -> str:
    """A bucket that every sample fills."""
    width, height = common_size(samples, multiple=32)
    return f"{width}x{height}x{settings.largest_allowed(min(sample.frames for sample in samples))}"
