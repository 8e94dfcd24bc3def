"""Finding: a check that did not pass. Review: one edit of a human, append-only."""

from datetime import datetime
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import AwareDatetime
from pydantic.dataclasses import dataclass

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Phase
from xsheet.schemas.columns import RECORD, Float, Id, Sha256, Str, Us

Instant = Annotated[AwareDatetime, pa.timestamp("us", tz="UTC")]
Operation = Literal["accept", "reject", "edit", "split", "merge", "new", "delete", "flip_side", "undo"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class EvidenceValue:
    """One number a finding rests on."""

    name: Annotated[Str, "what it is, unit in the name"]
    value: Annotated[Float, "the number"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Finding:
    """One check that did not pass, with its evidence."""

    finding_id: Annotated[Id, "derived from check, annotation and place"]
    run_id: Annotated[Id, "audit run"]
    check: Annotated[Id, "id of the check, e.g. 'G4'"]
    severity: Annotated[vocab.Severity, "how bad"]
    annotation_id: Annotated[Id | None, "annotation it is about; null for a finding about the whole corpus"] = None
    clip_id: Annotated[Id | None, "clip"] = None
    phase_id: Annotated[Id | None, "phase"] = None
    start_us: Annotated[Us | None, "where in the clip"] = None
    end_us: Annotated[Us | None, "where in the clip, half-open"] = None
    message: Annotated[Str, "what was expected, what was found"]
    evidence: Annotated[tuple[EvidenceValue, ...], "numbers it rests on, the limit among them"] = ()


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Review:
    """One operation of a reviewer. Never changed or removed; undo is an operation too."""

    review_id: Annotated[Id, "derived from who, when and what"]
    annotation_id: Annotated[Id, "annotation the reviewer saw"]
    clip_id: Annotated[Id, "clip"]
    operation: Annotated[Operation, "what was done"]
    phase_ids: Annotated[tuple[Str, ...], "phases it touches; several for a merge, none for the whole clip"] = ()
    after: Annotated[tuple[Phase, ...], "these phases afterwards; none for accept, reject and delete"] = ()
    before_sha256: Annotated[Sha256, "hash of the annotation as the reviewer saw it; a mismatch is a conflict"]
    undoes: Annotated[Id | None, "review taken back; undo only"] = None
    reviewer: Annotated[Str, "name the reviewer gave"]
    at: Annotated[Instant, "when, UTC"]
    note: Annotated[Str | None, "remark"] = None

    def __post_init__(self) -> None:
        if (self.operation == "undo") != (self.undoes is not None):
            raise ValueError("an undo, and nothing else, names the review it takes back")
        if not isinstance(self.at, datetime) or self.at.utcoffset() is None:
            raise ValueError("a review needs a time with a zone")
