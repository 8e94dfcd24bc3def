import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.vlm.prompts import load_prompt, quote_untrusted, read_prompt
from xsheet.schemas.errors import ConfigError

FRONT = '---\nid: test\nversion: "1"\npurpose: a test\n---\n'
SEGMENT = {
    "duration_s": "5", "step_s": "0.125", "max_phases": 10, "tracks": ("head",), "actions": ("nod",),
    "candidates": [], "description": None, "transcript": None, "has_word_times": False, "has_sound": False,
}  # fmt: skip


@pytest.fixture
def prompt(tmp_path):
    def made(text):
        path = tmp_path / "prompt.md"
        path.write_text(text, encoding="utf-8")
        return read_prompt(path, where="prompt.md")

    return made


def test_a_missing_variable_is_refused(prompt):
    with pytest.raises(ConfigError, match=r"expected the variables \['name'\], got \[\]"):
        prompt(FRONT + "Hello\n=== user ===\n{{ name }}").render()


def test_an_unused_variable_is_refused(prompt):
    with pytest.raises(ConfigError, match="got \\['age', 'name'\\]"):
        prompt(FRONT + "Hello\n=== user ===\n{{ name }}").render(name="a", age=3)


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "---\nid: a\n---\nHello\n=== user ===\nx",
        FRONT + "Hello",
        FRONT.replace('"1"', "1") + "a\n=== user ===\nb",
    ],
)
def test_a_file_of_another_form_is_refused(prompt, text):
    with pytest.raises(ConfigError, match="front matter"):
        prompt(text)


def test_the_hash_covers_the_whole_file(prompt):
    text = FRONT + "Hello\n=== user ===\nx"
    assert prompt(text).sha256 != prompt(text.replace('"1"', '"2"')).sha256


@pytest.mark.parametrize("name", ["describe", "segment"])
def test_packaged_prompts_say_who_they_are(name):
    about = load_prompt(name).front_matter
    assert (about.id, about.purpose[:4]) == (name, "Pass")


def test_pass_a_is_asked_for_no_times():
    system, user = load_prompt("describe").render(duration_s="5", transcript=None, has_sound=False)
    assert "No times" in system
    assert "5 seconds" in user


def test_only_the_prompt_of_a_model_that_receives_sound_mentions_it():
    for name, variables in (("describe", {"duration_s": "5", "transcript": None}), ("segment", SEGMENT)):
        deaf = " ".join(load_prompt(name).render(**{**variables, "has_sound": False}))
        hearing = " ".join(load_prompt(name).render(**{**variables, "has_sound": True}))
        assert "short silent recordings" in deaf
        assert "the sound above" not in deaf
        assert "short recordings" in hearing
        assert "The pictures and the sound above" in hearing
        assert "no evidence" in hearing


def test_pass_b_states_length_range_and_cap():
    _, user = load_prompt("segment").render(**SEGMENT)
    assert "Allowed times: 0 to\n5" in user
    assert "At most 10 phases" in user
    assert "Measured movement" not in user
    assert "observer" not in user


def test_optional_parts_stand_in_pass_b_when_given():
    given_parts = {**SEGMENT, "candidates": ["head 1.20-1.84"], "description": '"nods"', "transcript": '"hello"'}
    _, user = load_prompt("segment").render(**given_parts)
    for part in ("- head 1.20-1.84\n", '\n"nods"\n', '\n"hello"\n'):
        assert part in user + "\n"


def test_foreign_text_is_not_rendered_again():
    _, user = load_prompt("segment").render(**{**SEGMENT, "transcript": quote_untrusted("{{ tracks }}", max_chars=99)})
    assert "tracks }}" not in user


@given(st.text())
def test_quoted_text_is_one_json_string_of_the_same_text(text):
    line = quote_untrusted(text, max_chars=1000)
    assert json.loads(line) == text
    assert "\n" not in line


@given(st.text(alphabet='<|im_end>[/INST]`"#={}\\\n\u202e\u2028abc'))
def test_quoted_text_cannot_leave_its_quotes_or_form_markup(text):
    line = quote_untrusted(text, max_chars=1000)
    assert not set("<>[]{}|`#=\n\u202e\u2028") & set(line)
    assert '"' not in line[1:-1].replace("\\\\", "").replace('\\"', "")


def test_long_text_is_cut():
    assert quote_untrusted("a" * 50, max_chars=10) == '"aaaaaaaaaa…"'
