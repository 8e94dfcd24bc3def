"""Explain one annotation: its provenance and the results of all checks, passed ones included."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xsheet.audit.independence import audit_rules
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
    """An annotation and its layer: the explained annotation, or one that it derives from."""

    layer: LayerRun
    annotation: Annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One annotation with its provenance and all check results."""

    annotation: Annotation
    ancestors: tuple[Ancestor, ...]
    evaluations: tuple[CheckEvaluation, ...]
    scores: Scores
    phase_scores: dict[str, Scores]

    def evaluation_rows(self) -> list[tuple[str, str, str, str, str]]:
        """Check id, phase id, state, value and limit, requirement; failures first."""
        order = {False: 0, None: 1, True: 2}
        in_order = sorted(self.evaluations, key=lambda evaluation: (order[evaluation[1].passed], evaluation[0].id))
        return [
            (
                check.id,
                result.phase.phase_id if result.phase is not None else "",
                {True: "pass", False: check.severity, None: "undetermined"}[result.passed],
                check.message(result),
                check.requirement,
            )
            for check, result in in_order
        ]

    def provenance_rows(self) -> list[tuple[str, str, str, str]]:
        """Layer, annotation id, producer and revision, prompts with their hashes."""
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
    """Explain the annotation whose id starts with `id_prefix`.

    Leaves out support over samples, which needs the other samples of the clip.

    Raises:
        ConfigError: no annotation or more than one has an id with this prefix.
    """
    explained = _find_annotation(set_folder, id_prefix)
    views = LayerViews(set_folder, explained.layer, rules=audit_rules(set_folder, explained.layer).settings)
    evaluations = tuple(run_checks(views.view(explained.annotation), settings))
    return Explanation(
        annotation=explained.annotation,
        ancestors=tuple(_ancestors(set_folder, explained)),
        evaluations=evaluations,
        scores=score_evaluations(evaluations),
        phase_scores=phase_scores(evaluations),
    )


def _find_annotation(set_folder: Path, id_prefix: str) -> Ancestor:
    matches = [
        (layer, file, row, name)
        for layer in list_layers(set_folder)
        for file, row, name in _rows_with_prefix(layer, id_prefix)
    ]
    if len(matches) != 1:
        raise ConfigError(
            where=f"annotation {id_prefix!r} of {set_folder}",
            expected="the prefix of one annotation id",
            got=f"{len(matches)} matches: {', '.join(name for *_, name in matches[:5])}" if matches else "no match",
            hint="give more of the id" if matches else "take an id from a finding or from the audit report",
        )
    layer, file, row, _ = matches[0]
    return Ancestor(layer=layer, annotation=_read_annotation(file, row))


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
    """The annotation, its parents, their parents and so on; parents that the set no longer has are left out."""
    layers = list_layers(set_folder)
    ancestors, queue = [child], list(child.annotation.parent_ids)
    visited = {child.annotation.annotation_id}
    while queue:
        parent_id = queue.pop(0)
        if parent_id in visited:
            continue
        visited.add(parent_id)
        rows = ((layer, file, row) for layer in layers for file, row, _ in _rows_with_prefix(layer, parent_id))
        location = next(rows, None)
        if location is not None:
            layer, file, row = location
            ancestors.append(Ancestor(layer=layer, annotation=_read_annotation(file, row)))
            queue += ancestors[-1].annotation.parent_ids
    return ancestors
