import base64
import gzip
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from xsheet.audit.pipeline import audit
from xsheet.audit.report import clips
from xsheet.audit.report.clips import rows_as_json
from xsheet.audit.report.page import write_report
from xsheet.audit.review.queue import QueueEntry
from xsheet.audit.settings import AuditSettings, GateLimits
from xsheet.schemas import tables
from xsheet.schemas.errors import ContractError
from xsheet.schemas.layers import find_layer

pytestmark = pytest.mark.slow  # processes, films or models: seconds

VOID = {"meta", "img", "rect", "line", "path", "link", "br", "input"}
SECTIONS = {"gate", "findings", "worst", "clips", "distributions", "layers", "cost", "provenance"}


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and text; it fails on tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts, self._open = [], "", [], []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append([dict(attrs), ""])
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self.scripts[-1][1] += data
        elif self._open[-1:] != ["style"]:
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def cards(self):
        """Cards of the page, and those that are packed into it, as pages of their own."""
        blocks = [text for attrs, text in self.scripts if attrs.get("id", "").startswith("block-")]
        return [Page(card) for block in blocks for card in json.loads(gzip.decompress(base64.b64decode(block)))]


@pytest.fixture
def report(small_set):
    """Writes a page without decoding films, and reads it."""

    def make(about, **how):
        path = write_report(small_set, about, small_set / "audit.html", **{"filmstrip_count": 0} | how)
        return Page(path.read_text(encoding="utf-8"))

    return make


def test_a_page_has_every_section_and_a_link_to_each(audited, gold, report):
    page = report(audited, references=[gold])
    assert {a["id"] for a in page.all("section")} == SECTIONS
    assert {a["href"] for a in page.all("a")} >= {f"#{section}" for section in SECTIONS}


@pytest.mark.slow
def test_the_worst_clips_have_their_pictures_and_all_others_a_still(audited, report):
    page = report(audited, filmstrip_count=1)
    (film,) = [img for img in page.all("img") if img["class"] == "film"]
    assert film["src"].startswith("data:image/jpeg;base64,")
    assert [img["class"] for card in page.cards for img in card.all("img")] == ["still", "still"]


def test_a_clip_whose_film_is_gone_is_shown_without(small_set, audited, report):
    shutil.rmtree(small_set / "media")
    page = report(audited, filmstrip_count=1)
    assert len(page.all("article")) == 1
    assert "film" not in [img["class"] for img in page.all("img")]


def test_nothing_outside_of_the_page_is_referred_to(small_set, audited, gold, report):
    page = report(audited, references=[gold])
    everything = [page, *page.cards]
    loaded = [
        a[key] for one in everything for _, a in one.tags for key in ("src", "srcset", "data", "action") if key in a
    ]
    assert loaded
    assert all(value.startswith("data:image/jpeg;base64,") for value in loaded)
    forbidden = {"iframe", "link", "object", "embed", "form", "base"}
    assert not {tag for one in everything for tag, _ in one.tags} & forbidden
    text = (small_set / "audit.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\((?!#k-)", text)


def test_the_page_forbids_all_but_its_own_script(audited, report):
    page = report(audited)
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    (script,) = [text for attrs, text in page.scripts if "type" not in attrs]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_hostile_text_is_shown_and_does_nothing(small_set, audited, gold, hostile, report):
    page = report(audited, references=[gold])
    shown = hostile.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert shown in page.text  # the name of the set, of the model
    cards = page.cards
    assert any(f"A person in front of a wall. {shown}" in card.text for card in cards)
    assert any(f"no JSON {shown}" in card.text for card in cards)
    for one in (page, *cards):
        assert not [attrs for _, attrs in one.tags if any(name.startswith("on") for name in attrs)]
        assert "x" not in [img["src"] for img in one.all("img")]
    kinds = [attrs.get("type") for attrs, _ in page.scripts]
    assert kinds.count(None) == 1
    assert set(kinds) <= {None, "application/json", "text/plain"}
    assert not any(card.scripts for card in cards)
    assert "\x1b" not in (text := (small_set / "audit.html").read_text(encoding="utf-8"))
    assert "\u202e" not in text


def test_hostile_words_in_the_table_end_no_script():
    entry = QueueEntry(
        key="a",
        clip_id="c</script><script>alert(1)</script>\u202e",
        annotation_id="a",
        response_status="ok",
        duration_us=1,
        phases=0,
        tracks=(),
        actions=(),
    )
    rows = rows_as_json([entry], {})
    assert "<" not in rows
    assert json.loads(rows)[0][0] == "c</script><script>alert(1)</script>\\u202e"


def test_clips_come_in_the_order_of_the_audit_with_its_scores(audited, report):
    rows = json.loads(next(text for attrs, text in report(audited).scripts if attrs.get("id") == "rows"))
    assert [row[2] for row in rows] == [one.scores.overall for one in audited.annotations]
    assert [row[3:5] for row in rows] == [[one.errors, one.warnings] for one in audited.annotations]
    assert len(report(audited).cards) == len(audited.annotations)


def test_every_criterion_stands_beside_its_limit(audited, report):
    text = report(audited).text
    for one in audited.gate.criteria:
        assert one.description in text
    assert ("✓ Passes" in text) == audited.gate.passed
    assert text.count("✕ fail") == sum(not one.passed for one in audited.gate.criteria)


def test_a_gate_that_passes_says_so(small_set, layer, report):
    open_gate = GateLimits(
        max_structural_error_rate=1.0,
        max_movement_not_visible_rate=None,
        max_missed_motion_share=None,
        max_unusable_response_rate=None,
    )
    assert "✓ Passes the gate" in report(audit(small_set, layer, AuditSettings(gate=open_gate))).text


def test_a_criterion_that_could_not_be_measured_fails(small_set, layer, report):
    asked = GateLimits(
        max_structural_error_rate=1.0,
        max_movement_not_visible_rate=None,
        max_missed_motion_share=None,
        max_unusable_response_rate=None,
        min_agreement_f1=0.5,
    )
    text = report(audit(small_set, layer, AuditSettings(gate=asked))).text
    assert "not measured" in text
    assert "✕ Fails the gate 1 of 2 criteria" in text


def test_each_check_that_found_something_tells_why(audited, report):
    text = report(audited).text
    for one in audited.checks:
        assert one.check.requirement in text


def test_a_layer_without_an_audit_has_a_page(layer, report):
    page = report(layer)
    assert "No findings" in page.text
    assert "The layer has no audit" in page.text


def test_findings_of_an_earlier_audit_are_shown_with_a_layer(layer, audited, report):
    assert audited.finding_count
    assert re.search(r"\d+ findings in 3 clips", report(layer).text)


def test_layers_beside_it_are_compared_and_drawn(audited, gold, report):
    page = report(audited, references=[gold])
    assert "gold · xsheet.demo" in page.text
    assert "F1 at tIoU 0.5" in page.text
    assert any(svg.get("class") == "bar other" for card in page.cards for svg in card.all("svg"))


def test_a_set_of_clips_alone_has_a_page(small_set, layer, report):
    for name in ("signals", "shots", "thumbnails", "media"):
        shutil.rmtree(small_set / name)
    page = report(audit(small_set, layer, AuditSettings()))
    assert len(page.cards) == 3
    assert {a["id"] for a in page.all("section")} == SECTIONS


def test_a_layer_without_a_clip_has_a_page(small_set, layer, report):
    for file in layer.files:
        tables.write_file(file, tables.ANNOTATIONS, ())
    assert "The layer has no clips" in report(find_layer(small_set, "consensus")).text


def test_shot_cuts_are_drawn(audited, report):
    cuts = [line["x1"] for card in report(audited).cards for line in card.all("line") if line.get("class") == "cut"]
    assert len(cuts) == 1


def test_clips_can_be_reached_from_a_page_inside_the_set_only(small_set, audited, tmp_path, report):
    films = [a["href"] for card in report(audited).cards for a in card.all("a")]
    assert sorted(films) == sorted(f"./{clip.media_path}" for clip in tables.iter_records(small_set, tables.CLIPS))
    outside = write_report(small_set, audited, tmp_path / "elsewhere.html", filmstrip_count=0)
    assert not [a for card in Page(outside.read_text()).cards for a in card.all("a")]


def test_the_same_set_gives_the_same_bytes(small_set, audited, gold, report):
    report(audited, references=[gold])
    first = (small_set / "audit.html").read_bytes()
    report(audited, references=[gold])
    assert (small_set / "audit.html").read_bytes() == first


def test_the_page_knows_how_many_clips_it_holds(audited, report, monkeypatch):
    monkeypatch.setattr(clips, "MAX_DETAILED_CLIPS", 2)
    page = report(audited)
    layout = json.loads(next(text for attrs, text in page.scripts if attrs.get("id") == "layout"))
    assert (layout["packed"], len(page.cards)) == (2, 2)


def test_a_folder_that_is_no_set_is_refused(audited, tmp_path):
    with pytest.raises(ContractError):
        write_report(tmp_path / "nowhere", audited, tmp_path / "page.html")


@pytest.mark.nightly
def test_a_thousand_clips_stay_below_15_mb(small_set, gold, repeat_set):
    layer = repeat_set(small_set, 1_000)
    page = write_report(small_set, layer, small_set / "audit.html", references=[gold], filmstrip_count=0)
    assert page.stat().st_size < 15_000_000
    (layout,) = [text for attrs, text in Page(page.read_text()).scripts if attrs.get("id") == "layout"]
    assert json.loads(layout)["packed"] >= 1_003
