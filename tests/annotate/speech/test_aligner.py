"""Forced alignment against word times that others measured: the GRID corpus (Cooke et al., 2006)."""

import numpy as np
import pytest

from xsheet.curate.media.reader import open_media
from xsheet.schemas.clip import TranscriptWord

pytest.importorskip("pocketsphinx")
from xsheet.annotate.speech.aligner import Aligner

pytestmark = pytest.mark.slow  # loads 36 MB of models


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


@pytest.fixture(scope="module")
def grid(shared):
    """The sound of a clip, and its words as GRID gives them: (word, start, end) in seconds."""
    rows = [line.split() for line in (shared / "data/labels/grid-swwp2s.align").read_text().splitlines()]
    times = [(word, int(start) / 25_000, int(end) / 25_000) for start, end, word in rows if word != "sil"]
    with open_media(shared / "data/videos/grid-swwp2s.mpg", root=shared / "data") as media:
        return media.sound(), times


def mean_error_s(words: tuple[TranscriptWord, ...], times: list[tuple[str, float, float]]) -> float:
    found = [(word.start_us / 1e6, word.end_us / 1e6) for word in words]
    return float(np.mean(np.abs(np.subtract(found, [span for _, *span in times]))))


def test_boundaries_are_within_40_ms_of_those_of_the_corpus(aligner, grid):
    sound, times = grid
    aligned = aligner(sound, "Set white with P two soon.").words
    assert [word.text for word in aligned] == ["Set", "white", "with", "P", "two", "soon"]
    assert mean_error_s(aligned, times) <= 0.040


def test_sounds_of_a_word_lie_inside_it_in_order(aligner, grid):
    word = aligner(grid[0], "set white with p two soon").words[0]
    assert [phone.name for phone in word.phones] == ["S", "EH", "T"]
    edges = [us for phone in word.phones for us in (phone.start_us, phone.end_us)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (word.start_us, word.end_us)


def test_a_clip_finds_its_part_of_a_longer_transcript(aligner, grid):
    sound, times = grid
    aligned = aligner(sound, "bin blue at f now and set white with p two soon or lay red by zero again").words
    assert [word.text for word in aligned] == [word for word, *_ in times]
    assert mean_error_s(aligned, times) <= 0.040


def test_words_outside_the_dictionary_are_aligned_by_a_guess_that_is_marked(aligner, grid):
    sound, times = grid
    aligned = aligner(sound, "set wite with p twoo soon").words
    assert mean_error_s(aligned, times) <= 0.060
    assert [word.pronunciation == "guessed" for word in aligned] == [False, True, False, False, True, False]


@pytest.mark.parametrize("text", ["lay blue at x four now", "ask not what your country can do for you", "привет", ""])
def test_a_text_that_is_not_what_is_spoken_is_refused(aligner, grid, text):
    with pytest.raises(ValueError, match=r"words|transcript"):
        aligner(grid[0], text)


def test_a_result_does_not_depend_on_what_was_aligned_before(aligner, grid):
    sound, _ = grid
    text = "set white with p two soon"
    first = aligner(sound, text)
    with pytest.raises(ValueError, match="transcript"):
        aligner(np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32), "zyxwvut " + text)
    assert aligner(sound, text) == first
