"""The audit of a layer as one HTML page that needs nothing but itself: it opens from a disk and asks for nothing.

Names, texts and messages in it were chosen by strangers. The template escapes every value, controls and text that turns
the line around are spelled out, and the page forbids every script but its own, which it names by its hash.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from xsheet.audit.checks.layer import AMPLITUDE_CORRELATION, DISTINCT_BIGRAMS, TEXT_COMPRESSION, TOP_TEXT_SHARE
from xsheet.audit.pipeline import CHECKS, AuditResult
from xsheet.audit.report.axis import SEVERITY_SYMBOLS, format_seconds, readable
from xsheet.audit.report.clips import ClipCard, ClipSection, ClipSelection, apply_audit_scores, build_clip_section
from xsheet.audit.report.criteria import build_gate_section
from xsheet.audit.report.details import CLIPS_PER_BLOCK, label_layers, layer_label
from xsheet.audit.report.findings import LayerFindings
from xsheet.audit.report.sections import compare_with, layer_cost, layer_distributions, provenance_rows
from xsheet.audit.report.summary import format_percent, summary_numbers
from xsheet.audit.review.queue import build_queue
from xsheet.curate.report.wording import printable
from xsheet.runtime.executor import Execution
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.sets import open_set
from xsheet.schemas.tables import write_text

DEFAULT_FILMSTRIPS = 24
"""Clips with their pictures, the worst; each costs a decode and some 25 kB."""
LAYER_CHECKS = (DISTINCT_BIGRAMS, TOP_TEXT_SHARE, TEXT_COMPRESSION, AMPLITUDE_CORRELATION)
_KIND_PATTERNS = {
    "gesture": "M0 8L8 0M-2 2L2-2M6 10L10 6", "posture": "M0 4H8", "expression": "M4 0V8",
    "gaze": "M0 0L8 8M-2 6L2 10M6-2L10 2", "rest": "M1 2H3M5 6H7", "locomotion": "M0 4H8M4 0V8",
    "object_use": "M0 0L8 8M0 8L8 0",
}  # fmt: skip


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
        target: an audit; or a layer, whose page then has no gate, and the findings of every audit of it.
        page: the file, e.g. SET/audit.html. Inside the set its clips can be reached from it.
        references: layers to compare it with.
        filmstrip_count: how many of the worst clips have pictures.
        execution: how clips are decoded.

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
    environment, beside = _environment(), label_layers(layer, references)
    wanted = ClipSelection(
        set_folder=set_folder,
        layer=layer,
        other_layers=beside,
        findings=findings,
        page=page,
        filmstrip_count=filmstrip_count,
        scores={} if audited is None else {one.annotation_id: one.scores for one in audited.annotations},
        execution=execution or Execution(),
    )
    clips = build_clip_section(wanted, entries, render=_card_renderer(environment))
    text = environment.get_template("page.html").render(
        set_name=name,
        layer=layer,
        layer_label=layer_label(layer),
        other_layers=list(beside),
        entries=entries,
        summary=summary_numbers(entries, findings.error_phase_counts()),
        gate=None if audited is None else build_gate_section(audited),
        findings=findings,
        check_counts={} if audited is None else {one.check.id: one for one in audited.checks},
        refutations={} if audited is None else audited.refutations,
        distributions=layer_distributions(layer, entries),
        comparisons=[compare_with(layer, other, label=name) for name, other in beside.items()],
        cost=layer_cost(layer),
        provenance=list(provenance_rows(layer.run)),
        clips=clips,
        **_script_context(clips),
    )
    write_text(page, text)
    return page


def _script_context(clips: ClipSection) -> dict[str, Any]:
    """The page's own script with its hash, and what it reads. Cards were escaped when they were made."""
    script = _resource("page.js")
    layout = {"shown": len(clips.worst_cards), "per_block": CLIPS_PER_BLOCK, "packed": clips.packed_count}
    return {
        "js": Markup(script),
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "table": Markup(clips.rows_as_json),
        "layout": Markup(json.dumps(layout)),
        "worst": [Markup(card) for card in clips.worst_cards],
    }


def _card_renderer(environment: Environment) -> Callable[[ClipCard], str]:
    """The macro that draws a clip."""
    card: Callable[[ClipCard], str] = getattr(environment.get_template("clip.html").module, "card")  # noqa: B009
    return card


def _environment() -> Environment:
    """Templates of the package: every value is escaped, and one that is not there is an error."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_sanitise,
        trim_blocks=True,
        loader=FunctionLoader(_resource),
    )
    environment.filters |= {
        "seconds": format_seconds,
        "readable": readable,
        "percent": format_percent,
        "count": "{:,}".format,
    }
    environment.globals |= {
        "css": Markup(_stylesheet()), "severity_symbols": SEVERITY_SYMBOLS, "patterns": list(_KIND_PATTERNS.items()),
        "families": ("consistency", "motion", "speech", "text"),
        "checks": {check.id: check for check in (*CHECKS, *LAYER_CHECKS)},
    }  # fmt: skip
    return environment


def _stylesheet() -> str:
    """The style of the curation's page, and what this one adds."""
    return (files("xsheet.curate.report") / "page.css").read_text(encoding="utf-8") + _resource("page.css")


def _resource(name: str) -> str:
    return (files("xsheet.audit.report") / name).read_text(encoding="utf-8")


def _sanitise(value: object) -> object:
    """Of every value, before it is escaped: escaping alone lets controls through."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
