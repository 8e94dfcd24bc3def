"""Settings of a run: strict frozen models beside their owner, a YAML preset in the package, a file, single values.

    load(CurateSettings, preset=files("xsheet.curate") / "presets" / "keep.yaml", config=path, overrides=["a.b=0.3"])

Later sources override earlier ones key by key. An unknown key is an error that suggests the nearest known one. A list
whose items have a `name` is addressed by it: `stages.NAME.steps=5000` changes one item of `stages`.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import content_key


class StrictModel(BaseModel):
    """Base of all settings: frozen, no coercion, no unknown keys, no NaN. Each field describes its unit and source."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


M = TypeVar("M", bound=StrictModel)


class Readable(Protocol):
    """A file to read text from: a path, or a resource of the package."""

    def read_text(self, encoding: str | None = None) -> str:
        """The whole file."""
        ...


@dataclass(frozen=True, slots=True)
class SettingsSection:
    """A section of a settings file that is read like a separate file."""

    where: str
    values: Any

    def read_text(self, encoding: str | None = None) -> str:
        """The section as YAML."""
        return yaml.safe_dump(self.values)

    def __str__(self) -> str:
        return self.where


def split_by_section(
    names: Sequence[str], *, config: Path | None, overrides: Sequence[str] = ()
) -> dict[str, tuple[SettingsSection | None, list[str]]]:
    """Split a file and `key=value` overrides into one section per part; each part is then loaded separately.

    Raises:
        ConfigError: unreadable YAML, or a first key that is not a part.
    """
    file = {} if config is None else _parse_yaml(config, where=str(config))
    split = [(text, *text.partition(".")) for text in overrides]
    for where, name in [(str(config), key) for key in file] + [(f"--set {text}", name) for text, name, *_ in split]:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.0)
            expected = f"a section first: {', '.join(names)}"
            raise ConfigError(where=where, expected=expected, got=repr(name), hint=f"did you mean {near[0]!r}?")
    return {
        name: (
            SettingsSection(f"{config}, section {name}", file[name]) if name in file else None,
            [rest for _, section, _, rest in split if section == name],
        )
        for name in names
    }


def load_settings(
    model: type[M],
    *,
    preset: Traversable | None = None,
    config: Path | SettingsSection | None = None,
    overrides: Sequence[str] = (),
) -> M:
    """Settings from a preset, then a file, then `key=value` overrides.

    Raises:
        ConfigError: unreadable YAML, an unknown key (the nearest known one is named), a value of the wrong type or
            outside its range.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, layer in _sources(preset, config, overrides):
        _check_keys(layer, model, where=name)
        _merge(values, layer, origin=origin, name=name)
    try:
        # In JSON mode, strict validation accepts a list for a tuple, but not "3" for 3.
        return model.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise _as_config_error(error, origin, values, fallback=str(config or preset or model.__name__)) from error


def settings_sha256(settings: StrictModel) -> str:
    """Hash of all values, defaults included, so that a changed default changes the hash."""
    return content_key(settings.model_dump(mode="json"))


def to_yaml(settings: StrictModel) -> str:
    """Settings as a YAML file that `load` reads back to the same values."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def _sources(
    preset: Traversable | None, config: Path | SettingsSection | None, overrides: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    layers = []
    if preset is not None:
        layers.append((f"preset {preset.name}", _parse_yaml(preset, where=f"preset {preset.name}")))
    if config is not None:
        layers.append((str(config), _parse_yaml(config, where=str(config))))
    layers += [("--set " + text, _parse_override(text)) for text in overrides]
    return layers


MAX_YAML_NODES = 100_000
"""More than any settings hold; ten lines of aliases can stand for more values than a memory holds."""


class SettingsLoader(yaml.SafeLoader):
    """Loader that refuses duplicate keys, of which YAML silently takes the last, and aliases that multiply its size."""

    def construct_document(self, node: yaml.Node) -> Any:  # noqa: D102
        _count_nodes(node, {})
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: D102
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((k for i, k in enumerate(keys) if k in keys[:i]), None)
        if twice is not None:
            raise yaml.MarkedYAMLError(problem=f"key {twice!r} is duplicated", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def _count_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes below and with this one where each alias is written out, which is what a reader of the values meets."""
    if id(node) not in known:
        known[id(node)] = MAX_YAML_NODES  # what holds itself has no end
        children: Sequence[yaml.Node] = ()
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_count_nodes(child, known) for child in children)
    if known[id(node)] > MAX_YAML_NODES:
        problem = f"more than {MAX_YAML_NODES} values once its aliases are written out"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return known[id(node)]


def _parse_yaml(file: Readable, *, where: str) -> dict[str, Any]:
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), SettingsLoader)
    except OSError as error:
        raise ConfigError(
            where=where, expected="a readable YAML file", got=error.strerror or str(error), hint="check the path"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        message = " ".join(str(error).split())
        raise ConfigError(where=where, expected="valid YAML", got=message, hint="correct the file") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            where=where, expected="settings as `key: value`", got=type(values).__name__, hint="start from a preset"
        )
    return values


def _parse_override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(
            where=f"--set {text}",
            expected="key=value, e.g. sync.min_confidence=3",
            got=repr(text),
            hint="write the dotted key, '=' and the value without spaces",
        )
    try:
        nested: Any = yaml.load(value, SettingsLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(
            where=f"--set {text}", expected="a YAML value", got=repr(value), hint="quote the value"
        ) from error
    for part in reversed(parts):
        nested = {part: nested}
    result: dict[str, Any] = nested
    return result


def _merge(
    target: dict[str, Any], values: Mapping[str, Any], *, origin: dict[str, str], name: str, prefix: str = ""
) -> None:
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value, origin=origin, name=name, prefix=path + ".")
        elif isinstance(value, Mapping) and isinstance(target.get(key), list):
            for item, changes in value.items():
                section = _named_item(target[key], item, changes, path=path, where=name)
                _merge(section, changes, origin=origin, name=name, prefix=f"{path}.{item}.")
        else:
            target[key] = _copy(value)
            origin[path] = name


def _check_keys(values: Mapping[Any, Any], model: type[BaseModel], *, where: str, prefix: str = "") -> None:
    for key, value in values.items():
        field = model.model_fields.get(str(key))
        if field is None:
            known = [prefix + name for name in model.model_fields]
            near = [
                *_paths_below(str(key), model, prefix),
                *difflib.get_close_matches(f"{prefix}{key}", known, n=1, cutoff=0.0),
            ]
            raise ConfigError(
                where=where,
                expected=f"one of {', '.join(known)}",
                got=f"unknown key {f'{prefix}{key}'!r}",
                hint=f"did you mean {near[0]!r}?" if near else "remove it",
            )
        models = _section_models(field.annotation)
        for name, section in _sections(value, is_list=_is_list(field.annotation)):
            model_of = _model_for(section, models)
            if model_of is not None:
                _check_keys(section, model_of, where=where, prefix=f"{prefix}{key}.{name}")


def _paths_below(key: str, model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Dotted paths of the settings with this very name in the sections of a model."""
    for name, field in model.model_fields.items():
        if name == key:
            yield f"{prefix}{name}"
        if not _is_list(field.annotation):
            for section in _section_models(field.annotation):
                yield from _paths_below(key, section, f"{prefix}{name}.")


def _copy(value: Any) -> Any:
    """Deep copy: YAML aliases put one object into two sections."""
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _named_item(items: list[Any], name: Any, changes: Any, *, path: str, where: str) -> dict[str, Any]:
    """The item of a list of named sections that `changes` apply to; ConfigError if no item has that name."""
    by_name: dict[Any, dict[str, Any]] = {
        item["name"]: item for item in items if isinstance(item, dict) and "name" in item
    }
    if name in by_name and isinstance(changes, Mapping):
        return by_name[name]
    if name in by_name:
        raise ConfigError(
            where=where, expected=f"a section for {path}.{name}", got=repr(changes), hint="name one of its fields"
        )
    known = ", ".join(map(str, by_name)) or "no named items"
    near = difflib.get_close_matches(str(name), list(map(str, by_name)), n=1, cutoff=0.0)
    raise ConfigError(
        where=where, expected=f"an item of {path}: {known}", got=repr(name),
        hint=f"did you mean {near[0]!r}?" if near else "give the whole list",
    )  # fmt: skip


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in (tuple, list)


def _sections(value: Any, *, is_list: bool) -> list[tuple[str, Mapping[Any, Any]]]:
    """Sections inside a value, with the key of each: the value itself, or the items of a list by name or position."""
    if not is_list:
        return [("", value)] if isinstance(value, Mapping) else []
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return [(f"{item.get('name', key)}.", item) for key, item in items if isinstance(item, Mapping)]


def _section_models(annotation: Any) -> list[type[BaseModel]]:
    """The settings models that a value may have: several where a tag distinguishes them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _section_models(part)]


def _model_for(section: Mapping[Any, Any], models: Sequence[type[BaseModel]]) -> type[BaseModel] | None:
    """The model of a section: the only one, or the one whose `name` it carries; None leaves the check to pydantic."""
    if len(models) == 1:
        return models[0]
    tag = section.get("name")
    return next((m for m in models if "name" in m.model_fields and m.model_fields["name"].default == tag), None)


def _as_config_error(
    error: ValidationError, origin: Mapping[str, str], values: Mapping[str, Any], *, fallback: str
) -> ConfigError:
    first = error.errors(include_url=False)[0]
    path = _path_by_name(first["loc"], values)
    # The layer that set the value, or the nearest enclosing section.
    owners = [name for key, name in origin.items() if path == key or path.startswith(key + ".")]
    owner = owners[-1] if owners else fallback
    if isinstance(first["input"], dict) and "error" in first.get(
        "ctx", {}
    ):  # the error comes from a validator of a whole section
        expected, _, got = str(first["ctx"]["error"]).removeprefix("expected ").partition(", got ")
        return ConfigError(
            where=f"{owner}: {path or 'settings'}", expected=expected, got=got or "values that contradict it",
            hint="change one of them",
        )  # fmt: skip
    return ConfigError(
        where=f"{owner}: {path}",
        expected=first["msg"][0].lower() + first["msg"][1:],
        got="nothing" if first["type"] == "missing" else repr(first["input"]),
        hint="correct the value, or remove it to use the preset's",
    )


def _path_by_name(loc: Sequence[int | str], values: Any) -> str:
    """The dotted path of an error, with names instead of indices of list items."""
    parts: list[str] = []
    for part in loc:
        is_last = len(parts) == len(loc) - 1
        if isinstance(values, dict) and part not in values and values.get("name", None if is_last else part) == part:
            continue  # pydantic names the tag of a union; the settings do not
        values = values[part] if _has(values, part) else None
        is_named = isinstance(part, int) and isinstance(values, dict) and "name" in values
        parts.append(str(values["name"] if is_named else part))
    return ".".join(parts)


def _has(values: Any, part: int | str) -> bool:
    return (isinstance(values, dict) and part in values) or (
        isinstance(values, list) and isinstance(part, int) and part < len(values)
    )
