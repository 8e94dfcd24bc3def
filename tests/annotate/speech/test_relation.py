from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.speech.relation import (
    SpeechSettings,
    add_speech_relations,
    find_apex,
    speech_relation_of,
    syllable_onsets_us,
    voice_spans,
)
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows
from xsheet.schemas.annotation import Annotation, KinematicPhase, Phase, annotation_id
from xsheet.schemas.clip import Signals, TranscriptWord

FRAMES = 150
LOUD, QUIET = -20.0, -60.0


def phase(start: int, end: int, **changes: Any) -> Phase:
    """A phase from frame to frame."""
    values: dict[str, Any] = {
        "phase_id": "p0", "track": "head", "start_us": start * 40_000, "end_us": end * 40_000, "action": "nod",
        "text": "nods twice", "laterality": "none", "kind": "action", "origin": "motion",
    }  # fmt: skip
    return Phase(**values | changes)


def stroke(start: int, end: int) -> tuple[KinematicPhase, ...]:
    return (KinematicPhase(phase="stroke", start_us=start * 40_000, end_us=end * 40_000),)


def signals(*voiced: range, frames: int = FRAMES, **changes: Any) -> Signals:
    """Voice in the given frames, and loudness to it."""
    voiced_frames = {k for part in voiced for k in part}
    values: dict[str, Any] = {
        "voice": tuple(float(k in voiced_frames) for k in range(frames)),
        "energy_db": tuple(LOUD if k in voiced_frames else QUIET for k in range(frames)),
    }
    return Signals(clip_id="c", frames=frames, extractor="test", **values | changes)


@pytest.mark.parametrize(
    ("start", "end", "relation"),
    [
        (60, 90, "co_speech"),
        (46, 104, "co_speech"),  # less than the margin of five frames
        (45, 90, "onset_before"),
        (60, 105, "offset_after"),
        (30, 110, "onset_before"),  # leads by more than it outlasts
        (40, 130, "offset_after"),
        (10, 45, "in_pause"),
        (110, 140, "in_pause"),
        (20, 52, "in_pause"),  # two frames of voice in 32
    ],
)
def test_relation_of_a_phase_to_a_voice_from_frame_50_to_100(start, end, relation):
    assert speech_relation_of(phase(start, end), signals(range(50, 100))).relation == relation


def test_a_clip_without_voice_has_no_speech():
    result = speech_relation_of(phase(10, 40), signals())
    assert (result.relation, result.overlap) == ("no_speech", 0.0)


@pytest.mark.parametrize("voice", [(), (None,) * FRAMES, (*(1.0,) * 20, *(None,) * (FRAMES - 20))])
def test_where_the_voice_was_not_measured_the_relation_is_unknown(voice):
    result = speech_relation_of(phase(30, 60), signals(voice=voice))
    assert (result.relation, result.overlap) == ("unknown", None)


def test_overlap_is_the_share_of_the_phase_with_voice():
    assert speech_relation_of(phase(40, 80), signals(range(50, 100))).overlap == pytest.approx(0.75)


def test_voice_has_hysteresis():
    voice = [0.0] * FRAMES
    voice[10:30] = [0.6, 0.4] * 10  # never below the end
    voice[60:80] = [0.4] * 20  # never above the begin
    assert [(s.start_us, s.end_us) for s in voice_spans(signals(voice=tuple(voice)))] == [(400_000, 1_200_000)]


def test_closures_are_bridged_and_clicks_left_out():
    voiced_frames = voice_spans(signals(range(10, 20), range(24, 30), range(60, 61)))
    assert [(s.start_us, s.end_us) for s in voiced_frames] == [(400_000, 1_200_000)]


def test_lag_is_the_apex_minus_the_nearest_word():
    words = (
        TranscriptWord(text="so", start_us=1_000_000, end_us=1_200_000),
        TranscriptWord(text="big", start_us=2_200_000, end_us=2_500_000),
    )
    result = speech_relation_of(phase(45, 60, kinematics=stroke(46, 54)), signals(range(20, 100)), words)
    assert (result.anchor_word, result.anchor_start_us, result.lag_us) == ("big", 2_200_000, -200_000)


SENTENCE = tuple(
    TranscriptWord(text=text, start_us=start * 1_000_000, end_us=end * 1_000_000)
    for text, start, end in (("I", 1, 2), ("never", 2, 3), ("did", 5, 6))
)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (25, 74, ("I", "never")),  # frames of 40 ms: 1.00 to 2.96 s
        (23, 78, ("I", "never")),  # less than the margin outside the words
        (50, 75, ("never", "never")),
        (90, 130, (None, "did")),  # begins in the pause
        (10, 100, (None, None)),
    ],
)
def test_a_phase_names_the_words_it_starts_and_ends_on(start, end, words):
    result = speech_relation_of(phase(start, end), signals(), SENTENCE)
    assert (result.start_word, result.end_word) == words


def test_known_words_are_the_speech_whatever_voice_was_measured():
    laughter = signals(range(80, 120))  # the pause from 3 s to 5 s
    assert speech_relation_of(phase(85, 115), laughter, SENTENCE).relation == "in_pause"
    assert speech_relation_of(phase(30, 70), laughter, SENTENCE).relation == "co_speech"


def test_without_words_the_nearest_syllable_is_taken():
    result = speech_relation_of(phase(45, 60, kinematics=stroke(46, 54)), signals(range(48, 100)))
    assert (result.anchor_word, result.anchor_start_us, result.lag_us) == (None, None, 80_000)


def test_a_word_too_far_away_gives_no_lag():
    words = (TranscriptWord(text="far", start_us=4_000_000, end_us=4_500_000),)
    result = speech_relation_of(phase(20, 40, kinematics=stroke(20, 40)), signals(range(100, 120)), words)
    assert (result.anchor_word, result.anchor_start_us, result.lag_us) == (None, None, None)


def test_a_phase_without_stroke_or_speed_has_no_lag():
    assert speech_relation_of(phase(60, 90, kind="posture"), signals(range(50, 100))).lag_us is None


def test_a_rest_has_no_apex_however_it_moves():
    assert find_apex(phase(0, 60, kind="rest"), np.ones(FRAMES)) == (None, "none")


def test_the_method_says_what_was_computed_from_what():
    word = (TranscriptWord(text="so", start_us=2_400_000, end_us=2_600_000),)
    result = speech_relation_of(
        phase(45, 80), signals(range(40, 100)), word, speed=tuple(float(k == 60) for k in range(FRAMES))
    )
    assert result.method == "speech-2: voice words; apex speed; onset word"


def test_the_apex_of_a_repeated_stroke_is_in_its_first_cycle():
    assert find_apex(phase(10, 60, kinematics=stroke(20, 60), repetitions=4)) == (1_000_000, "stroke")


def test_a_measured_speed_tells_the_apex_inside_the_stroke():
    speed = [0.0] * FRAMES
    speed[5], speed[30], speed[40] = 9.0, 2.0, 1.0
    assert find_apex(phase(0, 60, kinematics=stroke(20, 60)), tuple(speed)) == (1_220_000, "speed")


def test_a_speed_that_is_unknown_everywhere_tells_nothing():
    assert find_apex(phase(0, 60, kinematics=stroke(20, 60)), np.full(FRAMES, np.nan))[1] == "stroke"


def test_an_annotation_gets_the_id_of_what_it_now_says():
    one, measured = planted(3)
    result = add_speech_relations(one, measured)
    assert result.annotation_id != one.annotation_id
    assert result.annotation_id == annotation_id(
        clip_id=result.clip_id,
        layer="gold",
        run_id=result.run_id,
        sample_index=None,
        base=result.base,
        phases=result.phases,
    )


def test_computing_it_twice_changes_nothing():
    one, measured = planted(3)
    result = add_speech_relations(one, measured)
    assert add_speech_relations(result, measured) == result


@given(st.integers(0, 100), st.integers(3, 49), st.lists(st.tuples(st.integers(0, 140), st.integers(1, 40))))
def test_time_backwards_swaps_before_and_after(start, length, stretches):
    voiced = [range(a, min(a + n, FRAMES)) for a, n in stretches]
    back = [range(FRAMES - part.stop, FRAMES - part.start) for part in voiced]
    one = speech_relation_of(phase(start, start + length), signals(*voiced))
    other = speech_relation_of(phase(FRAMES - start - length, FRAMES - start), signals(*back))
    assert other.overlap == pytest.approx(one.overlap)
    swapped = {"onset_before": "offset_after", "offset_after": "onset_before"}.get(one.relation, one.relation)
    assert other.relation == swapped or one.relation == other.relation == "onset_before"  # leads and outlasts alike


def planted(index: int) -> tuple[Annotation, Signals]:
    result = plan_film(index, seed=77, kind="talk")
    _, measured, annotation = truth_rows(result, "src_1")
    assert isinstance(measured, Signals)
    assert isinstance(annotation, Annotation)
    return annotation, measured


@pytest.mark.slow
def test_syllables_of_the_puppet_are_found_at_their_vowels():
    late_us, found, planned = [], 0, 0
    for index in range(12):
        result = plan_film(index, seed=77, kind="talk")
        onsets = syllable_onsets_us(planted(index)[1])
        speech = result.shots[0].cast_members[0].speech
        assert speech is not None
        planned, found = planned + len(speech.syllables), found + len(onsets)
        near = [min((us - s.start_us for us in onsets), key=abs) for s in speech.syllables]
        late_us += [us for us in near if abs(us) <= 140_000]
    # A syllable begins with its consonant, some 70 ms ahead of the vowel that makes it loud.
    assert np.median(late_us) == pytest.approx(70_000, abs=20_000)
    assert len(late_us) >= 0.9 * planned
    assert found <= 1.02 * planned


def test_loudness_outside_the_voice_is_no_syllable():
    energy = tuple(LOUD if k in range(10, 20) or k in range(60, 80) else QUIET for k in range(FRAMES))
    assert syllable_onsets_us(signals(range(60, 80), energy_db=energy)) == (2_400_000,)


def test_without_loudness_there_are_no_syllables():
    assert syllable_onsets_us(signals(range(60, 80), energy_db=())) == ()


def test_limits_are_settings():
    strict = SpeechSettings(margin_s=0.04)
    assert speech_relation_of(phase(48, 90), signals(range(50, 100)), settings=strict).relation == "onset_before"
