"""The page in a real browser: markup in any text of a set is shown as text."""

import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from review_browser import chosen, history

from xsheet.audit.review.session import ReviewSession
from xsheet.schemas.annotation import EvidenceValue, Finding, annotation_id
from xsheet.schemas.layers import find_layer, write_findings, write_layer
from xsheet.schemas.run import Run
from xsheet.schemas.tables import SOURCES, iter_records, write_table

pytestmark = pytest.mark.slow


HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def hostile_set(folder: Path) -> None:
    """Every text that anybody can write into a set, with markup in it."""
    layer = find_layer(folder, "consensus@xsheet.motion")
    rows = []
    for one in layer.read():
        phases = tuple(
            replace(p, text=HOSTILE, text_short=HOSTILE, action_raw=HOSTILE, evidence=replace(p.evidence, text=HOSTILE))
            for p in one.phases
        )
        base = replace(one.base, text=HOSTILE, subject=HOSTILE, scene=HOSTILE)
        key = {"clip_id": one.clip_id, "layer": one.layer, "run_id": one.run_id, "sample_index": None}
        rows.append(
            replace(one, base=base, phases=phases, annotation_id=annotation_id(**key, base=base, phases=phases))
        )
    model = replace(layer.run.model, id=HOSTILE, revision=HOSTILE)
    write_layer(folder, replace(layer.run, model=model, tool_version=HOSTILE), "consensus", rows)
    about = {"run_id": "run_audit2", "annotation_id": rows[1].annotation_id, "clip_id": rows[1].clip_id}
    finding = Finding(
        finding_id="f9", check="G9", severity="error", start_us=0, message=HOSTILE,
        evidence=(EvidenceValue(name=HOSTILE, value=1.0),), **about,
    )  # fmt: skip
    write_findings(folder, Run(run_id="run_audit2", kind="audit", tool_version="0"), [finding])
    write_table(folder, SOURCES, [replace(one, path=HOSTILE.replace("/", "")) for one in iter_records(folder, SOURCES)])


def test_markup_in_every_text_is_shown_as_text(made_set, tmp_path, serving, visit):
    folder = Path(shutil.copytree(made_set, tmp_path / "hostile"))
    (folder / "set.json").write_text((folder / "set.json").read_text().replace("puppet", HOSTILE.replace('"', '\\"')))
    hostile_set(folder)
    layer, shares = find_layer(folder, "consensus@run_ours"), {"repeat_share": 0.0, "overlap_share": 0.0}
    desk = ReviewSession(folder, layer, reviewer=HOSTILE[:79], **shares)
    other = ReviewSession(
        folder, layer, reviewer=HOSTILE[:78], clock=lambda: datetime(2100, 1, 1, tzinfo=UTC), **shares
    )
    other.claim(next(iter(layer.read())).annotation_id)
    with serving(desk) as server:
        page = visit(server.address)
        key = page.url.partition("#")[2]
        before = server.json(f"/api/clips/{key}")["draft"]["sha256"]
        server.operate(key, {"operation": "reject", "before_sha256": before, "note": HOSTILE})
        page.reload()
        history(page, 1)
        page.keyboard.press("g")
        time.sleep(0.5)
        texts = [page.inner_text(one) for one in ("#about", "#base", "#facts", "#notice", "#shown", "#phases")]
        assert [HOSTILE[:40] in text for text in texts] == [True] * 6
        assert f"open at {HOSTILE[:40]}" in page.inner_text("#queue")
        assert HOSTILE.replace("/", "")[:40] in page.inner_text("#queue")
        assert chosen(page)["text"] == HOSTILE
        assert texts[2].count("<script>") >= 6  # class and evidence of the annotator, finding, its number, model, note
        assert page.locator("img, body script").count() == 0
        assert "owned" not in page.title().replace(HOSTILE, "")


def test_a_clip_of_no_name_that_could_be_markup_gets_into_a_set():
    from pydantic import ValidationError

    from xsheet.schemas.annotation import Review

    with pytest.raises(ValidationError, match="clip_id"):
        Review(review_id="r", annotation_id="a", clip_id=HOSTILE, operation="accept", before_sha256="0" * 64)
