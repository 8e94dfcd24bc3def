"""`tie`: SPLIT/prompts.jsonl with the start times, end times and texts of the events of each video.

    {"video": "NAME.mp4", "prompt": [[0.0, 0.0, 2.0], [4.0, 2.0, 4.0], ["A woman ...", "raises ...", "nods"]]}

Rules (time interval embedding, arXiv 2605.10543; MatrixTeam-AI/TIE, README.md at 3d064397, examples/t2v/test.jsonl at
61fdda5e): times are seconds of the video; the text of the whole video is an event over all of it; events may overlap,
so every phase is one. The published models take 161 frames at 16 fps (`--fps 16 --frames 161`).
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.annotate.text.block_text import escape_markers
from xsheet.export.forms.plain import by_split
from xsheet.export.samples import ExportSample
from xsheet.export.settings import CaptionForm
from xsheet.schemas.files import write_text
from xsheet.schemas.time import seconds_from_us


def write_tie(out: Path, samples: Sequence[ExportSample], captions: CaptionForm) -> Iterator[Path]:
    """Write the prompts of each split; yields the files. With base captions the whole video is the only event."""
    for name, members in by_split(samples).items():
        lines = (json.dumps(_line(sample, captions), ensure_ascii=False) + "\n" for sample in members)
        write_text(out / name / "prompts.jsonl", "".join(lines))
        yield out / name / "prompts.jsonl"


def _line(sample: ExportSample, captions: CaptionForm) -> dict[str, object]:
    end_us = sample.span.duration_us
    events: list[tuple[int, int, str]] = [(0, end_us, sample.caption.base)]
    if captions != "base":
        events += [(p.start_us, min(p.end_us, end_us), escape_markers(p.text)) for p in sample.phases]
    starts = [round(seconds_from_us(start_us), 3) for start_us, _, _ in events]
    ends = [round(seconds_from_us(stop_us), 3) for _, stop_us, _ in events]
    return {"video": f"{sample.name}.mp4", "prompt": [starts, ends, [event[2] for event in events]]}
