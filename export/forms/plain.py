"""`folder`: SPLIT/NAME.mp4 with its caption in SPLIT/NAME.txt.

Rule of the many readers of such folders (kohya-style trainers, DiffSynth, OneTrainer): the caption file has the name of
the video and the suffix .txt, in UTF-8.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.export.samples import ExportSample
from xsheet.schemas.files import write_text
from xsheet.schemas.source import SplitName


def write_captions(out: Path, samples: Sequence[ExportSample]) -> Iterator[Path]:
    """Write the caption file of every sample; yields the files."""
    for sample in samples:
        path = (out / sample.file).with_suffix(".txt")
        write_text(path, sample.caption.text + "\n")
        yield path


def by_split(samples: Sequence[ExportSample]) -> dict[SplitName, list[ExportSample]]:
    """The samples of each split that has any, in the order train, val, test."""
    names: tuple[SplitName, ...] = ("train", "val", "test")
    found: dict[SplitName, list[ExportSample]] = {name: [s for s in samples if s.split == name] for name in names}
    return {name: members for name, members in found.items() if members}
