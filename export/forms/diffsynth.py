"""`diffsynth`: SPLIT/metadata.csv with the columns video and prompt, videos beside it.

Rules (modelscope/DiffSynth-Studio, diffsynth/core/data/unified_dataset.py at 030ebe64 and operators.py at 006372b3):
* a .csv is read by pandas; a path in a column of `--data_file_keys` is joined to `--dataset_base_path`;
* `num_frames` frames are read from the start, one by one; of a shorter video the largest 4n + 1;
* pandas reads cells such as NA as missing, so a caption that is one of them would be lost.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.export.forms.plain import by_split
from xsheet.export.samples import ExportSample
from xsheet.schemas.files import write_text


def write_diffsynth(out: Path, samples: Sequence[ExportSample]) -> Iterator[Path]:
    """Write the metadata of each split; yields the files."""
    for name, members in by_split(samples).items():
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("video", "prompt"))
        rows.writerows((f"{sample.name}.mp4", sample.caption.text) for sample in members)
        write_text(out / name / "metadata.csv", text.getvalue())
        yield out / name / "metadata.csv"
