"""A set: a folder with set.json, one folder per table, clips, and a manifest per run. Paths inside are relative."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import AwareDatetime, Field, ValidationError

from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.files import read_json, write_text
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.settings import StrictModel, settings_sha256
from xsheet.schemas.tables import Table

CONTRACT_VERSION = "1.0"
SET_FILE = "set.json"
"""Name of the file that makes a set of a folder."""


class ClipFormat(StrictModel):
    """Format of every file in media/."""

    fps: int = Field(default=25, description="constant frame rate; the contract's clock (ADR 2)")
    audio_hz: int = Field(
        default=16_000, description="mono; the input rate of SyncNet, wav2vec 2.0 and voice activity detectors"
    )
    video_codec: str = Field(default="h264", description="decoded everywhere")
    audio_codec: str = Field(default="aac", description="decoded everywhere in MP4")


class SetInfo(StrictModel):
    """Content of set.json."""

    name: str = Field(min_length=1, description="name of the set")
    contract: str = Field(default=CONTRACT_VERSION, description="version of the contract as a whole")
    clip: ClipFormat = Field(default=ClipFormat(), description="format of the clips")


def create_set(folder: Path, name: str) -> SetInfo:
    """Create a set in the folder, or open it if it is one.

    Raises:
        ConfigError: the folder has other content, or cannot be written.
    """
    if (folder / SET_FILE).exists():
        return open_set(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            where=str(folder),
            expected="an empty or new folder, or a set",
            got="a folder with other content",
            hint="choose another folder; nothing was changed",
        )
    return describe_set(folder, name)


def describe_set(folder: Path, name: str) -> SetInfo:
    """Write set.json, which makes a set of a folder.

    Raises:
        ConfigError: the folder cannot be written.
    """
    info = SetInfo(name=name)
    try:
        write_text(folder / SET_FILE, info.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise ConfigError(
            where=str(folder),
            expected="a folder that can be written",
            got=error.strerror or str(error),
            hint="choose another folder for the set",
        ) from error
    return info


def open_set(folder: Path) -> SetInfo:
    """Read set.json; ContractError if the folder is not a set, or a set of another contract version."""
    file = folder / SET_FILE
    try:
        info = SetInfo.model_validate(read_json(file))
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
            hint="restore the file; xsheet never changes it",
        ) from error
    if info.contract.split(".")[0] != CONTRACT_VERSION.split(".", maxsplit=1)[0]:
        raise ContractError(
            where=str(file),
            expected=f"contract v{CONTRACT_VERSION}",
            got=f"v{info.contract}",
            hint="use the version of xsheet that wrote the set, or upgrade the set",
        )
    return info


class RunManifest(StrictModel):
    """Settings, hashes, versions, counts and timings of one run."""

    command: str = Field(description="command, e.g. 'curate run'")
    arguments: dict[str, str] = Field(description="command-line options that are not settings")
    settings: dict[str, Any] = Field(description="all settings with defaults filled in")
    settings_sha256: str = Field(description="hash of the settings")
    versions: dict[str, str] = Field(
        description="versions of Python, platform and distributions that can affect a result"
    )
    started: AwareDatetime = Field(description="UTC")
    finished: AwareDatetime = Field(description="UTC")
    counts: dict[str, int] = Field(description="items and rows by outcome and table")
    seconds: dict[str, float] = Field(description="wall-clock time per step")

    def write(self, folder: Path) -> Path:
        """Write to `folder`/manifests; returns the new file. No manifest is overwritten."""
        stamp = self.started.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        path = folder / "manifests" / f"{stamp}-{self.command.replace(' ', '-')}.json"
        write_text(path, self.model_dump_json(indent=2) + "\n")
        return path


def build_manifest(
    command: str,
    *,
    arguments: dict[str, object],
    settings: StrictModel,
    distributions: Sequence[str],
    started: datetime,
    counts: dict[str, int],
    seconds: dict[str, float],
) -> RunManifest:
    """The manifest of a run that ends now."""
    return RunManifest(
        command=command,
        arguments={name: str(value) for name, value in arguments.items()},
        settings=settings.model_dump(mode="json"),
        settings_sha256=settings_sha256(settings),
        versions=versions(distributions),
        started=started,
        finished=datetime.now(UTC),
        counts=counts,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """Installed versions by distribution name; 'absent' where one is not installed."""
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


# child table, its column, parent table, the parent's column
REFERENCES: tuple[tuple[Table[Any], str, Table[Any], str], ...] = (
    (tables.SHOTS, "source_id", tables.SOURCES, "source_id"),
    (tables.TIMELINES, "source_id", tables.SOURCES, "source_id"),
    (tables.TRACKS, "source_id", tables.SOURCES, "source_id"),
    (tables.FINGERPRINTS, "source_id", tables.SOURCES, "source_id"),
    (tables.NEAR_DUPLICATES, "source_id", tables.FINGERPRINTS, "source_id"),
    (tables.NEAR_DUPLICATES, "other_id", tables.FINGERPRINTS, "source_id"),
    (tables.MEASURES, "source_id", tables.SOURCES, "source_id"),
    (tables.MEASURES, "shot_id", tables.SHOTS, "shot_id"),
    (tables.VERDICTS, "clip_id", tables.MEASURES, "clip_id"),
    (tables.CLIPS, "source_id", tables.SOURCES, "source_id"),
    (tables.SIGNALS, "clip_id", tables.CLIPS, "clip_id"),
    (tables.WORDS, "clip_id", tables.CLIPS, "clip_id"),
    (tables.SPLITS, "clip_id", tables.CLIPS, "clip_id"),
    (tables.ANNOTATIONS, "clip_id", tables.CLIPS, "clip_id"),
    (tables.ANNOTATIONS, "run_id", tables.RUNS, "run_id"),
    (tables.REVIEWS, "annotation_id", tables.ANNOTATIONS, "annotation_id"),
    (tables.FEATURES, "clip_id", tables.CLIPS, "clip_id"),
)
UNIQUE: tuple[tuple[Table[Any], str], ...] = (
    (tables.SOURCES, "path"),
    (tables.SHOTS, "shot_id"),
    (tables.TIMELINES, "source_id"),
    (tables.FINGERPRINTS, "source_id"),
    (tables.TRACKS, "track_id"),
    (tables.MEASURES, "clip_id"),
    (tables.VERDICTS, "clip_id"),
    (tables.CLIPS, "clip_id"),
    (tables.SIGNALS, "clip_id"),
    (tables.WORDS, "clip_id"),
    (tables.SPLITS, "clip_id"),
    (tables.RUNS, "run_id"),
    (tables.ANNOTATIONS, "annotation_id"),
    (tables.FINDINGS, "finding_id"),
    (tables.REVIEWS, "review_id"),
)


@dataclass(frozen=True, slots=True)
class ContractViolation:
    """One violation of the contract."""

    table: str
    message: str


@dataclass(frozen=True, slots=True)
class ContractReport:
    """Number of rows of each existing table, and all violations."""

    rows: dict[str, int]
    violations: tuple[ContractViolation, ...]


def check_set(folder: Path, *, media: bool = False) -> ContractReport:
    """Read and check all tables; `media=True` also hashes every clip. ContractError if the folder is not a set."""
    open_set(folder)
    rows: dict[str, int] = {}
    problems: list[ContractViolation] = []
    for table in tables.TABLES:
        if not tables.part_files(folder, table):
            continue
        try:
            rows[table.name] = sum(1 for _ in tables.iter_records(folder, table))
        except ContractError as error:
            problems.append(ContractViolation(table.name, str(error)))
    readable = set(rows)
    problems += _duplicates(folder, readable)
    problems += _dangling_references(folder, readable)
    if "clips" in readable:
        problems += _media(folder, hashes=media)
    return ContractReport(rows, tuple(problems))


def _duplicates(folder: Path, readable: set[str]) -> Iterator[ContractViolation]:
    for table, column in UNIQUE:
        if table.name in readable:
            values = _column(folder, table, column)
            if twice := len(values) - len(values.unique()):
                yield ContractViolation(table.name, f"{column}: {twice} values occur more than once")


def _dangling_references(folder: Path, readable: set[str]) -> Iterator[ContractViolation]:
    for child, column, parent, key in REFERENCES:
        if {child.name, parent.name} <= readable:
            known = _column(folder, parent, key)
            found = pa.compute.is_in(_column(folder, child, column), value_set=known.combine_chunks())
            if missing := len(found) - (pa.compute.sum(found).as_py() or 0):
                yield ContractViolation(
                    child.name, f"{column}: {missing} rows name a {parent.name} row that does not exist"
                )


def _media(folder: Path, *, hashes: bool) -> Iterator[ContractViolation]:
    for clip in tables.iter_records(folder, tables.CLIPS):
        path = folder / clip.media_path
        if not path.is_file():
            yield ContractViolation("clips", f"{clip.clip_id}: {clip.media_path} is missing")
        elif hashes and file_sha256(path) != clip.media_sha256:
            yield ContractViolation("clips", f"{clip.clip_id}: {clip.media_path} has changed since it was written")


def _column(folder: Path, table: Table[Any], column: str) -> pa.ChunkedArray:
    return tables.read_table(folder, table, [column])[column]
