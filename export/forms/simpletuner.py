"""`simpletuner`: captions beside the videos, and multidatabackend.json.

Rules (bghira/SimpleTuner, documentation/quickstart/WAN.md at 07103cd1):
* a backend of `dataset_type` video names its folder in `instance_data_dir`; `caption_strategy` textfile reads the .txt
  of the same name; one further backend of type text_embeds is required;
* videos shorter than `min_frames` are skipped; `num_frames` frames are trained on. Wan's video encoder takes 4n + 1.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.export.forms.musubi import common_size
from xsheet.export.forms.plain import by_split, write_captions
from xsheet.export.samples import ExportSample
from xsheet.export.settings import ExportSettings
from xsheet.schemas.files import write_text


def write_simpletuner(
    out: Path, samples: Sequence[ExportSample], settings: ExportSettings, *, name: str, location: str
) -> Iterator[Path]:
    """Write the captions and the backends of the training split; yields the files."""
    yield from write_captions(out, samples)
    split, members = next(iter(by_split(samples).items()))
    frames = settings.largest_allowed(min(sample.frames for sample in members))
    side = min(common_size(members, multiple=16))
    backends = [
        {
            "id": f"{name}-{split}", "type": "local", "dataset_type": "video",
            "instance_data_dir": f"{location}/{split}",
            "caption_strategy": "textfile", "metadata_backend": "discovery", "crop": False, "resolution": side,
            "minimum_image_size": side, "resolution_type": "pixel", "cache_dir_vae": f"{location}/cache/vae",
            "repeats": 0, "disabled": False, "video": {"num_frames": frames, "min_frames": frames},
        },
        {
            "id": "text-embeds", "type": "local", "dataset_type": "text_embeds", "default": True,
            "cache_dir": f"{location}/cache/text", "disabled": False, "write_batch_size": 128,
        },
    ]  # fmt: skip
    write_text(out / "multidatabackend.json", json.dumps(backends, indent=2, ensure_ascii=False) + "\n")
    yield out / "multidatabackend.json"
