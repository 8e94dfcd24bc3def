"""Review queue: the annotations of a layer in review order, worst first."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import pyarrow as pa

from xsheet.schemas.ids import content_key
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.tables import ANNOTATIONS, CLIPS, FINDINGS, SOURCES, part_files, read_file, read_table

# Of one reviewer; by_other: another reviewer decided the clip, locked: another reviewer works on it now.
ReviewState = Literal["open", "edited", "accepted", "rejected", "by_other", "locked"]
MIN_REPEAT_DISTANCE = 12  # clips between a clip and its repetition, so that the reviewer has forgotten the details


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEntry:
    """One annotation in the queue. A repetition has its own key; the page shows no other difference."""

    key: str
    clip_id: str
    source_file: str = ""  # file name of the source video
    annotation_id: str
    is_repeat: bool = False
    response_status: str  # status of the annotator's response
    duration_us: int
    phases: int
    tracks: tuple[str, ...]
    actions: tuple[str, ...]
    errors: int = 0  # findings
    warnings: int = 0
    checks: tuple[str, ...] = ()
    score: float | None = None  # overall audit score, else the lowest phase confidence, 0..1

    @property
    def review_priority(self) -> tuple[bool, int, int, float, str]:
        """Sort key: worst first; failed responses, which have nothing to review, come last."""
        failed = self.response_status != "ok"
        return failed, -self.errors, -self.warnings, math.inf if self.score is None else self.score, self.clip_id


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFilter:
    """Filters of the queue; an empty string matches everything."""

    text: str = ""
    state: str = ""
    check: str = ""
    track: str = ""
    action: str = ""

    def matches(self, entry: QueueEntry, state: ReviewState) -> bool:
        """Whether an entry in this state matches all filters."""
        return (
            self.text.lower() in f"{entry.clip_id} {entry.source_file}".lower()
            and self.state in ("", state)
            and (not self.check or self.check in entry.checks)
            and (not self.track or self.track in entry.tracks)
            and (not self.action or self.action in entry.actions)
        )


def build_queue(set_folder: Path, layer: LayerRun) -> list[QueueEntry]:
    """All annotations of a layer: most findings first, then lowest score. Findings and scores are optional."""
    findings, source_files = _finding_counts(set_folder), _source_files(set_folder)
    entries = [
        replace(
            entry,
            source_file=source_files.get(entry.clip_id, ""),
            **findings.get(entry.annotation_id, {}),
        )
        for file in layer.files
        for entry in _read_entries(file)
    ]
    return sorted(entries, key=lambda entry: entry.review_priority)


def with_repeats(entries: Sequence[QueueEntry], *, share: float, reviewer: str) -> list[QueueEntry]:
    """Repeat a share of the clips at least MIN_REPEAT_DISTANCE places later; each reviewer gets a fixed selection."""
    placed = [(float(place), entry) for place, entry in enumerate(entries)]
    for place, entry in enumerate(entries):
        key = content_key("again", reviewer, entry.annotation_id)
        drawn, later = int(key[:8], 16) / 16**8, int(key[8:16], 16) / 16**8
        if entry.response_status == "ok" and drawn < share:
            repeat = replace(entry, key=f"ann_{key[:20]}", is_repeat=True)
            placed.append((place + MIN_REPEAT_DISTANCE + later * (len(entries) - place), repeat))
    return [entry for _, entry in sorted(placed, key=lambda pair: pair[0])]


def _read_entries(file: Path) -> Iterator[QueueEntry]:
    columns = ["annotation_id", "clip_id", "status", "duration_us", "phases", "scores"]
    rows = read_file(file, ANNOTATIONS, columns)
    phases = rows["phases"].combine_chunks()
    fields = {name: _phase_field(phases, name) for name in ("track", "action", "confidence")}
    for i, row in enumerate(rows.drop_columns(["phases"]).to_pylist()):
        confidences = [value for value in fields["confidence"][i] if value is not None]
        overall = (row["scores"] or {}).get("overall")
        yield QueueEntry(
            key=row["annotation_id"],
            clip_id=row["clip_id"],
            annotation_id=row["annotation_id"],
            response_status=row["status"],
            duration_us=row["duration_us"],
            phases=len(fields["track"][i]),
            tracks=tuple(sorted(set(fields["track"][i]))),
            actions=tuple(sorted(set(fields["action"][i]))),
            score=overall if overall is not None else min(confidences, default=None),
        )


def _phase_field(phases: Any, name: str) -> list[list[Any]]:
    """One field of the phases of every row; reading whole phases would cost a hundred times as much."""
    values = phases.flatten().field(name)
    return list(pa.ListArray.from_arrays(_offsets(phases), values).to_pylist())


def _offsets(phases: Any) -> pa.Array:
    lengths = [length or 0 for length in phases.value_lengths().to_pylist()]
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    return pa.array(offsets, pa.int32())


def _source_files(set_folder: Path) -> dict[str, str]:
    """File name of the source video by clip."""
    sources = read_table(set_folder, SOURCES, ["source_id", "path"]).to_pydict()
    names = {
        source_id: PurePath(path).name for source_id, path in zip(sources["source_id"], sources["path"], strict=True)
    }
    clips = read_table(set_folder, CLIPS, ["clip_id", "source_id"]).to_pydict()
    return {
        clip_id: names.get(source_id, "")
        for clip_id, source_id in zip(clips["clip_id"], clips["source_id"], strict=True)
    }


def _finding_counts(set_folder: Path) -> dict[str, dict[str, Any]]:
    """Counts and checks by annotation id; a finding of several audits counts once."""
    findings: dict[tuple[str, str, str | int | None], tuple[str, str, str]] = {}
    for file in part_files(set_folder, FINDINGS):
        columns = ["annotation_id", "severity", "check", "phase_id", "start_us"]
        for row in read_file(file, FINDINGS, columns).to_pylist():
            if row["annotation_id"] is not None:
                # Ids name the audit; the place of a finding does not.
                place = row["annotation_id"], row["check"], row["phase_id"] or row["start_us"]
                findings[place] = (row["annotation_id"], row["severity"], row["check"])
    by_annotation: dict[str, list[tuple[str, str]]] = {}
    for annotation_id, severity, check in findings.values():
        by_annotation.setdefault(annotation_id, []).append((severity, check))
    return {annotation_id: _count_findings(rows) for annotation_id, rows in by_annotation.items()}


def _count_findings(rows: Iterable[tuple[str, str]]) -> dict[str, Any]:
    severities, checks = zip(*rows, strict=True)
    return {
        "errors": severities.count("error"),
        "warnings": severities.count("warning"),
        "checks": tuple(sorted(set(checks))),
    }
