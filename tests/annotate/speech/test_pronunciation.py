import pytest

from xsheet.annotate.speech.pronunciation import guess_sounds, spoken_words

DICTIONARY = {"it's", "three", "point", "five", "twenty", "first", "nineteen", "ninety", "and", "naive", "hello"}


def sounds_of(word: str) -> str | None:
    return "X" if word in DICTIONARY or len(word) == 1 else None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It’s, hello!", [("it's",), ("hello",)]),
        ("3.5", [("three", "point", "five")]),
        ("21st", [("twenty", "first")]),
        ("1990", [("nineteen", "ninety")]),
        ("BBC & naïve", [("b", "b", "c"), ("and",), ("naive",)]),
        ("[laughs] hello — (music) ...", [("hello",)]),
    ],
)
def test_a_transcript_becomes_words_of_the_dictionary(text, parts):
    assert [word.parts for word in spoken_words(text, sounds_of=sounds_of)] == parts


def test_words_keep_the_writing_of_the_transcript():
    assert [word.text for word in spoken_words("“It’s” 3.5% hello,", sounds_of=sounds_of)] == ["It's", "3.5%", "hello"]


def test_a_word_outside_the_dictionary_is_guessed_and_named():
    (word,) = spoken_words("Tchaikova", sounds_of=sounds_of)
    assert word.guesses == (("tchaikova", "CH EY K OW V AE"),)


@pytest.mark.parametrize(
    ("word", "sounds"), [("knight", "N AY T"), ("shopping", "SH OW P IH NG"), ("quake", "K W AE K")]
)
def test_guesses_follow_the_letters(word, sounds):
    assert guess_sounds(word) == sounds


@pytest.mark.parametrize("text", ["привет", "你好", "hello 日本"])
def test_words_of_another_script_are_an_error_that_names_them(text):
    with pytest.raises(ValueError, match="words in English, got '"):
        list(spoken_words(text, sounds_of=sounds_of))
