"""Clip payload: one clip with its measurements, findings and annotations as JSON for the page.

In a blind review the hidden fields are removed here, so that they never reach the browser.
"""

import math
from collections.abc import Iterable, Set
from dataclasses import replace
from itertools import groupby
from pathlib import Path, PurePath
from typing import Any, Generic, Literal, TypeVar

from pyarrow.parquet import FileMetaData
from pydantic import TypeAdapter

from xsheet.annotate.motion.curves import MOVING_SPEED, motion_curves, moving_ranges, track_speeds
from xsheet.annotate.speech.transcript import transcript_of
from xsheet.audit.review.draft import Draft, EditHistory, finding_place
from xsheet.audit.review.edits import mirror_side
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Finding, Phase
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.columns import Record
from xsheet.schemas.errors import ContractError
from xsheet.schemas.ids import content_key
from xsheet.schemas.layers import LayerRun, list_layers
from xsheet.schemas.run import Run
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.tables import (
    ANNOTATIONS,
    CLIPS,
    FINDINGS,
    SHOTS,
    SIGNALS,
    SOURCES,
    WORDS,
    Table,
    from_arrow,
    part_files,
    read_file,
    read_footer,
    read_slice,
    read_table,
)
from xsheet.schemas.time import CLIP_RATE, frame_start_us

BlindField = Literal["text", "layers"]
MAX_OTHER_LAYERS = 8  # more lanes would be unreadable
_PHASE, _FINDING = TypeAdapter(Phase), TypeAdapter(Finding)
MIN_FRAMES = 5  # a speed is a difference over four frames
DISPLAYED_TRACKS: tuple[vocab.Track, ...] = ("head", "gaze", "brows", "mouth", "face", "torso", "arm_left", "arm_right")
DISPLAYED_POINTS = ("head", "shoulder_left", "shoulder_right", "elbow_left", "elbow_right", "wrist_left", "wrist_right")
R = TypeVar("R", bound=Record)


class ClipPayloads:
    """Builds the payloads of a set. Ids and cuts are in memory; everything else is read per clip."""

    def __init__(self, set_folder: Path, layer: LayerRun, *, blind: frozenset[BlindField] = frozenset()) -> None:
        self._layer = layer
        self._blind = blind
        self._clips = RowIndex(part_files(set_folder, CLIPS), CLIPS)
        self._signals = RowIndex(part_files(set_folder, SIGNALS), SIGNALS)
        self._findings = RowIndex(part_files(set_folder, FINDINGS), FINDINGS)
        self._annotations = RowIndex(layer.files, ANNOTATIONS)
        self._other_layer_rows = [
            (one, RowIndex(one.files, ANNOTATIONS)) for one in list_layers(set_folder) if str(one) != str(layer)
        ]
        self._sources = RowIndex(part_files(set_folder, SOURCES), SOURCES, key="source_id")
        self._words = RowIndex(part_files(set_folder, WORDS), WORDS)
        self._cuts = _cuts(set_folder)

    def get_clip(self, clip_id: str) -> Clip | None:
        """The clip with this id, or None."""
        return self._clips.get_first(clip_id)

    def get_annotation(self, clip_id: str, annotation_id: str) -> Annotation:
        """An annotation of the layer under review.

        Raises:
            ContractError: the layer does not have it.
        """
        match = next((one for one in self._annotations.get_all(clip_id) if one.annotation_id == annotation_id), None)
        if match is None:
            where, got = str(self._layer), f"none in clip {clip_id}"
            raise ContractError(where=where, expected=annotation_id, got=got, hint="restart the review")
        return match

    def clip_payload(self, trail: EditHistory) -> dict[str, Any]:
        """One clip without its draft (see `draft_payload`)."""
        annotation = trail.annotation
        clip, signals = self.get_clip(annotation.clip_id), self._signals.get_first(annotation.clip_id)
        source = None if clip is None else self._sources.get_first(clip.source_id)
        return {
            "clip_id": annotation.clip_id,
            "source_file": "" if source is None else PurePath(source.path).name,
            "duration_us": annotation.duration_us,
            "media": None if clip is None else f"/media/{clip.clip_id}",
            "size": None if clip is None else [clip.width, clip.height],
            "cuts_us": [] if clip is None else self._cuts_in(clip),
            "curves": None if signals is None else curves_payload(signals),
            "transcript": [] if clip is None or source is None else self._transcript_words(source, clip),
            "frame_timestamps_us": [] if annotation.model_input is None else list(annotation.model_input.stamps_us),
            "base": None if annotation.base is None or "text" in self._blind else annotation.base.text,
            "response_status": annotation.status,
            "findings": [self._finding(one) for one in self.findings_of(annotation)],
            "other_layers": self._other_layers(annotation),
            "provenance": None if "layers" in self._blind else provenance_payload(self._layer.run),
        }

    def draft_payload(self, trail: EditHistory) -> dict[str, Any]:
        """The current draft of an annotation."""
        draft: Draft = trail.draft
        texts = {phase.text for phase in trail.annotation.phases}
        hidden = texts | set(
            map(mirror_side, texts)
        )  # an edit of the times does not turn the model's text into the reviewer's
        return {
            "sha256": draft.sha256,
            "decision": draft.decision,
            "accepted": sorted(draft.accepted),
            "disputed": sorted(draft.disputed),
            "phases": [self._phase(phase, hidden) for phase in draft.phases],
            "rejected": [self._phase(phase, hidden) for phase in draft.rejected],
            "undo_id": trail.undo_stack.undo_id,
            "redo_id": trail.undo_stack.redo_id,
            "rejected_operations": len(trail.rejected_reviews),
            "history": [
                {"operation": one.operation, "phase_ids": one.phase_ids, "at": one.at.isoformat(), "note": one.note}
                for one in trail.reviews
            ],
        }

    def _other_layers(self, annotation: Annotation) -> list[dict[str, Any]]:
        """The same clip in other layers; blind to layers, they are A, B, ... in an order that differs by clip."""
        rows_by_layer = [
            (layer, one) for layer, rows in self._other_layer_rows for one in rows.get_all(annotation.clip_id)
        ]
        if "layers" in self._blind:
            rows_by_layer.sort(key=lambda pair: content_key(pair[1].annotation_id))
        return [
            {
                "name": chr(ord("A") + i) if "layers" in self._blind else _layer_label(layer, one),
                "phases": [self._phase(phase, {phase.text}) for phase in one.phases],
            }
            for i, (layer, one) in enumerate(rows_by_layer[:MAX_OTHER_LAYERS])
        ]

    def findings_of(self, annotation: Annotation) -> Iterable[Finding]:
        """Findings of this annotation and of its clip; of a finding of two audits the last one."""
        findings = self._findings.get_all(annotation.clip_id)
        return {
            finding_place(one): one for one in findings if one.annotation_id in (None, annotation.annotation_id)
        }.values()

    def _finding(self, finding: Finding) -> dict[str, Any]:
        visible = replace(finding, message="") if "text" in self._blind else finding
        row = _plain(_FINDING.dump_python(visible, mode="json", exclude={"run_id", "annotation_id", "clip_id"}))
        return row | {"place": finding_place(finding)}

    def _phase(self, phase: Phase, hidden: Set[str]) -> dict[str, Any]:
        """A phase; a review blind to text removes the texts in `hidden`."""
        row = _plain(_PHASE.dump_python(phase, mode="json"))
        if "text" in self._blind and phase.text in hidden:
            row |= {"text": "", "text_short": None, "action_raw": None}
            row["evidence"] = row["evidence"] and row["evidence"] | {"text": None}
        if "layers" in self._blind:
            row["origin"] = ""
        return row

    def _transcript_words(self, source: SourceVideo, clip: Clip) -> list[dict[str, Any]]:
        words = transcript_of(source, clip, self._words.get_first(clip.clip_id)).words
        return [{"text": word.text, "start_us": word.start_us, "end_us": word.end_us} for word in words]

    def _cuts_in(self, clip: Clip) -> list[int]:
        return [us - clip.start_us for us in self._cuts.get(clip.source_id, ()) if clip.start_us < us < clip.end_us]


def provenance_payload(run: Run) -> dict[str, Any]:
    """Run record of the layer: model, engine, prompts, settings and parents."""
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "tool": f"xsheet {run.tool_version}",
        "model": None if run.model is None else f"{run.model.id} @ {run.model.revision}",
        "engine": None if run.engine is None else f"{run.engine.name} {run.engine.version}",
        "prompts": [{"name": f"{one.id} {one.version}", "sha256": one.sha256, "text": one.text} for one in run.prompts],
        "settings_sha256": run.settings_sha256,
        "parents": list(run.parent_run_ids),
    }


def _layer_label(layer: LayerRun, annotation: Annotation) -> str:
    sample = "" if annotation.sample_index is None else f" #{annotation.sample_index}"
    return f"{layer.layer} · {layer.producer}{sample}"


def _plain(row: Any) -> dict[str, Any]:
    return dict(row)


def _cuts(set_folder: Path) -> dict[str, list[int]]:
    """Starts of shots by source, µs in the source."""
    rows = read_table(set_folder, SHOTS, ["source_id", "start_us"])
    cuts: dict[str, list[int]] = {}
    for source, start_us in zip(rows["source_id"].to_pylist(), rows["start_us"].to_pylist(), strict=True):
        cuts.setdefault(source, []).append(start_us)
    return {source: sorted(starts) for source, starts in cuts.items()}


# ---- rows by id


class RowIndex(Generic[R]):
    """Rows of one table by id; only ids are in memory, rows are read on request."""

    def __init__(self, files: Iterable[Path], table: Table[R], *, key: str = "clip_id") -> None:
        self._table = table
        self._row_locations: dict[str, list[tuple[Path, range]]] = {}  # neighbours are read together
        self._footers: dict[Path, FileMetaData] = {}
        for path in files:
            self._footers[path] = read_footer(path)
            row = 0
            for one, same in groupby(read_file(path, table, [key])[key].to_pylist()):
                stop = row + sum(1 for _ in same)
                if one is not None:
                    self._row_locations.setdefault(one, []).append((path, range(row, stop)))
                row = stop

    def get_all(self, one: str) -> list[R]:
        """Rows with this id, in stored order.

        Raises:
            ContractError: a row breaks the contract or its file has changed.
        """
        places = self._row_locations.get(one, ())
        slices = [read_slice(path, self._table, rows, footer=self._footers[path]) for path, rows in places]
        return [record for rows in slices for record in from_arrow(rows, self._table)]

    def get_first(self, one: str) -> R | None:
        """First row with this id, or None; raises like `get_all`."""
        return next(iter(self.get_all(one)), None)


# ---- curves


def curves_payload(signals: Signals) -> dict[str, Any]:
    """Voice activity, level, mouth opening and tracked points per frame; speed (1 = small movement) and onsets."""
    tracks: dict[vocab.Track, dict[str, Any]] = {}
    if signals.frames >= MIN_FRAMES:
        found = track_speeds(motion_curves(signals))
        tracks = {
            track: {
                "speed": _round_values(found[track] / MOVING_SPEED[track]),
                "onsets_us": [
                    frame_start_us(frame, CLIP_RATE)
                    for stretch in moving_ranges(found[track], track=track)
                    for frame in (stretch.start, stretch.stop)
                ],
            }
            for track in DISPLAYED_TRACKS
        }
    return {
        "extractor": signals.extractor,
        "voice_activity": _round_values(signals.voice),
        "level_db": _round_values(signals.energy_db),
        "mouth_open": _round_values(signals.mouth_open),
        "tracks": {track: one for track, one in tracks.items() if any(v is not None for v in one["speed"])},
        "points": _points(signals),
        "head_height": _round_values(signals.head_height),
    }


def _points(signals: Signals) -> dict[str, list[list[float | None]]]:
    """X and y per frame of the points that are seen at all, in picture heights."""
    points = {
        name: [_round_values(getattr(signals, f"{name}_{axis}")) for axis in ("x", "y")] for name in DISPLAYED_POINTS
    }
    return {name: xy for name, xy in points.items() if any(value is not None for value in xy[0])}


def _round_values(values: Iterable[float | None]) -> list[float | None]:
    """Round to three significant digits; unknown values become null."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.3g}") for v in values]
