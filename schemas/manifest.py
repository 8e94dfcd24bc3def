"""RunManifest: what a command did, so that it can be repeated and believed. One JSON file per run, at its end."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, Field

from xsheet.schemas.settings import StrictModel, settings_sha256
from xsheet.schemas.tables import write_text


class RunManifest(StrictModel):
    """Settings, hashes, versions, counts and timings of one run."""

    command: str = Field(description="command, e.g. 'curate run'")
    arguments: dict[str, str] = Field(description="operational flags as given")
    settings: dict[str, Any] = Field(description="all settings with defaults filled in")
    settings_sha256: str = Field(description="hash of the settings")
    versions: dict[str, str] = Field(description="python, platform and the distributions that can change a result")
    started: AwareDatetime = Field(description="UTC")
    finished: AwareDatetime = Field(description="UTC")
    counts: dict[str, int] = Field(description="items and rows by outcome and table")
    seconds: dict[str, float] = Field(description="wall-clock time per step")

    def write(self, folder: Path) -> Path:
        """Write below `folder`/manifests; returns the file. Runs never overwrite each other's."""
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
