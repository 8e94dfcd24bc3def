"""Linking of faces over frames, on numbers alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.faces.linker import OBSERVATION_VALUES, FaceObservation, TrackLinker, TrackLinkSettings, iou

boxes = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 1), st.floats(0.05, 1)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def appearance(person):
    """Pictures of different people are as good as unrelated."""
    picture = np.random.default_rng(person).normal(size=432).astype(np.float32)
    return picture / np.linalg.norm(picture)


def observation(x=0.2, *, person=1, value=0.0, embedding=None):
    numbers = np.full(len(OBSERVATION_VALUES), value, np.float32)
    return FaceObservation(
        box=(x, 0.3, x + 0.2, 0.5), values=numbers, appearance=appearance(person), identity_embedding=embedding
    )


def linked(frames, *, cuts=()):
    linker = TrackLinker(TrackLinkSettings())
    for frame, observations in enumerate(frames):
        linker.add(frame, observations, is_cut=frame in cuts)
    return linker.tracks("src_test", detector="none", identity_model="none")


def spans(tracks):
    return [(t.start_frame, t.frames) for t in tracks]


@given(boxes, boxes)
def test_overlap_is_symmetric_and_between_0_and_1(a, b):
    assert iou(a, b) == pytest.approx(iou(b, a))
    assert 0 <= iou(a, b) <= 1 + 1e-9
    assert iou(a, a) == pytest.approx(1)


def test_a_moving_face_is_one_track():
    assert spans(linked([[observation(0.1 + 0.01 * k)] for k in range(40)])) == [(0, 40)]


def test_two_people_are_two_tracks_in_whatever_order_they_are_found():
    both = [observation(0.1, person=1, value=1), observation(0.6, person=2, value=2)]
    tracks = linked([both if k % 3 else both[::-1] for k in range(20)])
    assert spans(tracks) == [(0, 20), (0, 20)]
    assert [set(t.mouth_open) for t in tracks] == [{1.0}, {2.0}]


def test_a_short_gap_is_bridged_with_nulls():
    (track,) = linked([[observation()] if not 10 <= k < 20 else [] for k in range(30)])
    assert [k for k, x in enumerate(track.x0) if x is None] == list(range(10, 20))
    assert [k for k, v in enumerate(track.mouth_open) if v is None] == list(range(10, 20))


def test_a_long_gap_ends_the_track():
    assert spans(linked([[observation()] if not 10 <= k < 21 else [] for k in range(40)])) == [(0, 10), (21, 19)]


def test_a_track_shorter_than_the_minimum_is_dropped():
    assert spans(linked([[observation()] if k < 7 else [] for k in range(30)])) == []
    assert spans(linked([[observation()] if k < 8 else [] for k in range(30)])) == [(0, 8)]


def test_another_person_in_the_same_place_is_another_track():
    assert spans(linked([[observation(person=1 + (k >= 15))] for k in range(30)])) == [(0, 15), (15, 15)]


def test_one_person_stays_one_track_across_a_jump_cut():
    assert spans(linked([[observation()] for _ in range(30)], cuts={15})) == [(0, 30)]


def test_gaps_are_not_bridged_across_a_cut():
    frames = [[observation()] if k != 15 else [] for k in range(30)]
    assert spans(linked(frames, cuts={15, 16})) == [(0, 15), (16, 14)]


def test_the_embedding_is_the_mean_over_observations():
    frames = [[observation(embedding=np.array((1.0, np.nan if k else 4.0), np.float32) * 1)] for k in range(10)]
    (track,) = linked(frames)
    assert track.identity_embedding == (1.0, 4.0)
    assert track.identity_model == "none"


def test_a_value_never_measured_leaves_no_embedding():
    (track,) = linked([[observation(embedding=np.array((1.0, np.nan), np.float32))] for _ in range(10)])
    assert track.identity_embedding == ()
    assert track.identity_model is None


@pytest.mark.slow
@given(st.permutations(range(4)))
def test_ids_do_not_depend_on_the_order_of_observations(order):
    people = [observation(0.25 * k, person=k) for k in range(4)]
    tracks = linked([[people[k] for k in order]] * 10)
    assert [t.track_id for t in tracks] == [t.track_id for t in linked([people] * 10)]
