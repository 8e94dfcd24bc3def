"""Summary of a finished stage, from its metrics and checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xsheet.schemas.errors import ContractError
from xsheet.schemas.files import decode_json
from xsheet.train.loop.checkpoint import LATEST

FirstLast = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSummary:
    """A finished stage."""

    stage: str
    steps: int
    skipped_steps: int  # of these, without a finite loss
    loss: FirstLast | None  # in the first and the last step line
    held_out_loss: FirstLast | None  # at the first and the last validation; None without validation
    checkpoint: str


def stage_summary(run: Path, stage: str) -> StageSummary:
    """Summarise a stage that finished in this or an earlier run.

    Raises:
        ContractError: its metrics are damaged.
    """
    file = run / stage / "metrics.jsonl"
    try:
        rows = [decode_json(line) for line in file.read_text(encoding="utf-8").splitlines()]
        steps = int(rows[-1]["step"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        got, hint = f"{type(error).__name__}: {error}"[:200], "restore the file; the weights are not affected"
        raise ContractError(where=str(file), expected="a JSON object per step", got=got, hint=hint) from error
    return StageSummary(
        stage=stage,
        steps=steps,
        skipped_steps=round(max(row.get("skipped", 0) for row in rows)),
        loss=_first_and_last(rows, "loss"),
        held_out_loss=_first_and_last(rows, "held out/loss"),
        checkpoint=latest_checkpoint(run, stage) or "",
    )


def latest_checkpoint(run: Path, stage: str) -> str | None:
    """Name of the checkpoint that a rerun resumes from, `step-00000400`; None without one."""
    pointer = run / stage / "checkpoints" / LATEST
    return pointer.read_text(encoding="utf-8", errors="replace").strip() if pointer.is_file() else None


def _first_and_last(rows: Sequence[Mapping[str, float]], name: str) -> FirstLast | None:
    values = [row[name] for row in rows if name in row]
    return (values[0], values[-1]) if values else None
