"""One settings file for several parts: each gets its own section, and errors still say where."""

import pytest
from pydantic import Field

from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel, load_settings, split_by_section


class Cut(StrictModel):
    length_s: float = Field(default=3.0, ge=1, description="seconds")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("cut: {length_s: 5.0}\n")
    return path


def test_a_part_gets_its_section_and_the_overrides_under_its_name(file):
    parts = split_by_section(("cut", "other"), config=file, overrides=["cut.length_s=7.0"])
    config, overrides = parts["cut"]
    assert load_settings(Cut, config=config).length_s == 5.0
    assert load_settings(Cut, config=config, overrides=overrides).length_s == 7.0
    assert parts["other"] == (None, [])


def test_an_error_names_the_file_and_the_section(file):
    file.write_text("cut: {length_s: 0.5}\n")
    config, _ = split_by_section(("cut",), config=file)["cut"]
    with pytest.raises(ConfigError, match=r"settings.yaml, section cut: length_s: .*greater than or equal to 1"):
        load_settings(Cut, config=config)


def test_a_section_that_is_no_mapping_is_refused(file):
    file.write_text("cut: 3\n")
    config, _ = split_by_section(("cut",), config=file)["cut"]
    with pytest.raises(ConfigError, match="section cut: expected settings as `key: value`"):
        load_settings(Cut, config=config)


@pytest.mark.parametrize("wrong", ["cot.length_s=3", "length_s=3"])
def test_an_override_begins_with_the_name_of_a_part(wrong):
    with pytest.raises(ConfigError, match="did you mean 'cut'"):
        split_by_section(("cut",), config=None, overrides=[wrong])
