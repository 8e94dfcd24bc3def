"""What holds of every decision, whatever the candidates and the limits."""

import numpy as np
import pytest
from candidate_rows import limit_sets, sets
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.filter.decide import FILTER_RULES, decide, failure_masks
from xsheet.curate.filter.sweep import with_limit
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.tables import (
    MEASURES,
    VERDICTS,
    from_arrow,
    to_arrow,
)


@pytest.mark.slow
@given(sets, limit_sets)
def test_a_candidate_is_kept_exactly_when_there_is_no_reason(rows, limits):
    verdicts = from_arrow(decide(to_arrow(rows, MEASURES), limits), VERDICTS)
    assert [v.clip_id for v in verdicts] == [row.clip_id for row in rows]
    assert all(v.kept == (not v.reasons) for v in verdicts)
    assert all(len(set(v.reasons)) == len(v.reasons) for v in verdicts)


@pytest.mark.slow
@given(sets, limit_sets, st.randoms(use_true_random=False))
def test_a_verdict_does_not_depend_on_the_other_candidates(rows, limits, random):
    alone = {v.clip_id: v for row in rows for v in from_arrow(decide(to_arrow([row], MEASURES), limits), VERDICTS)}
    random.shuffle(rows)
    assert from_arrow(decide(to_arrow(rows, MEASURES), limits), VERDICTS) == [alone[row.clip_id] for row in rows]


@pytest.mark.slow
@given(sets, limit_sets, st.sampled_from(FILTER_RULES), st.floats(0, 1), st.floats(0, 10))
def test_a_stricter_limit_never_keeps_more(rows, limits, rule, at, further):
    whole = rule.limit_path.endswith("_frames")
    loose, strict = (at * 5, at * 5 + further) if rule.bound == "min" else (at * 5 + further, at * 5)
    if whole:
        loose, strict = int(loose), int(strict)
    try:
        before, after = (with_limit(limits, rule.limit_path, v) for v in (loose, strict))
    except ConfigError:  # outside the limit's range
        return
    table = to_arrow(rows, MEASURES)
    kept = [np.array(decide(table, chosen)["kept"], dtype=bool) for chosen in (before, after)]
    assert not (kept[1] & ~kept[0]).any()


@pytest.mark.slow
@given(sets, limit_sets)
def test_reasons_come_in_the_order_of_the_limits(rows, limits):
    table = to_arrow(rows, MEASURES)
    order = list(failure_masks(table, limits))
    for verdict in from_arrow(decide(table, limits), VERDICTS):
        places = [order.index(reason) for reason in verdict.reasons]
        assert places == sorted(places)
