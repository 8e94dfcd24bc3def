"""Explain: everything about one annotation: where it came from, and what every check said, those that passed too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xsheet.audit.pipeline import answers_of
from xsheet.audit.scores import Answer, phase_scores, scores_of
from xsheet.audit.settings import AuditSettings
from xsheet.audit.views import Views
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation, Scores
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun, layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """One step of where an annotation came from, the annotation itself first."""

    layer: LayerRun
    annotation: Annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One annotation with its provenance and all answers."""

    annotation: Annotation
    ancestors: tuple[Ancestor, ...]
    answers: tuple[Answer, ...]
    scores: Scores
    phase_scores: dict[str, Scores]

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Check, phase, state, what was found beside its limit, and why it is asked; faults first."""
        order = {False: 0, None: 1, True: 2}
        in_order = sorted(self.answers, key=lambda answer: (order[answer[1].passed], answer[0].id))
        return [
            (
                check.id,
                outcome.phase.phase_id if outcome.phase is not None else "",
                {True: "pass", False: check.severity, None: "open"}[outcome.passed],
                check.says(outcome),
                check.why,
            )
            for check, outcome in in_order
        ]

    def provenance(self) -> list[tuple[str, str, str, str]]:
        """Layer, annotation, who made it, and the prompts by their hashes."""
        return [
            (
                str(one.layer),
                one.annotation.annotation_id,
                f"{one.layer.made_by} {one.layer.run.model.revision if one.layer.run.model else ''}".strip(),
                ", ".join(f"{prompt.id}@{prompt.sha256[:12]}" for prompt in one.layer.run.prompts),
            )
            for one in self.ancestors
        ]


def explain(set_folder: Path, begins: str, settings: AuditSettings) -> Explained:
    """All about the one annotation whose id begins so.

    Support over samples is not asked again here: it needs the other samples of the clip.

    Raises:
        ConfigError: no annotation, or more than one, begins so.
    """
    found = _row(set_folder, begins)
    views = Views(set_folder, found.layer)
    answers = tuple(answers_of(views.view(found.annotation), settings))
    return Explained(
        annotation=found.annotation,
        ancestors=tuple(_ancestors(set_folder, found)),
        answers=answers,
        scores=scores_of(answers),
        phase_scores=phase_scores(answers),
    )


def _row(set_folder: Path, begins: str) -> Ancestor:
    known = [(one, file, k, name) for one in layers(set_folder) for file, k, name in _named(one, begins)]
    if len(known) != 1:
        raise ConfigError(
            where=f"annotation {begins!r} of {set_folder}",
            expected="the beginning of one annotation's id",
            came=f"{len(known)}: {', '.join(name for *_, name in known[:5])}" if known else "none",
            todo="give more of the id" if known else "take one from a finding, or from the queue of the audit",
        )
    layer, file, k, _ = known[0]
    return Ancestor(layer=layer, annotation=_read(file, k))


def _named(layer: LayerRun, begins: str) -> list[tuple[Path, int, str]]:
    return [(file, k, name) for file in layer.files for k, name in enumerate(_ids(file)) if name.startswith(begins)]


def _ids(file: Path) -> Any:
    return tables.read_file(file, tables.ANNOTATIONS, ["annotation_id"])["annotation_id"].to_pylist()


def _read(file: Path, row: int) -> Annotation:
    return tables.from_arrow(tables.read_slice(file, tables.ANNOTATIONS, range(row, row + 1)), tables.ANNOTATIONS)[0]


def _ancestors(set_folder: Path, child: Ancestor) -> list[Ancestor]:
    """The annotation, its parents, and theirs; a parent that the set no longer has is left out."""
    known = layers(set_folder)
    found, wanted = [child], list(child.annotation.parent_ids)
    seen = {child.annotation.annotation_id}
    while wanted:
        name = wanted.pop(0)
        if name in seen:
            continue
        seen.add(name)
        place = next(((one, file, k) for one in known for file, k, _ in _named(one, name)), None)
        if place is not None:
            layer, file, k = place
            found.append(Ancestor(layer=layer, annotation=_read(file, k)))
            wanted += found[-1].annotation.parent_ids
    return found
