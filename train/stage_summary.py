"""What a stage left behind, read from its journal and checkpoints: for the summary of a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xsheet.train.loop.checkpoint import LATEST
from xsheet.train.settings import StageName

FromTo = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A stage that ended."""

    stage: StageName
    steps: int
    skipped: int  # of these, for want of a finite loss
    loss: FromTo | None  # in the first and the last step line
    held_out: FromTo | None  # at the first and the last look; None for a stage that nobody watched
    checkpoint: str


def outcome(run: Path, stage: StageName) -> Outcome:
    """Of a stage that ended, now or in an earlier run."""
    text = (run / stage / "metrics.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return Outcome(
        stage=stage,
        steps=rows[-1]["step"],
        skipped=round(max(row.get("skipped", 0) for row in rows)),
        loss=_from_to(rows, "loss"),
        held_out=_from_to(rows, "held out/loss"),
        checkpoint=newest(run, stage) or "",
    )


def newest(run: Path, stage: StageName) -> str | None:
    """Name of the checkpoint that a rerun of the stage goes on from, `step-00000400`; None before the first one."""
    pointer = run / stage / "checkpoints" / LATEST
    return pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None


def _from_to(rows: Sequence[Mapping[str, float]], name: str) -> FromTo | None:
    values = [row[name] for row in rows if name in row]
    return (values[0], values[-1]) if values else None
