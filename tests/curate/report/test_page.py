import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from xsheet.curate.report.page import write_report
from xsheet.schemas import tables
from xsheet.schemas.errors import ContractError
from xsheet.schemas.sets import create_set

pytestmark = pytest.mark.slow  # processes, films or models: seconds

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e{{ 7*7 }}"
VOID = {"meta", "img", "rect", "line", "path", "link", "br"}
SECTIONS = {"funnel", "costs", "measurements", "borderline", "kept", "rejected", "files", "time", "limits"}


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and text; it fails on tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open[-1:]:
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def report(tmp_path):
    def make(folder, name="report.html"):
        write_report(folder, folder / name)
        return Page((folder / name).read_text(encoding="utf-8"))

    return make


def test_a_page_has_every_section_and_a_link_to_each(make_set, report):
    page = report(make_set(stills=True))
    assert {a["id"] for a in page.all("section")} == SECTIONS
    assert {a["href"] for nav in ["a"] for a in page.all(nav) if a["href"].startswith("#")} >= {
        "#" + s for s in SECTIONS
    }


def test_nothing_outside_of_the_page_is_referred_to(make_set, report):
    folder = make_set(stills=True)
    page = report(folder)
    loaded = [a[key] for tag, a in page.tags for key in ("src", "srcset", "data", "action") if key in a]
    assert loaded
    assert all(value.startswith("data:image/jpeg;base64,") for value in loaded)
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "link", "object", "embed", "form", "base"}
    assert "http:" not in (text := (folder / "report.html").read_text())
    assert "https:" not in text
    assert not re.search(r"url\(|@import", text)


def test_pictures_lead_to_the_clips_of_the_set(make_set, report):
    folder = make_set(stills=True)
    films = [a["href"] for a in report(folder).all("a") if not a["href"].startswith("#")]
    known = {f"./{clip.media_path}" for clip in tables.iter_records(folder, tables.CLIPS)}
    assert films
    assert set(films) <= known


def test_a_page_elsewhere_has_no_link_that_would_break(make_set, tmp_path):
    write_report(make_set(stills=True), tmp_path / "elsewhere.html")
    page = Page((tmp_path / "elsewhere.html").read_text())
    assert not [a for a in page.all("a") if not a["href"].startswith("#")]


def test_the_page_forbids_scripts_even_if_one_got_in(make_set, report):
    (policy,) = (a["content"] for a in report(make_set()).all("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy


def test_text_from_outside_is_shown_and_never_obeyed(make_set, report):
    folder = make_set(word=HOSTILE, sources=3, pieces=8)
    page = report(folder)
    assert not page.all("script")
    assert not {key for _, attrs in page.tags for key in attrs if key.startswith("on")}
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    raw = (folder / "report.html").read_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", raw)


def test_the_same_set_gives_the_same_bytes(make_set):
    folder = make_set(stills=True)
    write_report(folder, folder / "a.html")
    write_report(folder, folder / "b.html")
    assert (folder / "a.html").read_bytes() == (folder / "b.html").read_bytes()


def test_an_empty_set_makes_a_page(tmp_path, report):
    create_set(tmp_path / "set", "nothing")
    page = report(tmp_path / "set")
    assert "No candidate measured yet" in page.text
    assert {a["id"] for a in page.all("section")} == SECTIONS


def test_a_set_of_broken_files_only_makes_a_page_that_lists_them(make_set, report):
    page = report(make_set(sources=0, twice=0, broken=5))
    assert "bad/4.mp4" in page.text


def test_a_set_without_a_kept_clip_says_so(make_set, report, limits):
    page = report(make_set(limits=limits("face.min_height_px=1000000")))
    assert "No candidate was kept." in page.text
    assert "face small" in page.text


def test_a_set_without_limits_in_its_manifests_draws_none(make_set, report):
    folder = make_set(stills=True)
    shutil.rmtree(folder / "manifests")
    page = report(folder)
    assert page.all("figure")
    assert not [a for a in page.all("line") if a.get("class") == "limit"]


def test_a_missing_still_leaves_a_place(make_set, report):
    page = report(make_set(sources=2, pieces=5))
    assert not page.all("img")
    assert [a for a in page.all("span") if a.get("class") == "none"]


def test_every_picture_is_described(make_set, report):
    page = report(make_set(stills=True))
    assert all(a["alt"] for a in page.all("img"))
    assert all(a["aria-label"] for a in page.all("svg"))


def test_no_sentence_is_cut_on_a_phone(make_set, cut_on_a_phone):
    folder = make_set(stills=True, sources=6, pieces=12)
    write_report(folder, folder / "report.html")
    assert not cut_on_a_phone(folder / "report.html")


def test_file_names_stand_below_the_pictures(make_set, report):
    page = report(make_set(stills=True))
    assert "talk-0001.mp4" in page.text
    assert all("clip_" in a["alt"] and ".mp4" in a["alt"] for a in page.all("img"))


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(ContractError, match=r"set\.json"):
        write_report(tmp_path, tmp_path / "report.html")


def test_more_failed_files_than_a_page_can_hold_are_counted(make_set, report, monkeypatch):
    monkeypatch.setattr("xsheet.curate.report.page.MAX_FILE_ROWS", 10)
    page = report(make_set(sources=1, broken=25))
    assert "and 15 more" in page.text


def test_pictures_stop_where_the_page_would_grow_too_large(make_set, report, monkeypatch):
    monkeypatch.setattr("xsheet.curate.report.contact_sheets.MAX_PICTURE_BYTES", 60_000)
    folder = make_set(stills=True, sources=4, pieces=10)
    page = report(folder)
    assert page.all("img")
    assert [a for a in page.all("span") if a.get("class") == "none"]
    assert sum(len(a["src"]) for a in page.all("img")) <= 60_000


@pytest.mark.slow
def test_a_thousand_candidates_fit_into_15_mb(make_set):
    folder = make_set(sources=40, pieces=25)
    heavy = b"\xff\xd8\xff" + np.random.default_rng(0).bytes(5_997)
    from xsheet.curate.media.thumbnails import write_thumbnails

    for row in tables.iter_records(folder, tables.SOURCES):
        write_thumbnails(folder, row.source_id, dict.fromkeys(range(0, 2000, 25), heavy))
    write_report(folder, folder / "report.html")
    assert (folder / "report.html").stat().st_size < 15_000_000


def test_a_file_rejected_for_its_sound_is_listed_apart_from_broken_ones(make_set, report):
    folder = make_set(sources=3, broken=1)
    rows = list(tables.iter_records(folder, tables.SOURCES))
    mute = replace(rows[0], status="rejected", stage="sound", reason="no_voice", message="hardly any voice")
    tables.write_table(folder, tables.SOURCES, [mute, *rows[1:]])
    text = report(folder).text
    assert (
        text.index("Failed") < text.index("bad/0.mp4") < text.index("Rejected before") < text.index("hardly any voice")
    )
