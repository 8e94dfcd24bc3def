"""Explain: everything about one annotation: where it came from, and what every check said, those that passed too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xsheet.audit.pipeline import run_checks
from xsheet.audit.scores import CheckEvaluation, phase_scores, score_evaluations
from xsheet.audit.settings import AuditSettings
from xsheet.audit.views import LayerViews
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation, Scores
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun, list_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """One step of where an annotation came from, the annotation itself first."""

    layer: LayerRun
    annotation: Annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One annotation with its provenance and all answers."""

    annotation: Annotation
    ancestors: tuple[Ancestor, ...]
    evaluations: tuple[CheckEvaluation, ...]
    scores: Scores
    phase_scores: dict[str, Scores]

    def evaluation_rows(self) -> list[tuple[str, str, str, str, str]]:
        """Check, phase, state, what was found beside its limit, and why it is asked; faults first."""
        order = {False: 0, None: 1, True: 2}
        in_order = sorted(self.evaluations, key=lambda answer: (order[answer[1].passed], answer[0].id))
        return [
            (
                check.id,
                outcome.phase.phase_id if outcome.phase is not None else "",
                {True: "pass", False: check.severity, None: "open"}[outcome.passed],
                check.message(outcome),
                check.requirement,
            )
            for check, outcome in in_order
        ]

    def provenance_rows(self) -> list[tuple[str, str, str, str]]:
        """Layer, annotation, who made it, and the prompts by their hashes."""
        return [
            (
                str(one.layer),
                one.annotation.annotation_id,
                f"{one.layer.producer} {one.layer.run.model.revision if one.layer.run.model else ''}".strip(),
                ", ".join(f"{prompt.id}@{prompt.sha256[:12]}" for prompt in one.layer.run.prompts),
            )
            for one in self.ancestors
        ]


def explain_annotation(set_folder: Path, id_prefix: str, settings: AuditSettings) -> Explanation:
    """All about the one annotation whose id begins so.

    Support over samples is not asked again here: it needs the other samples of the clip.

    Raises:
        ConfigError: no annotation, or more than one, begins so.
    """
    found = _find_annotation(set_folder, id_prefix)
    views = LayerViews(set_folder, found.layer)
    answers = tuple(run_checks(views.view(found.annotation), settings))
    return Explanation(
        annotation=found.annotation,
        ancestors=tuple(_ancestors(set_folder, found)),
        evaluations=answers,
        scores=score_evaluations(answers),
        phase_scores=phase_scores(answers),
    )


def _find_annotation(set_folder: Path, id_prefix: str) -> Ancestor:
    known = [
        (one, file, k, name) for one in list_layers(set_folder) for file, k, name in _rows_with_prefix(one, id_prefix)
    ]
    if len(known) != 1:
        raise ConfigError(
            where=f"annotation {id_prefix!r} of {set_folder}",
            expected="the beginning of one annotation's id",
            got=f"{len(known)}: {', '.join(name for *_, name in known[:5])}" if known else "none",
            hint="give more of the id" if known else "take one from a finding, or from the queue of the audit",
        )
    layer, file, k, _ = known[0]
    return Ancestor(layer=layer, annotation=_read_annotation(file, k))


def _rows_with_prefix(layer: LayerRun, id_prefix: str) -> list[tuple[Path, int, str]]:
    return [
        (file, k, name)
        for file in layer.files
        for k, name in enumerate(_annotation_ids(file))
        if name.startswith(id_prefix)
    ]


def _annotation_ids(file: Path) -> Any:
    return tables.read_file(file, tables.ANNOTATIONS, ["annotation_id"])["annotation_id"].to_pylist()


def _read_annotation(file: Path, row: int) -> Annotation:
    return tables.from_arrow(tables.read_slice(file, tables.ANNOTATIONS, range(row, row + 1)), tables.ANNOTATIONS)[0]


def _ancestors(set_folder: Path, child: Ancestor) -> list[Ancestor]:
    """The annotation, its parents, and theirs; a parent that the set no longer has is left out."""
    known = list_layers(set_folder)
    found, wanted = [child], list(child.annotation.parent_ids)
    seen = {child.annotation.annotation_id}
    while wanted:
        name = wanted.pop(0)
        if name in seen:
            continue
        seen.add(name)
        place = next(((one, file, k) for one in known for file, k, _ in _rows_with_prefix(one, name)), None)
        if place is not None:
            layer, file, k = place
            found.append(Ancestor(layer=layer, annotation=_read_annotation(file, k)))
            wanted += found[-1].annotation.parent_ids
    return found
