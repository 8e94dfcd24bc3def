"""The audit report: one self-contained HTML page.

Names, texts and messages on it are untrusted: every value is escaped, and the page allows only its own script, by hash.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from xsheet.audit.checks.layer import AMPLITUDE_CORRELATION, DISTINCT_BIGRAMS, TEXT_COMPRESSION, TOP_TEXT_SHARE
from xsheet.audit.pipeline import CHECKS, AuditResult
from xsheet.audit.report.axis import SEVERITY_SYMBOLS
from xsheet.audit.report.clips import ClipCard, ClipSection, ClipSelection, apply_audit_scores, build_clip_section
from xsheet.audit.report.criteria import build_gate_section
from xsheet.audit.report.details import CLIPS_PER_BLOCK, label_layers, layer_label
from xsheet.audit.report.findings import LayerFindings
from xsheet.audit.report.sections import compare_with, layer_cost, layer_distributions, provenance_rows
from xsheet.audit.report.summary import summary_numbers
from xsheet.audit.review.queue import build_queue
from xsheet.pages.environment import page_environment, read_resource
from xsheet.runtime.executor import Execution
from xsheet.schemas.files import write_text
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.sets import open_set

DEFAULT_FILMSTRIPS = 24
"""Clips with a filmstrip, the worst first; each costs a decode and some 25 kB of page."""
LAYER_CHECKS = (DISTINCT_BIGRAMS, TOP_TEXT_SHARE, TEXT_COMPRESSION, AMPLITUDE_CORRELATION)
PACKAGE = "xsheet.audit.report"


def write_report(
    set_folder: Path,
    target: AuditResult | LayerRun,
    page: Path,
    *,
    references: Sequence[LayerRun] = (),
    filmstrip_count: int = DEFAULT_FILMSTRIPS,
    execution: Execution | None = None,
) -> Path:
    """Write the page, atomically; the same set gives the same bytes.

    Args:
        set_folder: the set.
        target: an audit; or a layer: then the page has no gate, and shows the findings of all its audits.
        page: the file, e.g. SET/audit.html; cards link to the clips if it lies inside the set.
        references: layers to compare with.
        filmstrip_count: number of the worst clips that have a filmstrip.
        execution: number and limits of the workers that decode.

    Returns:
        The file.

    Raises:
        ContractError: no set, or a table that this code does not read.
        RunError: no worker starts, or the disk is full.
    """
    name = open_set(set_folder).name
    layer, audited = (target.layer, target) if isinstance(target, AuditResult) else (target, None)
    entries = build_queue(set_folder, layer)
    ids = {entry.annotation_id for entry in entries}
    findings = LayerFindings.read(set_folder, ids, run_id=None if audited is None else audited.run.run_id)
    if audited is not None:
        entries = apply_audit_scores(entries, audited, findings)
    environment, other_layers = _environment(), label_layers(layer, references)
    selection = ClipSelection(
        set_folder=set_folder,
        layer=layer,
        other_layers=other_layers,
        findings=findings,
        page=page,
        filmstrip_count=filmstrip_count,
        scores={} if audited is None else {one.annotation_id: one.scores for one in audited.annotations},
        execution=execution or Execution(),
    )
    clips = build_clip_section(selection, entries, render=_card_renderer(environment))
    report = environment.get_template("page.html").render(
        set_name=name,
        layer=layer,
        layer_label=layer_label(layer),
        other_layers=list(other_layers),
        entries=entries,
        summary=summary_numbers(entries, findings.error_phase_counts()),
        independence="" if audited is None else audited.rules.statement,
        gate=None if audited is None else build_gate_section(audited),
        findings=findings,
        check_counts={} if audited is None else {one.check.id: one for one in audited.checks},
        refutations={} if audited is None else audited.refutations,
        distributions=layer_distributions(layer, entries),
        comparisons=[compare_with(layer, other, label=name) for name, other in other_layers.items()],
        cost=layer_cost(layer),
        provenance=list(provenance_rows(layer.run)),
        clips=clips,
        **_script_context(clips),
    )
    write_text(page, report)
    return page


def _script_context(clips: ClipSection) -> dict[str, Any]:
    """The script of the page, its hash and its data. The cards are escaped already."""
    script = read_resource(PACKAGE, "page.js")
    layout = {"worst": len(clips.worst_cards), "per_block": CLIPS_PER_BLOCK, "packed": clips.packed_count}
    return {
        "js": Markup(script),
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "table": Markup(clips.rows_as_json),
        "layout": Markup(json.dumps(layout)),
        "worst": [Markup(card) for card in clips.worst_cards],
    }


def _card_renderer(environment: Environment) -> Callable[[ClipCard], str]:
    """The macro `card` of clip.html."""
    card: Callable[[ClipCard], str] = getattr(environment.get_template("clip.html").module, "card")  # noqa: B009
    return card


def _environment() -> Environment:
    return page_environment(
        PACKAGE,
        variables={
            "severity_symbols": SEVERITY_SYMBOLS,
            "families": ("consistency", "motion", "speech", "text"),
            "checks": {check.id: check for check in (*CHECKS, *LAYER_CHECKS)},
        },
    )
