from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.candidates.measure import CandidateSettings, extract_candidates
from xsheet.curate.candidates.segment import cut_cost, split_at_pauses
from xsheet.schemas import ids
from xsheet.schemas.clip import Measures, SyncScore
from xsheet.schemas.source import FaceTrack, Shot, SourceSegment, Timeline
from xsheet.schemas.time import CLIP_RATE, frames_in, span_of_frames


def timeline(frames: int, **series: Any) -> Timeline:
    """A bright, moving picture with voice all along by default."""
    full = {"luma": (100.0,) * frames, "difference": (1.0,) * frames, "letterbox": (0.0,) * frames}
    full |= {"voice": (1.0,) * frames, "energy_db": (-20.0,) * frames}
    full |= {"silent": (0.0,) * frames, "clipped": (0.0,) * frames}
    return Timeline(source_id="src_1", frames=frames, extractor="t@1", **full | series)


def shots_at(*bounds: int) -> list[Shot]:
    return [shot(a, b, "cut" if a else "start") for a, b in pairwise(bounds)]


def shot(start: int, stop: int, opens_with: Any = "cut") -> Shot:
    span = span_of_frames(range(start, stop), CLIP_RATE)
    return Shot(
        shot_id=ids.shot_id("src_1", span), source_id="src_1", start_us=span.start_us, end_us=span.end_us,
        opens_with=opens_with,
    )  # fmt: skip


def track(start: int, stop: int, *, name: str = "track_1", hidden: Sequence[range] = (), **series: Any) -> FaceTrack:
    """A face a quarter of the picture high, hidden in some frames."""
    gone = {k for part in hidden for k in part}

    def line(value: float) -> tuple[float | None, ...]:
        return tuple(None if k in gone else value for k in range(start, stop))

    box = {"x0": line(0.4), "y0": line(0.25), "x1": line(0.6), "y1": line(0.5), "sharpness": line(90.0)}
    box |= {"yaw_deg": line(-12.0), "pitch_deg": line(3.0), "visible": line(1.0), "mouth_open": line(0.1)}
    return FaceTrack(
        track_id=name, source_id="src_1", detector="d@1", start_frame=start, frames=stop - start, **box | series
    )


def no_score(track: FaceTrack, frames: range, *, shift: int) -> SyncScore:
    return SyncScore(scorer="none@1", not_measurable="unvoiced")


def clearest(scores: Sequence[SyncScore]) -> int | None:
    best = [s.confidence or 0.0 for s in scores]
    return None if len(set(best)) == 1 else int(np.argmax(best))


def candidates(film: Timeline, shots: Sequence[Shot], tracks: Sequence[FaceTrack], **changes: Any) -> list[Measures]:
    arguments = {"height_px": 1000, "scorer": no_score, "select_speaker": clearest} | changes
    return extract_candidates(film, shots, tracks, **arguments)


def spans(rows: Sequence[Measures]) -> list[tuple[int, int]]:
    return [(f.start, f.stop) for f in (frames_in(row.span, CLIP_RATE) for row in rows)]


# ---- where candidates lie


def test_two_frames_are_trimmed_beside_a_cut_and_none_at_the_ends_of_the_film():
    assert spans(candidates(timeline(300), shots_at(0, 150, 300), [track(0, 300)])) == [(0, 148), (152, 300)]


def test_frames_of_a_gradual_transition_and_beside_it_are_in_no_candidate():
    shots = [shot(0, 100, "start"), shot(120, 250, "gradual")]
    assert spans(candidates(timeline(250), shots, [track(0, 250)])) == [(0, 98), (122, 250)]


def test_a_flash_of_one_frame_is_in_no_candidate():
    rows = candidates(timeline(300), shots_at(0, 149, 150, 300), [track(0, 300)])
    assert all(149 not in frames_in(row.span, CLIP_RATE) for row in rows)
    assert len(rows) == 2


def test_a_face_found_three_frames_late_still_begins_with_its_shot():
    assert spans(candidates(timeline(100), shots_at(0, 100), [track(3, 97)])) == [(0, 100)]
    assert spans(candidates(timeline(100), shots_at(0, 100), [track(4, 96)])) == [(4, 96)]


def test_a_short_gap_stays_inside_a_segment_and_a_long_one_ends_it():
    film, shots = timeline(250), shots_at(0, 250)
    (short,) = candidates(film, shots, [track(0, 250, hidden=[range(100, 125)])])
    assert short.face is not None
    assert short.face.share_of_frames == pytest.approx(0.9)
    assert spans(candidates(film, shots, [track(0, 250, hidden=[range(100, 126)])])) == [(0, 100), (126, 250)]


def test_a_shot_without_a_face_is_one_candidate_however_long():
    (row,) = candidates(timeline(900), shots_at(0, 900), [])
    assert (row.track_id, row.face, row.sync, row.speaker) == (None, None, None, None)
    assert row.picture is not None
    assert spans([row]) == [(0, 900)]


def test_a_faceless_remainder_of_a_shot_is_a_candidate_without_a_track():
    rows = candidates(timeline(300), shots_at(0, 300), [track(0, 200)])
    assert [(row.track_id, *span) for row, span in zip(rows, spans(rows), strict=True)] == [
        ("track_1", 0, 200), (None, 200, 300),
    ]  # fmt: skip


def test_a_long_shot_is_split_at_its_pauses():
    voice = np.ones(600)
    for pause in (200, 390):
        voice[pause : pause + 10] = 0.0
    rows = candidates(timeline(600, voice=tuple(voice.tolist())), shots_at(0, 600), [track(0, 600)])
    ends = [stop for _, stop in spans(rows)]
    assert 200 < ends[0] < 210
    assert 390 < ends[1] < 400
    assert ends[2] == 600


def test_equal_pauses_give_the_longest_pieces():
    film = timeline(600, voice=(0.0,) * 600)
    assert [len(range(*span)) for span in spans(candidates(film, shots_at(0, 600), [track(0, 600)]))] == [200] * 3


bounds = st.lists(st.integers(1, 900), max_size=6, unique=True).map(sorted)
runs = st.tuples(st.integers(0, 899), st.integers(1, 900)).map(lambda r: range(r[0], min(900, r[0] + r[1])))
hiding = st.lists(runs, max_size=4)


@pytest.mark.slow
@given(bounds, st.lists(st.tuples(runs, hiding), max_size=3), st.integers(0, 2**32 - 1))
def test_candidates_stay_in_one_shot_without_overlap_and_within_the_length_limit(cuts, faces, seed):
    voice = np.random.default_rng(seed).random(900)
    film = timeline(900, voice=tuple(voice.tolist()))
    shots = shots_at(*sorted({0, 900, *cuts}))
    tracks = []
    for k, (run, hidden) in enumerate(faces):
        ends = {run.start, run.stop - 1}
        tracks.append(track(run.start, run.stop, name=f"track_{k}",
                            hidden=[[f for f in part if f not in ends] for part in hidden]))  # fmt: skip
    rows = candidates(film, shots, tracks)
    by_shot = {s.shot_id: frames_in(s.span, CLIP_RATE) for s in shots}
    for row, (start, stop) in zip(rows, spans(rows), strict=True):
        inside = by_shot[row.shot_id]
        assert (
            inside.start + (2 if inside.start else 0) <= start < stop <= inside.stop - (2 if inside.stop < 900 else 0)
        )
        assert row.track_id is None or stop - start <= 250
    for name in {row.track_id for row in rows}:
        own = [span for row, span in zip(rows, spans(rows), strict=True) if row.track_id == name]
        assert all(a[1] <= b[0] for a, b in pairwise(own))
    assert len({row.clip_id for row in rows}) == len(rows)
    assert rows == candidates(film, shots, tracks[::-1])


@given(st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_pieces_cover_a_segment_and_are_three_to_ten_seconds_long(frames, seed):
    costs = np.random.default_rng(seed).random(frames + 50)
    stretch = range(20, 20 + frames)
    pieces = split_at_pauses(stretch, costs, settings=CandidateSettings())
    assert [k for piece in pieces for k in piece] == list(stretch)
    assert len(pieces) == 1 or all(75 <= len(piece) <= 250 for piece in pieces)


@given(st.integers(251, 330), st.integers(0, 2**32 - 1))
def test_a_segment_of_two_pieces_is_split_at_its_quietest_frame(frames, seed):
    costs = np.random.default_rng(seed).permutation(frames).astype(float)
    first, _ = split_at_pauses(range(frames), costs, settings=CandidateSettings())
    assert costs[first.stop] == costs[max(75, frames - 250) : min(250, frames - 75) + 1].min()


def test_length_settings_that_prevent_splitting_are_refused():
    with pytest.raises(ValueError, match="twice"):
        CandidateSettings(min_frames=150, max_frames=250)


def test_without_sound_every_frame_costs_nothing():
    assert cut_cost(timeline(5, voice=(), energy_db=()), min_pause_frames=7).tolist() == [0.0] * 5


# ---- what is measured of them


def test_the_face_is_measured_over_its_own_frames():
    partial = track(10, 110, hidden=[range(20, 30)], yaw_deg=tuple(float(k) for k in range(100)))
    (row,) = candidates(timeline(110), shots_at(0, 110), [partial], settings=CandidateSettings(edge_gap_frames=0))
    assert row.face is not None
    assert row.face.share_of_frames == pytest.approx(0.9)
    assert row.face.height_px == pytest.approx(250.0)
    assert row.face.height_share == pytest.approx(0.25)
    assert row.face.yaw_abs_deg == pytest.approx(np.percentile(np.arange(100), 90))
    assert (row.face.faces_median, row.face.cut_off) == (1.0, 0.0)


def test_cut_off_is_the_share_of_frames_at_the_picture_edge():
    edge = track(0, 100, visible=(0.5,) * 25 + (1.0,) * 75)
    (row,) = candidates(timeline(100), shots_at(0, 100), [edge])
    assert row.face is not None
    assert row.face.cut_off == 0.25


def test_a_frozen_picture_counts_and_repeats_of_a_low_frame_rate_do_not():
    stands = (1.0,) * 50 + (0.0,) * 50
    low_rate = (1.0, 0.0) * 50
    shares = []
    for difference in (stands, low_rate):
        (row,) = candidates(timeline(100, difference=difference), shots_at(0, 100), [track(0, 100)])
        assert row.picture is not None
        shares.append(row.picture.frozen_share)
    assert shares == [0.51, 0.0]  # the frame before the first repetition stands too


def test_unmeasured_values_are_absent():
    bare = Timeline(source_id="src_1", frames=100, extractor="t@1")
    (row,) = candidates(bare, shots_at(0, 100), [track(0, 100, yaw_deg=(), sharpness=(), visible=())])
    assert (row.picture, row.sound) == (None, None)
    assert row.face is not None
    assert (row.face.yaw_abs_deg, row.face.sharpness, row.face.cut_off) == (None, None, None)


def late_by(offset: int) -> Any:
    """A scorer that finds the voice this late, less what it was shifted by."""

    def score(track: FaceTrack, frames: range, *, shift: int) -> SyncScore:
        return SyncScore(scorer="s@1", offset_frames=offset - shift, confidence=1.0)

    return score


@pytest.mark.parametrize(("offset", "corrected"), [(0, None), (6, 0), (-6, 0), (7, None), (-7, None)])
def test_offsets_up_to_six_frames_are_corrected_and_scored_again(offset, corrected):
    (row,) = candidates(timeline(100), shots_at(0, 100), [track(0, 100)], scorer=late_by(offset))
    assert row.sync is not None
    assert row.sync.offset_frames == offset
    assert (row.sync_corrected and row.sync_corrected.offset_frames) == corrected


# ---- whose voice it is


def confident(**confidences: float) -> Any:
    def score(track: FaceTrack, frames: range, *, shift: int) -> SyncScore:
        return SyncScore(scorer="s@1", offset_frames=0, confidence=confidences[track.track_id])

    return score


def speakers(tracks: Sequence[FaceTrack], **confidence: float) -> dict[str | None, str | None]:
    rows = candidates(timeline(100), shots_at(0, 100), tracks, scorer=confident(**confidence))
    return {row.track_id: row.speaker for row in rows}


def test_the_face_that_matches_the_sound_is_the_active_speaker():
    both = [track(0, 100, name="a"), track(0, 100, name="b")]
    assert speakers(both, a=0.2, b=0.8) == {"a": "listener", "b": "active"}
    assert speakers(both, a=0.5, b=0.5) == {"a": "ambiguous", "b": "ambiguous"}


def test_another_scorer_than_that_of_sync_may_choose_the_speaker():
    both = [track(0, 100, name="a"), track(0, 100, name="b")]
    scorers = {"scorer": confident(a=0.8, b=0.2), "speaker_scorer": confident(a=0.2, b=0.8)}
    rows = {row.track_id: row for row in candidates(timeline(100), shots_at(0, 100), both, **scorers)}
    assert {name: row.speaker for name, row in rows.items()} == {"a": "listener", "b": "active"}
    assert rows["a"].sync is not None
    assert rows["a"].sync.confidence == 0.8


def test_a_face_visible_for_too_short_is_no_rival():
    assert speakers([track(0, 100, name="a"), track(0, 30, name="b")], a=0.2, b=0.8)["a"] == "only"


def test_a_single_face_is_the_only_speaker():
    assert speakers([track(0, 100, name="a")], a=0.2) == {"a": "only"}


# ---- segments of a manifest


def segment(start: int, stop: int, **crop: float) -> SourceSegment:
    span = span_of_frames(range(start, stop), CLIP_RATE)
    return SourceSegment(start_us=span.start_us, end_us=span.end_us, **crop)


def test_candidates_lie_in_the_segments_and_cuts_still_divide_them():
    film, face = timeline(400), track(0, 400)
    rows = candidates(film, shots_at(0, 200, 400), [face], segments=[segment(50, 350), segment(360, 390)])
    assert spans(rows) == [(50, 198), (202, 350), (360, 390)]


def test_a_segment_with_a_crop_takes_the_face_inside_it():
    left, right = (
        track(0, 200, name=name, x0=(x,) * 200, x1=(x + 0.2,) * 200) for name, x in (("left", 0.2), ("right", 1.4))
    )
    crop = {"x0": 0.5, "y0": 0.0, "x1": 1.0, "y1": 1.0}
    rows = candidates(
        timeline(200),
        shots_at(0, 200),
        [left, right],
        segments=[segment(0, 100, **crop), segment(100, 200)],
        aspect=2.0,
    )
    assert [(row.track_id, span) for row, span in zip(rows, spans(rows), strict=True)] == [
        ("right", (0, 100)), ("left", (100, 200)), ("right", (100, 200)),
    ]  # fmt: skip


# ---- silence, darkness, turned and damaged pictures


def talking(frames: int, *, rests: range) -> tuple[float, ...]:
    """A mouth that moves every frame but in one stretch."""
    return tuple(0.1 if k in rests else 0.1 + 0.05 * (k % 2) for k in range(frames))


@pytest.mark.parametrize(("rests", "share"), [(range(50, 100), 0.0), (range(0), 0.25)])
def test_digital_silence_counts_only_while_the_mouth_talks(rests, share):
    pause = range(50, 100)
    silent = tuple(float(k in pause) for k in range(200))
    voice = tuple(1.0 - value for value in silent)
    film = timeline(200, silent=silent, voice=voice)
    (row,) = candidates(film, shots_at(0, 200), [track(0, 200, mouth_open=talking(200, rests=rests))])
    assert row.sound is not None
    assert row.sound.silent_share == pytest.approx(share, abs=0.01)


def test_luma_of_the_face_damage_and_turned_pictures_are_measured():
    tries = (1.0,) * 200
    film = timeline(200, luma=(9.0,) * 200, damaged=(0.0,) * 150 + (1.0,) * 50, upside_down=tries)
    (row,) = candidates(film, shots_at(0, 200), [track(0, 200, luma=(120.0,) * 200)])
    assert row.face is not None
    assert row.picture is not None
    assert (row.face.luma, row.picture.luma_mean) == (120.0, 9.0)
    assert (row.picture.damaged_share, row.picture.upside_down_share) == (0.25, 1.0)
