"""Inputs and settings of `xsheet curate` from its options."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from xsheet.cli.options import find_preset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xsheet.curate.discover import InputFile
    from xsheet.curate.settings import CurateSettings
    from xsheet.schemas.settings import SettingsSection


def with_earlier_sources(files: "list[InputFile]", out: Path, *, keeps_earlier: bool | None) -> "list[InputFile]":
    """The inputs of a run: the named files, and those of earlier runs over the set if they are kept.

    Args:
        files: the files that this command names.
        out: folder of the set; may not exist yet.
        keeps_earlier: whether to keep sources that are not named; None asks on a terminal.

    Raises:
        ConfigError: `keeps_earlier` is None without a terminal to ask on, or the file of a source to keep is missing.
    """
    import sys

    from xsheet.cli.show import escape_controls
    from xsheet.curate.discover import inputs_of_set
    from xsheet.curate.paths import resolve_path
    from xsheet.schemas.errors import ConfigError

    named = {resolve_path(file.path) for file in files}
    earlier = [file for file in inputs_of_set(out) if resolve_path(file.path) not in named]
    if not earlier or keeps_earlier is False:
        return files
    names = ", ".join(file.name for file in earlier[:3]) + (", …" if len(earlier) > 3 else "")
    if keeps_earlier is None:
        if not sys.stdin.isatty():
            raise ConfigError(
                where=str(out), expected="inputs that name all sources of the set",
                got=f"inputs without {len(earlier)} of them: {names}",
                hint="--add keeps them, --replace removes them from the tables",
            )  # fmt: skip
        question = f"{len(earlier)} sources of {out} are not among these inputs ({names}). Keep them?"
        if not typer.confirm(escape_controls(question), default=True):
            return files
    missing = [file.name for file in earlier if not (file.remote if file.is_remote else Path(file.path).exists())]
    if missing:
        raise ConfigError(
            where=str(out), expected="the files of all sources that stay",
            got=f"no {missing[0]} ({len(missing)} missing)",
            hint="run from the folder of the first run, restore the files, or use --replace",
        )  # fmt: skip
    return sorted([*files, *earlier], key=lambda file: file.path)


def preset_settings(
    preset: str, config: "Path | SettingsSection | None", overrides: list[str] | None
) -> "CurateSettings":
    """Settings of a run from a preset, a file and overrides."""
    from xsheet.curate.settings import CurateSettings
    from xsheet.schemas.settings import load_settings

    file = find_preset("xsheet.curate", preset)
    return load_settings(CurateSettings, preset=file, config=config, overrides=overrides or ())


def check_needs_no_decode(overrides: "Sequence[str]") -> None:
    """Raise ConfigError for a setting that `curate segment` would not read.

    Raises:
        ConfigError: the setting affects decoding or export.
    """
    from xsheet.curate.settings import DecodeSettings
    from xsheet.schemas.errors import ConfigError

    for text in overrides:
        section, *rest = text.partition("=")[0].split(".")
        if section == "export" or (section == "analysis" and rest and rest[0] in DecodeSettings.model_fields):
            raise ConfigError(
                where=f"--set {text}",
                expected="a limit, or a setting of analysis.shots, analysis.candidates or analysis.sync",
                got="a setting of decoding or export", hint="use `xsheet curate run`, which reads it",
            )  # fmt: skip
