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


SHORT_GRID = 'File type = "ooTextFile"\n"TextGrid"\n\n0\n2\n<exists>\n1\n"IntervalTier"\n"words"\n0\n2\n3\n' + (
    '0\n0.5\n""\n0.5\n0.9\n"hello"\n1.0\n1.4\n"world"\n'
)
ROLLING = """WEBVTT
Kind: captions

00:00:00.500 --> 00:00:01.400 align:start position:0%
an earlier line
hello<00:00:00.900><c> </c><00:00:01.000><c> world</c>

00:00:01.400 --> 00:00:01.410 align:start position:0%
hello world
"""
UNDERLINED = """WEBVTT

00:00.000 --> 00:00.500
hello world

00:00.500 --> 00:00.900
<u>hello</u> world

00:01.000 --> 00:01.400
hello <u>world</u>
"""
ONE_EACH = "WEBVTT\r\n\r\n1\r\n00:00.500 --> 00:00.900\r\nhello\r\n\r\n2\r\n00:01.000 --> 00:01.400\r\nworld"


@pytest.mark.parametrize(
    "text",
    [
        SHORT_GRID,
        ROLLING,
        UNDERLINED,
        ONE_EACH,
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


def test_a_text_grid_gives_the_sounds_of_each_word():
    interval = 'intervals [1]:\n xmin = {}\n xmax = {}\n text = "{}"\n'
    tier = 'item [1]:\n class = "IntervalTier"\n name = "{}"\n xmin = 0\n xmax = 2\n intervals: size = {}\n'
    text = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2\ntiers? <exists>\nsize = 2\n' + (
        tier.format("speaker - words", 2)
        + "".join(interval.format(*row) for row in ((0.5, 0.9, "hi"), (1.0, 1.4, "you")))
        + tier.format("speaker - phones", 4)
        + "".join(
            interval.format(*row) for row in ((0, 0.5, "sil"), (0.5, 0.6, "HH"), (0.6, 0.9, "AY"), (1.0, 1.4, "Y"))
        )
    )
    assert [[phone.name for phone in word.phones] for word in parse_words(text)] == [["HH", "AY"], ["Y"]]


def test_captions_of_whole_sentences_name_the_cue_and_the_way_out():
    with pytest.raises(ValueError, match="2 words in cue 1; give the text in the column 'transcript'"):
        parse_words("WEBVTT\n\n00:00.500 --> 00:00.900\nhello world\n")


@pytest.mark.parametrize(
    "text", ['File type = "ooTextFile"\n"TextGrid"\n0 2 <exists> 1 "IntervalTier" "words" 0', '"ooTextFile" "Pitch"']
)
def test_a_broken_text_grid_is_an_error(text):
    with pytest.raises(ValueError, match="words: expected"):
        parse_words(text)
