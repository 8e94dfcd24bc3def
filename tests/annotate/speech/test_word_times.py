import json

import pytest

from xsheet.annotate.speech.word_times import parse_words

WORDS = [("hello", 0.5, 0.9), ("world", 1.0, 1.4)]
PLAIN = [{"word": w, "start_s": a, "end_s": b} for w, a, b in WORDS]
RECOGNISED = [{"word": w, "start": a, "end": b, "score": 0.9} for w, a, b in WORDS]
GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 2
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 0.9
            text = "hello"
        intervals [3]:
            xmin = 0.9
            xmax = 1.0
            text = "sil"
        intervals [4]:
            xmin = 1.0
            xmax = 1.4
            text = "world"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 2
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 2
            text = "HH"
"""


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PLAIN),
        json.dumps(RECOGNISED),
        json.dumps({"segments": [{"start": 0.5, "end": 1.4, "text": "hello world", "words": RECOGNISED}]}),
        json.dumps({"segments": [], "word_segments": RECOGNISED}),
        json.dumps([{"start": 0.5, "end": 1.4, "words": [*RECOGNISED, {"word": "12"}]}]),
        GRID,
    ],
)
def test_every_form_gives_the_same_words(text):
    assert [(word.word, word.start_s, word.end_s) for word in parse_words(text)] == WORDS


@pytest.mark.parametrize("text", ["", "[1]", '{"text": "hello"}', '[{"word": "a", "start": -1, "end": 2}]', "[" * 5000])
def test_text_of_no_form_is_an_error_that_says_what_was_expected(text):
    with pytest.raises(ValueError, match="expected"):
        parse_words(text)
