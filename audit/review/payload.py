"""Sheet: one clip with all that was measured, found and said of it, as the page gets it.

In a blind review, what a reviewer must not know never leaves this machine's Python: it is taken out here.
"""

import math
from collections.abc import Iterable, Set
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter

from xsheet.annotate.motion.curves import MOVING_SPEED, motion_curves, moving_ranges, track_speeds
from xsheet.annotate.speech.transcript import transcript_of
from xsheet.audit.review.draft import Draft, EditHistory
from xsheet.audit.review.edits import mirror_side
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Finding, Phase
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.columns import Record
from xsheet.schemas.errors import ContractError
from xsheet.schemas.ids import content_key
from xsheet.schemas.layers import LayerRun, list_layers
from xsheet.schemas.run import Run
from xsheet.schemas.tables import (
    ANNOTATIONS,
    CLIPS,
    FINDINGS,
    SHOTS,
    SIGNALS,
    SOURCES,
    Table,
    from_arrow,
    part_files,
    read_file,
    read_slice,
    read_table,
)
from xsheet.schemas.time import CLIP_RATE, frame_start_us

BlindField = Literal["text", "layers"]
MAX_OTHER_LAYERS = 8  # lanes below one another; more are no comparison but a carpet
_PHASE, _FINDING = TypeAdapter(Phase), TypeAdapter(Finding)
MIN_FRAMES = 5  # a speed is a difference over four frames
DISPLAYED_TRACKS: tuple[vocab.Track, ...] = ("head", "gaze", "brows", "mouth", "face", "torso", "arm_left", "arm_right")
R = TypeVar("R", bound=Record)


class ClipPayloads:
    """The sheets of a set. Ids and cuts are in memory, everything else is read when a clip is asked for."""

    def __init__(self, set_folder: Path, layer: LayerRun, *, blind: frozenset[BlindField] = frozenset()) -> None:
        self._layer = layer
        self._blind = blind
        self._clips = RowIndex(part_files(set_folder, CLIPS), CLIPS)
        self._signals = RowIndex(part_files(set_folder, SIGNALS), SIGNALS)
        self._finding_counts = RowIndex(part_files(set_folder, FINDINGS), FINDINGS)
        self._annotations = RowIndex(layer.files, ANNOTATIONS)
        self._other_layer_rows = [
            (one, RowIndex(one.files, ANNOTATIONS)) for one in list_layers(set_folder) if str(one) != str(layer)
        ]
        self._sources = RowIndex(part_files(set_folder, SOURCES), SOURCES, key="source_id")
        self._cuts = _cuts(set_folder)

    def get_clip(self, clip_id: str) -> Clip | None:
        """The clip of an id, where the set has it."""
        return self._clips.get_first(clip_id)

    def get_annotation(self, clip_id: str, annotation_id: str) -> Annotation:
        """An annotation of the layer under review.

        Raises:
            ContractError: it is not there.
        """
        found = next((one for one in self._annotations.get_all(clip_id) if one.annotation_id == annotation_id), None)
        if found is None:
            where, came = str(self._layer), f"none in clip {clip_id}"
            raise ContractError(where=where, expected=annotation_id, got=came, hint="start the review again")
        return found

    def clip_payload(self, trail: EditHistory) -> dict[str, Any]:
        """All of one clip but what was decided on it (see `draft_json`)."""
        annotation = trail.annotation
        clip, signals = self.get_clip(annotation.clip_id), self._signals.get_first(annotation.clip_id)
        return {
            "clip_id": annotation.clip_id,
            "source_file": "" if clip is None else self._source_file(clip),
            "duration_us": annotation.duration_us,
            "media": None if clip is None else f"/media/{clip.clip_id}",
            "size": None if clip is None else [clip.width, clip.height],
            "cuts_us": [] if clip is None else self._cuts_in(clip),
            "curves": None if signals is None else curves_payload(signals),
            "transcript": [] if clip is None else self._transcript_words(clip),
            "frame_timestamps_us": [] if annotation.model_input is None else list(annotation.model_input.stamps_us),
            "base": None if annotation.base is None or "text" in self._blind else annotation.base.text,
            "response_status": annotation.status,
            "findings": [self._finding(one) for one in self._findings_of(annotation)],
            "other_layers": self._other_layers(annotation),
            "provenance": None if "layers" in self._blind else provenance_payload(self._layer.run),
        }

    def draft_payload(self, trail: EditHistory) -> dict[str, Any]:
        """What a reviewer has made of an annotation so far."""
        draft: Draft = trail.draft
        said = {phase.text for phase in trail.annotation.phases}
        hidden = said | set(map(mirror_side, said))  # an edit of its borders makes no text the reviewer's own
        return {
            "sha256": draft.sha256,
            "decision": draft.decision,
            "accepted": sorted(draft.accepted),
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
        """The same clip in other layers; blind reviewers get them as A, B, ... in an order that differs by clip."""
        found = [(layer, one) for layer, rows in self._other_layer_rows for one in rows.get_all(annotation.clip_id)]
        if "layers" in self._blind:
            found.sort(key=lambda pair: content_key(pair[1].annotation_id))
        return [
            {
                "name": chr(ord("A") + i) if "layers" in self._blind else _layer_label(layer, one),
                "phases": [self._phase(phase, {phase.text}) for phase in one.phases],
            }
            for i, (layer, one) in enumerate(found[:MAX_OTHER_LAYERS])
        ]

    def _findings_of(self, annotation: Annotation) -> Iterable[Finding]:
        """Of this annotation, and of its clip whatever the layer; the same finding of two audits once."""
        found = self._finding_counts.get_all(annotation.clip_id)
        return {one.finding_id: one for one in found if one.annotation_id in (None, annotation.annotation_id)}.values()

    def _finding(self, finding: Finding) -> dict[str, Any]:
        shown = replace(finding, message="") if "text" in self._blind else finding
        return _plain(_FINDING.dump_python(shown, mode="json", exclude={"run_id", "annotation_id", "clip_id"}))

    def _phase(self, phase: Phase, hidden: Set[str]) -> dict[str, Any]:
        """A phase; in a review that is blind to text without the words in `hidden`."""
        row = _plain(_PHASE.dump_python(phase, mode="json"))
        if "text" in self._blind and phase.text in hidden:
            row |= {"text": "", "text_short": None, "action_raw": None}
            row["evidence"] = row["evidence"] and row["evidence"] | {"text": None}
        if "layers" in self._blind:
            row["origin"] = ""
        return row

    def _source_file(self, clip: Clip) -> str:
        source = self._sources.get_first(clip.source_id)
        return "" if source is None else PurePath(source.path).name

    def _transcript_words(self, clip: Clip) -> list[dict[str, Any]]:
        source = self._sources.get_first(clip.source_id)
        return [] if source is None else [asdict(word) for word in transcript_of(source, clip).words]

    def _cuts_in(self, clip: Clip) -> list[int]:
        return [us - clip.start_us for us in self._cuts.get(clip.source_id, ()) if clip.start_us < us < clip.end_us]


def provenance_payload(run: Run) -> dict[str, Any]:
    """Where the layer came from; the prompts by name and hash, and whole on demand."""
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
    """The rows of some files of one table, by one of their ids."""

    def __init__(self, files: Iterable[Path], table: Table[R], *, key: str = "clip_id") -> None:
        self._table = table
        self._row_locations: dict[str, list[tuple[Path, int]]] = {}
        for path in files:
            for row, one in enumerate(read_file(path, table, [key])[key].to_pylist()):
                if one is not None:
                    self._row_locations.setdefault(one, []).append((path, row))

    def get_all(self, one: str) -> list[R]:
        """The rows of an id, in stored order.

        Raises:
            ContractError: a row breaks the contract, or its file was changed meanwhile.
        """
        slices = [read_slice(path, self._table, range(row, row + 1)) for path, row in self._row_locations.get(one, ())]
        return [record for rows in slices for record in from_arrow(rows, self._table)]

    def get_first(self, one: str) -> R | None:
        """The first row of an id, if there is any; raises as `all`."""
        return next(iter(self.get_all(one)), None)


# ---- curves


def curves_payload(signals: Signals) -> dict[str, Any]:
    """Voice, level and mouth opening per frame; per track its speed (1 = small deliberate movement) and its onsets."""
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
    }


def _round_values(values: Iterable[float | None]) -> list[float | None]:
    """Three digits are more than a screen shows; what is not known is null."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.3g}") for v in values]
