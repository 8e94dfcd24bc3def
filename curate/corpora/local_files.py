"""The videos below a folder, by name and by id."""

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

from xsheet.curate.discover import discover
from xsheet.schemas.errors import ConfigError

# yt-dlp writes `Title [ID].mp4`, youtube-dl `Title-ID.mp4`; sections of a video are ID_001_START_END.
_ID_IN_BRACKETS = re.compile(r".*\[([\w-]{6,})\]", re.DOTALL)
_ID_AT_END = re.compile(r".+-([\w-]{11})", re.DOTALL)
_SECTION = re.compile(r"(.+)_\d{3}(_\d+\.\d{3}_\d+\.\d{3})", re.DOTALL)


class LocalVideos:
    """An index of the videos below a folder; links to other folders are not followed."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError(
                where="--videos", expected="a folder of videos", got=str(folder), hint="name the downloaded videos"
            )
        self.folder = folder
        self.files = [Path(file.path) for file in discover([str(folder)]) if Path(file.path).is_file()]
        self._by_depth: dict[int, dict[str, list[Path]]] = {}

    def find(self, name: str) -> list[Path]:
        """Files by name without suffix, possibly with parent folders, or by an id in the name."""
        parts = PurePosixPath(name).parts
        depth = len(parts)
        if depth not in self._by_depth:
            self._by_depth[depth] = self._index(depth)
        return self._by_depth[depth].get("/".join(parts), [])

    def at(self, path: str) -> Path | None:
        """The file at a path below the folder; None if there is none."""
        file = self.folder / path
        try:
            return file if file.is_file() else None
        except (OSError, ValueError):  # too long, a NUL byte, or half a character
            return None

    def contains(self, path: str) -> bool:
        """Whether a path is below the folder after links are resolved."""
        try:
            return (self.folder / path).resolve().is_relative_to(self.folder.resolve())
        except (OSError, ValueError):  # the same; such a path is nowhere
            return False

    def _index(self, depth: int) -> dict[str, list[Path]]:
        index: dict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            folders = file.relative_to(self.folder).parts[-depth:-1] if depth > 1 else ()
            if len(folders) == depth - 1:
                for stem in dict.fromkeys(_names(file.stem)):
                    index["/".join((*folders, stem))].append(file)
        return index


def _names(stem: str) -> list[str]:
    """The stem of a file, and ids that its name contains."""
    found = [stem]
    if (match := _ID_IN_BRACKETS.fullmatch(stem)) or (match := _ID_AT_END.fullmatch(stem)):
        found.append(match[1])
    if match := _SECTION.fullmatch(stem):
        found.append(match[1] + match[2])
    return found
