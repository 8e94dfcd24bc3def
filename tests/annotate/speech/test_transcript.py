import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.speech.transcript import MAX_UNTIMED_CHARS, transcript_of
from xsheet.schemas.clip import Clip, ClipWords, TranscriptWord
from xsheet.schemas.source import ManifestColumn, SourceVideo


def source(**columns: str) -> SourceVideo:
    extra = tuple(ManifestColumn(key=key, value=value) for key, value in columns.items())
    return SourceVideo(source_id="src_1", path="talk.mp4", status="ok", manifest_columns=extra)


def clip(*, start_us: int = 10_000_000, frames: int = 100, shift_us: int = 0) -> Clip:
    return Clip(
        clip_id="clip_1", source_id="src_1", start_us=start_us, end_us=start_us + frames * 40_000,
        media_path="media/cl/clip_1.mp4", media_sha256="ab" * 32, frames=frames, samples=frames * 640,
        width=96, height=96, audio_shift_us=shift_us,
    )  # fmt: skip


def timed(*words: tuple[str, float, float]) -> str:
    return json.dumps([{"word": w, "start_s": s, "end_s": e} for w, s, e in words])


def test_words_move_to_the_clock_of_the_clip():
    found = transcript_of(source(words=timed(("hello", 10.5, 11.0))), clip())
    assert found.words == (TranscriptWord(text="hello", start_us=500_000, end_us=1_000_000),)


def test_words_move_with_the_sound_of_the_clip():
    found = transcript_of(source(words=timed(("hello", 10.5, 11.0))), clip(shift_us=-120_000))
    assert found.words == (TranscriptWord(text="hello", start_us=380_000, end_us=880_000),)


def test_a_word_belongs_to_the_clip_that_holds_its_middle_and_is_cut_to_it():
    words = timed(("elsewhere", 9.5, 10.2), ("first", 9.9, 10.2), ("last", 13.8, 14.1), ("after", 13.9, 14.2))
    assert transcript_of(source(words=words), clip()).words == (
        TranscriptWord(text="first", start_us=0, end_us=200_000),
        TranscriptWord(text="last", start_us=3_800_000, end_us=4_000_000),
    )


def test_the_table_of_words_is_used_before_the_columns():
    row = ClipWords(
        clip_id="clip_1", status="ok", origin="alignment", method="test", transcript_sha256="ab" * 32,
        words=(TranscriptWord(text="hello", start_us=0, end_us=9),),
    )  # fmt: skip
    found = transcript_of(source(words=timed(("other", 10.5, 11.0))), clip(), row)
    assert (found.text, found.words) == ("hello", row.words)


def test_a_failed_row_leaves_the_text_and_gives_its_reason():
    row = ClipWords(
        clip_id="clip_1", status="failed", message="expected English", origin="alignment", method="test",
        transcript_sha256="ab" * 32,
    )  # fmt: skip
    found = transcript_of(source(transcript="guten Tag"), clip(), row)
    assert (found.text, found.problem) == ("guten Tag", "word times: expected English")


def test_text_of_a_clip_is_its_own_words_in_order_of_time():
    words = timed(("world", 11.0, 11.2), ("hello", 10.1, 10.4), ("elsewhere", 99.0, 99.5))
    assert transcript_of(source(words=words, transcript="hello world elsewhere"), clip()).text == "hello world"


def test_text_without_times_is_given_as_it_is():
    assert transcript_of(source(transcript=" hello world\n"), clip()).text == "hello world"


def test_a_long_text_without_times_is_left_out_with_the_reason():
    found = transcript_of(source(transcript="a" * (MAX_UNTIMED_CHARS + 1)), clip())
    assert found.text is None
    assert found.problem is not None
    assert "column 'words'" in found.problem


def test_a_manifest_without_the_columns_says_nothing():
    found = transcript_of(source(speaker="7"), clip())
    assert (found.text, found.words, found.problem) == (None, (), None)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("[{", "words: Invalid JSON"),
        ("{}", "words: expected a list"),
        ('[{"word": "a", "start_s": 1}]', "words[0].end_s: Field required"),
        ('[{"word": "a", "start_s": NaN, "end_s": 1}]', "words[0].start_s: "),
        ('[{"word": "a", "start_s": -1, "end_s": 1}]', "words[0].start_s: "),
        ('[{"word": "a", "start_s": "1", "end_s": 1}]', "words[0].start_s: "),
        ("[" * 100_000, "words: Invalid JSON"),
    ],
)
def test_what_cannot_be_read_is_a_sentence_and_no_error(words, says):
    found = transcript_of(source(words=words), clip())
    assert not found.words
    assert found.problem is not None
    assert found.problem.startswith(says)


@pytest.mark.slow
@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_no_text_in_the_columns_ends_a_run(text):
    transcript_of(source(words=text, transcript=text), clip())


@given(st.lists(st.tuples(st.text(max_size=9), st.floats(0, 99), st.floats(0, 99))), st.integers(-240, 240))
def test_words_lie_inside_the_clip(words, shift_ms):
    one = clip(shift_us=shift_ms * 1000)
    for word in transcript_of(source(words=timed(*words)), one).words:
        assert 0 <= word.start_us <= word.end_us <= one.duration_us
