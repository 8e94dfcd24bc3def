"""What other values of a limit would keep."""

import pytest
from candidate_rows import BARE, good, limit_sets, preset, sets
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.filter.decide import FILTER_RULES, decide
from xsheet.curate.filter.sweep import parse_range, sweep, sweep_set, with_limit
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.tables import (
    MEASURES,
    to_arrow,
    write_table,
)


def test_a_range_of_values_holds_both_ends():
    assert parse_range("sync.lip_audio.min_confidence=0.2:0.6:0.1") == (
        "sync.lip_audio.min_confidence", (0.2, 0.3, 0.4, 0.5, 0.6),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["a.b", "a.b=1", "a.b=1:2", "a.b=1:2:0", "a.b=2:1:1", "=1:2:1", "a.b=nan:2:1", "a=0:1e9:1"]
)
def test_an_invalid_range_is_refused(text):
    with pytest.raises(ConfigError, match="--over"):
        parse_range(text)


def test_an_unknown_limit_names_the_nearest():
    with pytest.raises(ConfigError, match=r"sync\.lip_audio\.min_confidence"):
        sweep([], preset("keep"), limit="sync.lip.min_confidence", values=[1.0])


@pytest.mark.slow
@given(sets, limit_sets.filter(lambda limits: limits != BARE), st.sampled_from(FILTER_RULES))
def test_a_sweep_counts_what_each_value_would_keep(rows, limits, rule):
    values = {"sound.min_loudness_db": (-40.0, 0.0), "clip.max_seconds": (4.0, 8.0)}.get(rule.limit_path, (0.0, 1.0))
    values = (1.0, 2.0) if rule.limit_path == "face.max_faces" else values
    table = to_arrow(rows, MEASURES)
    swept = sweep([table[:5], table[5:]], limits, limit=rule.limit_path, values=values)
    standing = sum(v.as_py() for v in decide(table, limits)["kept"])
    for row in swept:
        kept = decide(table, with_limit(limits, rule.limit_path, row.value))["kept"]
        assert row.kept.clips == sum(v.as_py() for v in kept)
        assert (row.change_us < 0) <= (row.kept.clips < standing)


def test_a_limit_of_the_only_scorer_needs_no_scorers_name(tmp_path):
    write_table(tmp_path, MEASURES, [good(k, sync__confidence=float(k)) for k in range(8)])
    swept = sweep_set(tmp_path, preset("keep"), limit_range="sync.min_confidence=2:6:1")
    assert [row.kept.clips for row in swept] == [6, 5, 4, 3, 2]
    assert [row.change_us for row in swept] == [5_000_000, 0, -5_000_000, -10_000_000, -15_000_000]


def test_no_value_of_a_limit_keeps_what_was_not_measured():
    rows = to_arrow([good(1), good(2, face__sharpness=None)], MEASURES)
    (swept,) = sweep([rows], preset("keep"), limit="face.min_sharpness", values=[0.0])
    assert swept.kept.clips == 1
