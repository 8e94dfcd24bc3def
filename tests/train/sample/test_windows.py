"""Videos of any length, from windows that overlap."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.schemas.errors import ConfigError
from xsheet.train.sample.windows import append_window, plan_windows


@given(st.integers(34, 900), st.integers(1, 6))
def test_windows_cover_the_video_and_share_their_overlap(total, overlap):
    starts = plan_windows(total, frames=33, overlap=overlap)
    assert starts[-1] + 33 >= total > starts[-2] + 33
    for before, start in itertools.pairwise(starts):
        assert start % 4 == 0
        assert before < start <= before + 32 - 4 * overlap


def test_a_window_begins_between_actions_where_it_can():
    assert plan_windows(60, frames=33, overlap=2)[1] == 24
    assert plan_windows(60, frames=33, overlap=2, actions=[(18, 30)])[1] == 16
    assert plan_windows(60, frames=33, overlap=2, actions=[(0, 60)])[1] == 24  # nowhere


def test_an_overlap_that_leaves_nothing_new_is_refused():
    with pytest.raises(ConfigError, match="at most 7 of the 9 latent frames"):
        plan_windows(60, frames=33, overlap=8)


def test_a_window_replaces_what_follows_and_fades_over_what_is_shared():
    video, window = np.zeros((9, 1, 1, 3), np.uint8), np.full((9, 1, 1, 3), 100, np.uint8)
    joined = append_window(video, window, start=4, overlap=1)[:, 0, 0, 0]
    assert joined.tolist() == [0, 0, 0, 0, 0, 20, 40, 60, 80, 100, 100, 100, 100]
