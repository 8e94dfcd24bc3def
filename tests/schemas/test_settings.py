from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel, load_settings, settings_sha256, to_yaml


class Sync(StrictModel):
    min_confidence: float = Field(3.0, ge=0, description="LSE-C")
    max_abs_offset_frames: int = Field(3, ge=0, le=25, description="at 25 fps")


class Face(StrictModel):
    min_height_px: int = Field(256, ge=1, description="pixels")


class Limits(StrictModel):
    name: str = Field("keep", description="name")
    sync: Sync = Field(Sync(), description="sync")
    face: Face | None = Field(None, description="absent = not judged")
    sizes: tuple[int, ...] = Field((), description="a list")


@pytest.fixture
def preset(tmp_path) -> Path:
    path = tmp_path / "keep.yaml"
    path.write_text(
        "name: strict\nsync:\n  min_confidence: 4.5\n  max_abs_offset_frames: 1\nface: {min_height_px: 128}\n"
    )
    return path


def test_later_sources_win_key_by_key(preset, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("sync:\n  min_confidence: 2\n")
    limits = load_settings(
        Limits, preset=preset, config=config, overrides=["sync.max_abs_offset_frames=0", "sizes=[1, 2]"]
    )
    assert limits == Limits(
        name="strict",
        sync=Sync(min_confidence=2.0, max_abs_offset_frames=0),
        face=Face(min_height_px=128),
        sizes=(1, 2),
    )


def test_nothing_given_is_the_defaults():
    assert load_settings(Limits) == Limits()


def test_zero_is_a_value_and_null_takes_a_section_away(preset):
    limits = load_settings(Limits, preset=preset, overrides=["sync.min_confidence=0.0", "face=null"])
    assert limits.sync.min_confidence == 0.0
    assert limits.face is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sync.min_confidense=3", "did you mean 'sync.min_confidence'"),
        ("snyc.min_confidence=3", "did you mean 'sync'"),
        ("min_height_px=3", "did you mean 'face.min_height_px'"),
        ("face.min_hight_px=3", "did you mean 'face.min_height_px'"),
        ("sync.min_confidence=-1", "--set sync.min_confidence=-1: sync.min_confidence: expected .* equal to 0, got -1"),
        ("sync.min_confidence=high", "expected .* valid number, got 'high'"),
        ("sync.max_abs_offset_frames=1.5", "valid integer"),
        ("sync.max_abs_offset_frames='3'", "valid integer"),
        ("sync.min_confidence=.nan", "finite"),
        ("sync=3", "sync: expected"),
        ("sync.min_confidence", "expected key=value"),
        ("=3", "expected key=value"),
        ("name=[", "expected a YAML value"),
    ],
)  # fmt: skip
def test_a_wrong_override_says_what_is_wrong(preset, override, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(Limits, preset=preset, overrides=[override])


def test_a_wrong_value_names_the_file_it_came_from(preset, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("sync: {max_abs_offset_frames: 99}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: sync\.max_abs_offset_frames: expected .* 25, got 99"):
        load_settings(Limits, preset=preset, config=config)


def test_values_that_contradict_each_other_are_reported_without_the_rest(tmp_path):
    class Range(StrictModel):
        low: int
        high: int

        @model_validator(mode="after")
        def _whole(self):
            if self.low > self.high:
                raise ValueError(f"expected low up to high, got {self.low} above {self.high}")
            return self

    class Ranges(StrictModel):
        first: Range

    config = tmp_path / "mine.yaml"
    config.write_text("first: {low: 2, high: 1}")
    with pytest.raises(ConfigError, match=r"mine.yaml: first: expected low up to high, got 2 above 1"):
        load_settings(Ranges, config=config)
    with pytest.raises(ConfigError, match=r"Range: settings: expected low up to high, got 2 above 1"):
        load_settings(Range, overrides=["low=2", "high=1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sync: [", "valid YAML"),
        ("- a\n- b\n", "settings as `key: value`"),
        ("name: a\nname: b\n", "key 'name' is duplicated"),
        ("name: !!python/object/apply:os.system ['true']\n", "valid YAML"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, text, message):
    config = tmp_path / "broken.yaml"
    config.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(Limits, config=config)


def test_a_missing_file_says_check_the_path(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: expected a readable YAML file.*check the path"):
        load_settings(Limits, config=tmp_path / "nowhere.yaml")


@given(st.floats(0, 1e6), st.integers(0, 25), st.text(max_size=20), st.lists(st.integers(-9, 9), max_size=3))
def test_written_settings_are_read_back_the_same(tmp_path_factory, confidence, offset, name, sizes):
    limits = Limits(name=name, sync=Sync(min_confidence=confidence, max_abs_offset_frames=offset), sizes=tuple(sizes))
    path = tmp_path_factory.mktemp("settings") / "all.yaml"
    path.write_text(to_yaml(limits), encoding="utf-8")
    assert load_settings(Limits, config=path) == limits


def test_the_hash_changes_with_any_value_and_only_then():
    assert settings_sha256(Limits()) == settings_sha256(load_settings(Limits, overrides=["sync.min_confidence=3"]))
    assert settings_sha256(Limits()) != settings_sha256(load_settings(Limits, overrides=["sync.min_confidence=3.5"]))


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Limits().name = "other"


class Stage(StrictModel):
    name: str
    steps: int = Field(ge=1)
    sync: Sync = Sync()


class Red(StrictModel):
    name: Literal["red"] = "red"
    heat: float = 1.0


class Blue(StrictModel):
    name: Literal["blue"] = "blue"
    depth: int = Field(default=1, ge=1)


class Plan(StrictModel):
    stages: tuple[Stage, ...] = ()
    colour: Annotated[Red | Blue, Field(discriminator="name")] | None = None


@pytest.fixture
def stages(tmp_path) -> Path:
    path = tmp_path / "stages.yaml"
    path.write_text(
        "stages:\n- {name: first, steps: 1, sync: &sync {min_confidence: 4}}\n- {name: second, steps: 2, sync: *sync}\n"
    )
    return path


def test_an_item_of_a_list_is_addressed_by_its_name(stages):
    plan = load_settings(Plan, preset=stages, overrides=["stages.second.steps=5", "stages.first.sync.min_confidence=1"])
    assert [stage.steps for stage in plan.stages] == [1, 5]
    assert [stage.sync.min_confidence for stage in plan.stages] == [1, 4]  # the alias of the file is not shared


def test_a_file_can_change_named_items_or_replace_the_list(stages, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("stages: {second: {steps: 7}}")
    assert [stage.steps for stage in load_settings(Plan, preset=stages, config=config).stages] == [1, 7]
    config.write_text("stages: [{name: only, steps: 3}]")
    assert [stage.name for stage in load_settings(Plan, preset=stages, config=config).stages] == ["only"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.secnd.steps=5", r"an item of stages: first, second, got 'secnd'; did you mean 'second'"),
        ("stages.second.stps=5", r"unknown key 'stages\.second\.stps'; did you mean 'stages\.second\.steps'"),
        ("stages.second=5", r"a section for stages\.second, got 5"),
        ("stages.second.steps=0", r"--set stages\.second\.steps=0: stages\.second\.steps"),
        ("stages.second.sync.min_confidence=-1", r"stages\.second\.sync\.min_confidence"),
    ],
)
def test_a_wrong_item_or_field_is_named_by_its_path(stages, override, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(Plan, preset=stages, overrides=[override])


def test_a_tagged_section_is_checked_by_its_own_model():
    assert load_settings(Plan, overrides=["colour.name=blue", "colour.depth=3"]).colour == Blue(depth=3)
    with pytest.raises(ConfigError, match=r"colour\.depth=0: colour\.depth"):
        load_settings(Plan, overrides=["colour.name=blue", "colour.depth=0"])
    with pytest.raises(ConfigError, match="heat"):
        load_settings(Plan, overrides=["colour={name: blue, heat: 1}"])


def test_named_items_survive_a_round_trip(stages, tmp_path):
    plan = load_settings(Plan, preset=stages, overrides=["colour.name=red"])
    (tmp_path / "again.yaml").write_text(to_yaml(plan))
    assert load_settings(Plan, config=tmp_path / "again.yaml") == plan


def bomb(levels: int) -> str:
    """Aliases that stand for ten to the power of `levels` values."""
    value = "&a0 [x]"
    for level in range(1, levels):
        value = f"&a{level} [{value}" + f", *a{level - 1}" * 9 + "]"
    return value


@pytest.mark.parametrize("value", [bomb(20), "&a [*a]", "&a {b: *a}"], ids=["doubled", "list", "mapping"])
def test_aliases_that_multiply_or_hold_themselves_end_in_a_sentence(tmp_path, value):
    (tmp_path / "settings.yaml").write_text(f"sync: {value}\n")
    for arguments in ({"config": tmp_path / "settings.yaml"}, {"overrides": [f"sync={value}"]}):
        with pytest.raises(ConfigError) as error:
            load_settings(Limits, **arguments)
        assert len(str(error.value)) < 3000
