"""The demo page of a small report: every section, untrusted text, and no requests."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from xsheet.audit.report.axis import AxisInput, build_time_axis
from xsheet.audit.report.criteria import CriterionRow, GateSection
from xsheet.curate.report.charts import FunnelStep
from xsheet.demo.corpus import truth_path
from xsheet.demo.page.expected_vs_actual import FilmOutcome, film_outcomes
from xsheet.demo.page.films import EmbeddedVideo
from xsheet.demo.page.losses import LossHistory, loss_plot, read_loss_history
from xsheet.demo.page.page import write_page
from xsheet.demo.page.report_data import AuditSummary, DemoReport, FilmReport, TrainingSummary
from xsheet.demo.page.timelines import TimelineCard, TimelineRow
from xsheet.schemas import tables
from xsheet.schemas.annotation import Phase
from xsheet.schemas.clip import Clip, Verdict
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import ManifestColumn, Shot, SourceVideo
from xsheet.train.evaluate.scores import ActionEditScore, ClipScore, MouthScore, PhaseScore
from xsheet.train.evaluate.summary import Evaluation

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"alert(1)\">\x1b[31m\u202e{{ 7*7 }}"
PICTURE, FILM = (
    "data:image/jpeg;base64,AA==",
    EmbeddedVideo(data_uri="data:video/mp4;base64,AA==", poster="data:image/jpeg;base64,AA=="),
)
SECTIONS = {
    "films", "funnel", "timeline", "audit", "training", "samples", "evaluation", "time", "next",
}  # fmt: skip


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.sources, self.words = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids.add(attributes.get("id"))
        self.sources += [attributes[name] for name in ("src", "href", "poster", "action") if name in attributes]
        assert not [name for name in attributes if name.startswith("on")]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


@pytest.fixture
def page(tmp_path):
    def write(tale):
        write_page(tale, tmp_path / "demo.html")
        return (tmp_path / "demo.html").read_text(encoding="utf-8")

    return write


def film(name=HOSTILE, *, kept=1, kind="talk", as_planned=True):
    fate = FilmOutcome(
        name=name, kind=kind, fault=name, result=name, clips=kept, as_expected=as_planned, media=Path("x.mp4"),
        shot_centres_us=(0,),
    )  # fmt: skip
    return FilmReport(outcome=fate, still=PICTURE)


def card():
    nod = Phase(
        phase_id="p0", track="head", start_us=400_000, end_us=1_200_000, action="nod", text=HOSTILE, kind="action",
        laterality="none", origin="motion",
    )  # fmt: skip
    drawn = AxisInput(duration_us=3_000_000, phases=[nod], other_layers=[(HOSTILE, [nod])])
    scores = (
        PhaseScore(
            requested_action="nod", detected_action=None, hit=False, tiou=0.0, start_error_s=None, end_error_s=None
        ),
    )
    return TimelineCard(
        name=HOSTILE, file_name=HOSTILE, video=FILM, rows=(TimelineRow(name=HOSTILE, frames=PICTURE),),
        axis=build_time_axis(drawn), text_spans=(HOSTILE, "Phase-1 [0.4-1.2s]: nods."), scores=scores,
    )  # fmt: skip


def scored(named):
    phases = (
        PhaseScore(
            requested_action="nod",
            detected_action="nod" if named else None,
            hit=named,
            tiou=1.0 * named,
            start_error_s=None,
            end_error_s=None,
        ),
    )
    mouth = MouthScore(pearson_r=0.5, confidence=3.0, offset_frames=1)
    return ClipScore(clip_id=HOSTILE, phases=phases, mouth=mouth, colour_drift=4.0, unrequested_per_s=0.0)


def learned():
    one = scored(True).phases
    evaluation = Evaluation(
        samples=(scored(False), scored(True)), ceiling=(scored(True), scored(True)),
        swaps=(ActionEditScore(clip_id=HOSTILE, original=one, edited=one),),
    )  # fmt: skip
    courses = (
        LossHistory(stage="stage1", steps=(10, 20), losses=(3.0, 2.0), held_out=()),
        LossHistory(stage="stage2", steps=(10, 40), losses=(2.0, 1.0), held_out=((40, 1.5),)),
    )
    return TrainingSummary(
        loss_histories=courses, clips={"train": 12, "test": 4}, samples=(card(),), evaluation=evaluation
    )


def tale():
    steps = (
        FunnelStep(
            title=HOSTILE,
            note=HOSTILE,
            remaining_share=1,
            removed_share=0,
            remaining_hours=1,
            removed_hours=0,
            is_total=True,
        ),
    )
    row = CriterionRow(
        name=HOSTILE, description=HOSTILE, value="0 %", bounds="", limit="≤ 1 %", passed=True, whisker=None
    )
    planted = tuple(scored(named).phases[0] for named in (True, True, False))
    return DemoReport(
        films=(film(), film(kept=2, kind="hard_cut"), film(kept=0, kind="swapped", as_planned=False)),
        funnel=(steps, steps),
        timeline=card(),
        audit=AuditSummary(
            gate=GateSection(rows=(row,), passed=True), accepted=17, rejected={HOSTILE: 1}, planted_actions=planted
        ),
        training=learned(),
        seconds={HOSTILE: 12.0, "stage1": 60.0},
        next_commands=((HOSTILE, HOSTILE),),
    )


@pytest.mark.slow
def test_the_page_tells_every_part(page):
    found = Page(page(tale()))
    assert found.ids >= SECTIONS
    assert "2 of 3 have the expected result" in found.text
    assert "2 of 3 planted actions were detected" in found.text
    assert "17 annotations are accepted" in found.text
    assert "1.2 min in total" in found.text
    assert found.tags.count("video") == 3  # the clip, the sample, and the sample on top
    assert found.tags.count("polyline") == 4
    assert "empty" not in re.findall(r'<p class="(\w+)"', page(tale()))


@pytest.mark.slow
def test_text_of_strangers_is_spelled_out(page):
    text = page(tale())
    found = Page(text)
    assert "script" not in found.tags
    assert found.tags.count("img") == text.count(PICTURE) - text.count("poster=")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "{{ 7*7 }}" in found.text


def test_the_page_asks_for_nothing_and_runs_nothing(page):
    text = page(tale())
    found = Page(text)
    assert not [source for source in found.sources if not source.startswith(("data:", "#"))]
    assert not re.search(r"url\((?!#)|@import", text)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src 'none';")
    assert "script" not in policy


def test_a_path_that_ended_early_says_so(page):
    text = page(replace(tale(), timeline=None, audit=None, training=None, films=(), seconds={}))
    assert Page(text).ids >= SECTIONS
    assert text.count('class="empty"') == 5
    assert "<h1>No model trained: no clip was kept</h1>" in text


def test_the_headline_states_the_hits_of_the_evaluation(page):
    assert "<h1>On people outside its training set, a small model performs 1 of 2 requested actions</h1>" in page(
        tale()
    )


def test_what_was_trained_without_anything_held_out_still_shows_how_it_went(page):
    text = page(replace(tale(), training=replace(learned(), samples=(), evaluation=None)))
    assert Page(text).tags.count("polyline") == 4
    assert text.count('class="empty"') == 2


def test_films_without_a_picture_are_counted(page):
    text = page(replace(tale(), films=(film("a"), *(replace(film("a"), still=None),) * 3)))
    assert Page(text).tags.count("img") == 2 + 2  # in its group, on top, and the rows of the two cards
    assert "and 3 more" in Page(text).text


@pytest.mark.slow
def test_no_sentence_is_cut_on_a_phone(page, tmp_path, cut_on_a_phone):
    page(tale())
    assert not cut_on_a_phone(tmp_path / "demo.html")


@pytest.mark.slow
def test_the_same_tale_gives_the_same_bytes(page):
    assert page(tale()) == page(tale())


# ---- what was planted against what became of it


def source(kind, *, offset=0, **found):
    extra = (ManifestColumn(key="kind", value=kind), ManifestColumn(key="offset_frames", value=str(offset)))
    fields = {"status": "ok"} | found
    return SourceVideo(source_id=f"src_{kind}", path=f"videos/{kind}.mp4", manifest_columns=extra, **fields)


def shot(kind, start_us, end_us, opens_with="start"):
    return Shot(
        shot_id=f"shot_{kind}_{start_us}", source_id=f"src_{kind}", start_us=start_us, end_us=end_us,
        opens_with=opens_with,
    )  # fmt: skip


def clip(kind, index=0, **found):
    return Clip(
        clip_id=f"clip_{kind}{index}", source_id=f"src_{kind}", start_us=0, end_us=4_000_000, media_path="media/a.mp4",
        media_sha256="a" * 64, frames=100, samples=64_000, width=64, height=64, **found,
    )  # fmt: skip


def verdict(kind, *reasons):
    return Verdict(
        clip_id=f"clip_{kind}", source_id=f"src_{kind}", kept=not reasons, reasons=reasons, limits_sha256="a" * 64
    )


@pytest.fixture
def judged(tmp_path):
    """What fates() says of one film, of which only what curation found is given."""

    def judge(film, *, takes=(), shots=(), clips=(), verdicts=(), found=None):
        corpus, folder = tmp_path / "corpus", create_set(tmp_path / "set", "set") and tmp_path / "set"
        kind = film.manifest_columns[0].value
        truth = takes or [shot(kind, 0, 4_000_000)]
        for table, rows in ((tables.SOURCES, [film]), (tables.SHOTS, truth)):
            truth_path(corpus, table).parent.mkdir(parents=True, exist_ok=True)
            tables.write_file(truth_path(corpus, table), table, rows)
        for table, rows in (
            (tables.SOURCES, [found or film]), (tables.SHOTS, shots or truth), (tables.CLIPS, clips),
            (tables.VERDICTS, verdicts),
        ):  # fmt: skip
            tables.write_table(folder, table, rows)
        (one,) = film_outcomes(folder, corpus)
        return one

    return judge


def test_a_film_without_a_fault_is_kept(judged):
    assert judged(source("talk"), clips=[clip("talk")]).as_expected
    assert not judged(source("talk"), verdicts=[verdict("talk", "sync_offset")]).as_expected


def test_a_fault_must_be_named_and_not_only_dropped(judged):
    assert judged(source("still"), verdicts=[verdict("still", "frozen")]).as_expected
    wrong = judged(source("still"), verdicts=[verdict("still", "no_face")])
    assert not wrong.as_expected
    assert wrong.result == "no face"


def test_an_unreadable_sound_is_a_reason_of_the_file(judged):
    rejected = source("music", status="rejected", stage="sound", reason="no_voice", message="none")
    assert judged(source("music"), found=rejected).as_expected


@pytest.mark.parametrize(("moved_frames", "right"), [(-2, True), (-1, True), (0, False), (2, False)])
def test_a_late_sound_must_have_been_moved_back(judged, moved_frames, right):
    fate = judged(source("offset", offset=2), clips=[clip("offset", audio_shift_us=40_000 * moved_frames)])
    assert fate.as_expected == right
    assert fate.fault == "sound 2 frames late"


def test_a_cut_must_be_found_to_the_frame(judged):
    takes = [shot("hard_cut", 0, 4_000_000), shot("hard_cut", 4_000_000, 9_000_000, "cut")]
    late = [shot("hard_cut", 0, 4_040_000), shot("hard_cut", 4_040_000, 9_000_000, "cut")]
    clips = [clip("hard_cut", 0), clip("hard_cut", 1)]
    found = judged(source("hard_cut"), takes=takes, clips=clips)
    assert found.as_expected
    assert found.result == "2 clips; cut at 4.00 s"
    assert found.shot_centres_us == (2_000_000, 6_500_000)
    assert not judged(source("hard_cut"), takes=takes, shots=late, clips=clips).as_expected


# ---- curves


def test_stages_stand_one_after_the_other_on_one_axis():
    plot = loss_plot(learned().loss_histories)
    assert [curve.x for curve in plot.curves] == [0.0, pytest.approx(100 / 3, abs=0.1)]
    x, y = plot.curves[1].raw.split()[-1].split(",")
    assert (x, float(y)) == ("100", pytest.approx(200 / 3, abs=0.1))
    assert [label for _, label in plot.y_ticks] == ["0", "1", "2", "3"]


def test_a_course_is_read_from_the_journal(tmp_path):
    lines = [{"step": 10, "loss": 3.0}, {"step": 10, "held out/loss": 2.5}, {"step": 20, "loss": 2.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    course = read_loss_history(tmp_path)
    assert course.steps == (10, 20)
    assert course.losses == (3.0, 2.0)
    assert course.held_out == ((10, 2.5),)
    assert read_loss_history(tmp_path / "none") is None


def test_a_flash_of_one_frame_is_no_shot_of_its_own(judged):
    takes = [
        shot("flash", 0, 4_000_000), shot("flash", 4_000_000, 4_040_000, "cut"),
        shot("flash", 4_040_000, 9_000_000, "cut"),
    ]  # fmt: skip
    shots = [takes[0], takes[2]]
    assert judged(source("flash"), takes=takes, shots=shots, clips=[clip("flash", 0), clip("flash", 1)]).as_expected
