"""A set: a folder with `set.json`, one folder per table, and the clips. It can be moved: paths inside are relative."""

import json
from pathlib import Path

from pydantic import Field, ValidationError

from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.tables import write_text

CONTRACT_VERSION = "1.0"


class ClipFormat(StrictModel):
    """Format of every file below media/."""

    fps: int = Field(default=25, description="constant frame rate; the contract's clock (ADR 2)")
    audio_hz: int = Field(default=16_000, description="mono; what SyncNet, wav2vec2 and VADs take")
    video_codec: str = Field(default="h264", description="decoded everywhere")
    audio_codec: str = Field(default="aac", description="decoded everywhere in MP4")


class SetInfo(StrictModel):
    """What set.json holds."""

    name: str = Field(min_length=1, description="name of the set")
    contract: str = Field(default=CONTRACT_VERSION, description="version of the contract as a whole")
    clip: ClipFormat = Field(default=ClipFormat(), description="format of the clips")


def create_set(folder: Path, name: str) -> SetInfo:
    """Make the folder a set, or open it when it is one already.

    Raises:
        ConfigError: the folder holds other things, or cannot be written.
    """
    if (folder / "set.json").exists():
        return open_set(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            where=str(folder),
            expected="an empty or new folder, or a set",
            got="a place with other things in it",
            hint="choose another folder; nothing was changed",
        )
    info = SetInfo(name=name)
    try:
        write_text(folder / "set.json", info.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise ConfigError(
            where=str(folder),
            expected="a folder that can be written",
            got=error.strerror or str(error),
            hint="choose another place for the set",
        ) from error
    return info


def open_set(folder: Path) -> SetInfo:
    """Read set.json; ContractError when the folder is no set, or a set of another contract."""
    file = folder / "set.json"
    try:
        info = SetInfo.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ContractError(
            where=str(folder),
            expected="a set (a folder with set.json)",
            got="no set.json",
            hint="give the folder that a run named with --out",
        ) from error
    except (OSError, ValueError, ValidationError) as error:
        raise ContractError(
            where=str(file),
            expected="the description of a set",
            got=" ".join(str(error).split())[:200],
            hint="restore the file; xsheet itself never changes it",
        ) from error
    if info.contract.split(".")[0] != CONTRACT_VERSION.split(".", maxsplit=1)[0]:
        raise ContractError(
            where=str(file),
            expected=f"contract v{CONTRACT_VERSION}",
            got=f"v{info.contract}",
            hint="use the xsheet that made the set, or upgrade the set",
        )
    return info
