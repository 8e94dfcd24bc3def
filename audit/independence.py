"""Independence of an audit from the annotator whose layer it checks.

The motion checks and the motion annotator read the same signals, and the checks take their limits from the annotator's
rules. On a layer of the motion annotator they show that the rules were applied, not that the phases are true. The
settings of the audited run come from its manifest, so that the checks use the limits with which the layer was made.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from xsheet.annotate.motion.annotator import MotionSettings
from xsheet.annotate.settings import AnnotateSettings
from xsheet.schemas.layers import LayerRun, list_layers
from xsheet.schemas.sets import RunManifest
from xsheet.schemas.settings import settings_sha256

MOTION_PRODUCER = "xsheet.motion"
_SAME_RULES = (
    "This layer was made by the motion annotator. The motion checks (G1 to G10) read the same signals and use the same "
    "rules, {rules}: they show that the rules were applied, not that the phases are true. Optical flow (G11, G12), "
    "which the annotator does not read, and the decisions of reviewers are independent of it."
)
_OTHER_RULES = (
    "The motion checks (G1 to G10) use the rules of the motion annotator, {rules}, on the signals of curation; this "
    "layer was made by another annotator. Optical flow (G11, G12) is evidence independent of these signals."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRules:
    """The motion rules that an audit takes its limits from, and where they come from."""

    settings: MotionSettings
    is_of_run: bool  # whether a manifest of the audited run, or of one that it derives from, holds them
    statement: str  # for the report


def audit_rules(set_folder: Path, layer: LayerRun) -> AuditRules:
    """The rules of the run that made a layer, else the default ones.

    A manifest counts only if its settings have the hash that the run names.
    """
    found = _settings_of_run(set_folder, layer)
    rules = "with the settings of its run" if found is not None else "with their default settings"
    is_own = layer.producer == MOTION_PRODUCER
    return AuditRules(
        settings=found or MotionSettings(),
        is_of_run=found is not None,
        statement=(_SAME_RULES if is_own else _OTHER_RULES).format(rules=rules),
    )


def _settings_of_run(set_folder: Path, layer: LayerRun) -> MotionSettings | None:
    wanted = _settings_hashes(set_folder, layer)
    for path in sorted((set_folder / "manifests").glob("*-annotate-run.json"), reverse=True):
        try:
            manifest = RunManifest.model_validate_json(path.read_bytes())
            if manifest.settings_sha256 in wanted:
                settings = AnnotateSettings.model_validate_json(json.dumps(manifest.settings))
                if settings_sha256(settings) == manifest.settings_sha256:
                    return settings.motion
        except (OSError, ValidationError):
            continue  # `xsheet schemas check` reports it
    return None


def _settings_hashes(set_folder: Path, layer: LayerRun) -> frozenset[str]:
    """Hashes of the settings of a run and of the runs that it derives from."""
    runs = {one.run.run_id: one.run for one in list_layers(set_folder)}
    pending, seen = [layer.run.run_id], dict[str, str | None]()
    while pending:
        run = runs.get(pending.pop())
        if run is not None and run.run_id not in seen:
            seen[run.run_id] = run.settings_sha256
            pending += run.parent_run_ids
    return frozenset(sha256 for sha256 in seen.values() if sha256 is not None)
