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

from xsheet.audit.checks.layer import F11, F12, F13, G10
from xsheet.audit.pipeline import CHECKS, Audited
from xsheet.audit.report.axis import SIGNS, seconds, words
from xsheet.audit.report.clips import Card, ClipPages, Wanted, clip_pages, judged_entries
from xsheet.audit.report.criteria import gate_view
from xsheet.audit.report.details import PER_BLOCK, layer_name, named_beside
from xsheet.audit.report.findings import Findings
from xsheet.audit.report.sections import comparison, distributions, origin, spending
from xsheet.audit.report.summary import facts, percent
from xsheet.audit.review.queue import worst_first
from xsheet.curate.report.wording import printable
from xsheet.runtime.executor import Execution
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.sets import open_set
from xsheet.schemas.tables import write_text

SHOWN = 24
"""Clips with their pictures, the worst; each costs a decode and some 25 kB."""
LAYER_CHECKS = (F11, F12, F13, G10)
_PATTERNS = {
    "gesture": "M0 8L8 0M-2 2L2-2M6 10L10 6", "posture": "M0 4H8", "expression": "M4 0V8",
    "gaze": "M0 0L8 8M-2 6L2 10M6-2L10 2", "rest": "M1 2H3M5 6H7", "locomotion": "M0 4H8M4 0V8",
    "object_use": "M0 0L8 8M0 8L8 0",
}  # fmt: skip


def write_report(
    set_folder: Path,
    about: Audited | LayerRun,
    page: Path,
    *,
    against: Sequence[LayerRun] = (),
    shown: int = SHOWN,
    how: Execution | None = None,
) -> Path:
    """Write the page, atomically; the same set gives the same bytes.

    Args:
        set_folder: the set.
        about: an audit; or a layer, whose page then has no gate, and the findings of every audit of it.
        page: the file, e.g. SET/audit.html. Inside the set its clips can be reached from it.
        against: layers to compare it with.
        shown: how many of the worst clips have pictures.
        how: how clips are decoded.

    Returns:
        The file.

    Raises:
        ContractError: no set, or a table that this code does not read.
        RunError: no worker starts, or the disk is full.
    """
    name = open_set(set_folder).name
    layer, audited = (about.layer, about) if isinstance(about, Audited) else (about, None)
    entries = worst_first(set_folder, layer)
    ids = {entry.annotation_id for entry in entries}
    findings = Findings.of(set_folder, ids, run_id=None if audited is None else audited.run.run_id)
    if audited is not None:
        entries = judged_entries(entries, audited, findings)
    environment, beside = _environment(), named_beside(layer, against)
    wanted = Wanted(
        set_folder=set_folder, layer=layer, beside=beside, findings=findings, page=page, shown=shown,
        scores={} if audited is None else {one.annotation_id: one.scores for one in audited.judged},
        how=how or Execution(),
    )  # fmt: skip
    clips = clip_pages(wanted, entries, render=_cards(environment))
    text = environment.get_template("page.html").render(
        set_name=name,
        layer=layer,
        layer_name=layer_name(layer),
        beside=list(beside),
        entries=entries,
        facts=facts(entries, findings.faulty_phases()),
        gate=None if audited is None else gate_view(audited),
        findings=findings,
        asked={} if audited is None else {one.check.id: one for one in audited.checks},
        respects={} if audited is None else audited.respects,
        distributions=distributions(layer, entries),
        comparisons=[comparison(layer, other, name=name) for name, other in beside.items()],
        spent=spending(layer),
        origin=list(origin(layer.run)),
        clips=clips,
        **_scripts(clips),
    )
    write_text(page, text)
    return page


def _scripts(clips: ClipPages) -> dict[str, Any]:
    """The page's own script with its hash, and what it reads. Cards were escaped when they were made."""
    script = _resource("page.js")
    layout = {"shown": len(clips.worst), "per_block": PER_BLOCK, "packed": clips.packed}
    return {
        "js": Markup(script),
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "table": Markup(clips.rows),
        "layout": Markup(json.dumps(layout)),
        "worst": [Markup(card) for card in clips.worst],
    }


def _cards(environment: Environment) -> Callable[[Card], str]:
    """The macro that draws a clip."""
    card: Callable[[Card], str] = getattr(environment.get_template("clip.html").module, "card")  # noqa: B009
    return card


def _environment() -> Environment:
    """Templates of the package: every value is escaped, and one that is not there is an error."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_plain, trim_blocks=True, loader=FunctionLoader(_resource)
    )
    environment.filters |= {"seconds": seconds, "words": words, "percent": percent, "count": "{:,}".format}
    environment.globals |= {
        "css": Markup(_look()), "signs": SIGNS, "patterns": list(_PATTERNS.items()),
        "families": ("consistency", "motion", "speech", "text"),
        "known": {check.id: check for check in (*CHECKS, *LAYER_CHECKS)},
    }  # fmt: skip
    return environment


def _look() -> str:
    """The style of the curation's page, and what this one adds."""
    return (files("xsheet.curate.report") / "page.css").read_text(encoding="utf-8") + _resource("page.css")


def _resource(name: str) -> str:
    return (files("xsheet.audit.report") / name).read_text(encoding="utf-8")


def _plain(value: object) -> object:
    """Of every value, before it is escaped: escaping alone lets controls through."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
