import io

import pyarrow as pa
import pytest
from rich.console import Console

from xsheet.curate.report.inspect import inspect_candidate, nearest_id
from xsheet.curate.report.terminal import render_candidate, sparkline
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.sets import create_set


def first(folder, *, kept=None, faced=True):
    verdicts = {v.clip_id: v for v in tables.iter_records(folder, tables.VERDICTS)}
    rows = tables.iter_records(folder, tables.MEASURES)
    return next(m for m in rows if kept in (None, verdicts[m.clip_id].kept) and (m.track_id is not None) == faced)


def shown(found, width=200):
    out = io.StringIO()
    Console(file=out, width=width).print(render_candidate(found))
    return out.getvalue()


def test_all_that_belongs_to_a_candidate_is_found(make_set):
    folder = make_set()
    row = first(folder, kept=True)
    found = inspect_candidate(folder, row.clip_id)
    assert found.measures == row
    assert found.verdict.kept
    assert (found.source.source_id, found.shot.shot_id) == (row.source_id, row.shot_id)
    assert (found.track.track_id, found.clip.clip_id) == (row.track_id, row.clip_id)
    assert found.split.clip_id == row.clip_id
    assert {likeness.by for likeness in found.near_duplicates} == {"picture", "sound"}


def test_a_candidate_without_a_face_has_no_track_and_no_clip(make_set):
    folder = make_set(sources=8, pieces=10)
    found = inspect_candidate(folder, first(folder, faced=False).clip_id)
    assert (found.track, found.clip) == (None, None)
    assert "no face" in shown(found)


@pytest.mark.slow
def test_the_checks_say_what_the_verdict_says(make_set):
    folder = make_set(sources=4, pieces=20)
    for verdict in tables.iter_records(folder, tables.VERDICTS):
        checks = inspect_candidate(folder, verdict.clip_id).checks
        failing = {check.limit.rule.reason for check in checks if check.passes is False and check.value is not None}
        of_limits = {check.limit.rule.reason for check in checks if check.limit is not None}
        assert failing == set(verdict.reasons) & of_limits


def test_the_limits_of_another_scorer_are_left_out(make_set):
    folder = make_set()
    checks = inspect_candidate(folder, first(folder).clip_id).checks
    assert not [check for check in checks if check.measure_path.startswith("sync.syncnet")]


def test_a_beginning_is_enough_where_only_one_begins_so(make_set):
    folder = make_set()
    row = first(folder)
    assert inspect_candidate(folder, row.clip_id[:-4]).measures == row


def test_an_ambiguous_beginning_names_some_that_begin_so(make_set):
    folder = make_set()
    with pytest.raises(ConfigError, match=r"24 ids start.*clip_"):
        inspect_candidate(folder, "clip_")


def test_a_typing_error_names_the_candidate_that_was_meant(make_set):
    folder = make_set()
    meant = first(folder).clip_id
    wrong = meant[:9] + ("0" if meant[9] != "0" else "1") + meant[10:]
    with pytest.raises(ConfigError, match=f"did you mean {meant}"):
        inspect_candidate(folder, wrong)


@pytest.mark.parametrize("slip", [lambda s: s[:8] + s[9:], lambda s: s[:8] + "e" + s[8:], lambda s: s.upper()])
def test_the_nearest_id_survives_a_slip(slip):
    ids = pa.array([f"clip_{(k * 2654435761) % 16**10:010x}abcdef0123" for k in range(5000)])
    assert nearest_id(ids, slip(ids[1234].as_py())) == ids[1234].as_py()


def test_a_set_without_candidates_says_that_nothing_was_measured(tmp_path):
    create_set(tmp_path / "set", "nothing")
    with pytest.raises(ConfigError, match="no candidates"):
        inspect_candidate(tmp_path / "set", "clip_1")


def test_series_are_those_of_the_span(make_set):
    folder = make_set()
    row = first(folder)
    found = inspect_candidate(folder, row.clip_id)
    assert {len(series) for series in found.series.values()} == {125}
    assert found.series["mouth opening (video)"] == found.track.mouth_open


def test_text_from_outside_cannot_steer_the_terminal(make_set):
    folder = make_set(word="\x1b[2J[bold red]\u202e")
    text = shown(inspect_candidate(folder, first(folder).clip_id))
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "[bold red]" in text


@pytest.mark.parametrize(
    ("series", "line"),
    [((0.0, 0.5, 1.0), "▁▅█"), ((0.0, None, 1.0), "▁ █"), ((2.0, -1.0), "█▁"), ((), ""), ((0.25,) * 200, "▃" * 64)],
)
def test_a_series_becomes_a_line_of_blocks(series, line):
    assert sparkline(series, low=0.0, high=1.0) == line


def test_a_flat_series_lies_in_the_middle():
    assert sparkline((3.0, 3.0), low=3.0, high=3.0) == "▅▅"
