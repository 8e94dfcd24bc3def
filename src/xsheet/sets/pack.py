"""A set as one tar file, for storage that is slow with many small files. The same set gives the same bytes.

The archive has the whole set except what can be computed again (stored results, caches, trained models); its last
member is SHA256SUMS. Unpack it with `tar -x`.
"""

import fcntl
import glob
import io
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.files import atomic_path
from xsheet.schemas.ids import checksum_lines, file_sha256
from xsheet.schemas.sets import open_set
from xsheet.schemas.tables import TABLES

PACKED_FOLDERS = ("media", "manifests", *(table.name for table in TABLES if table.name != "features"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackResult:
    """The archive."""

    files: int
    bytes: int
    sha256: str


def pack(set_folder: Path, out: Path) -> PackResult:
    """Write a set to a tar file that does not exist yet; it appears whole or not at all.

    Raises:
        ContractError: no set, or one of its folders is a link.
        ConfigError: the file exists, lies in the set, or is not called .tar.
    """
    open_set(set_folder)
    if out.exists() or out.absolute().is_relative_to(set_folder.absolute()):
        raise ConfigError(
            where=str(out), expected="a new file outside the set", got="a file" if out.exists() else "a file inside",
            hint="choose another name; nothing was changed",
        )  # fmt: skip
    if out.suffix != ".tar":
        raise ConfigError(
            where=str(out), expected="a name that ends in .tar", got=out.suffix or "no suffix",
            hint="write e.g. talk.tar; it is not compressed, because the videos already are",
        )  # fmt: skip
    names = [set_folder / "set.json"]
    for folder in PACKED_FOLDERS:
        path = set_folder / folder
        if path.is_symlink():  # of a set that somebody else made: it may lead to private files
            raise ContractError(
                where=str(path), expected="a folder", got=f"a link to {path.readlink()}",
                hint="replace the link by the folder, if its files belong to the set",
            )  # fmt: skip
        names += sorted(file for file in path.rglob("*") if _is_packed(file))
    sums: dict[str, str] = {}
    _remove_leftovers(out)
    with atomic_path(out) as temporary, temporary.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # released when the process ends, even if it is killed
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
            for path in names:
                name = path.relative_to(set_folder).as_posix()
                sums[name] = _add(tar, path, name)
            data = checksum_lines(sums).encode()
            member = tarfile.TarInfo("SHA256SUMS")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        return PackResult(files=len(names), bytes=temporary.stat().st_size, sha256=file_sha256(temporary))


def _remove_leftovers(out: Path) -> None:
    """Remove what killed commands left of this archive; one that is being written is locked."""
    for leftover in out.parent.glob(f".{glob.escape(out.name[:40])}.*.tmp{out.suffix}"):
        with suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def _is_packed(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and not path.name.startswith(".")


def _add(tar: tarfile.TarFile, path: Path, name: str) -> str:
    """Add a file without the owner, date and mode it has on this machine; returns its hash."""
    member = tarfile.TarInfo(name)
    member.size = path.stat().st_size
    with path.open("rb") as file:
        tar.addfile(member, file)
    return file_sha256(path)
