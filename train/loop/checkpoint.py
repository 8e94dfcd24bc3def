"""Folders of checkpoints: one appears whole or not at all, and the pointer to it is never wrong.

    ROOT/step-00001000/          committed: it was written and synced under another name, then renamed
    ROOT/step-00001500.partial/  being written or being removed; worth nothing, cleared by `recover`
    ROOT/LATEST                  the name of a committed folder, replaced atomically; further pointers may stand beside

What a checkpoint holds is the caller's; this module knows files and the processes that write them together.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from xsheet.schemas.errors import RunError, XsheetError
from xsheet.schemas.tables import remove_leftovers, write_text

LATEST = "LATEST"
_STEP = re.compile(r"step-(\d{8,})")
_POINTER = re.compile(r"[A-Z][A-Z_]*")
_PARTIAL = ".partial"


class Together(Protocol):
    """The processes of a run: the first one does what must be done once."""

    @property
    def first(self) -> bool:
        """Whether this is the first process."""
        ...

    def failures(self, mine: str | None) -> tuple[str, ...]:
        """What went wrong in any process, the same answer in all; also a barrier."""
        ...


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, root: Path, *, keep: int, together: Together) -> None:
        """`keep`: so many of the newest stay, at least 2, besides those that a pointer names."""
        if keep < 2:
            raise ValueError(f"expected keep >= 2, got {keep}: with one, a broken disk block ends the run")
        self._root, self._keep, self._together = root, keep, together

    def recover(self) -> Path | None:
        """The newest committed checkpoint, after clearing what a killed run left behind; None if there is none.

        A kill between the rename and the swap of LATEST leaves a whole folder: LATEST is moved on to it.

        Raises:
            RunError: the folder cannot be written, or LATEST names what is not there.
        """
        self._once(self._clear, doing="clear")
        committed = self.steps()
        named = self.named(LATEST)
        if named is not None and not named.is_dir():
            todo = "restore that folder, or remove LATEST to go on from the newest one"
            raise RunError(where=str(self._root), expected=f"the folder {named.name}", came="none", todo=todo)
        return self._root / _name(committed[-1]) if committed else None

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Let every process write into a new folder, then publish it; a step that is published already stays as it is.

        Raises:
            RunError: a process could not write; nothing was published, and all processes raise alike.
        """
        target, staging = self._root / _name(step), self._root / (_name(step) + _PARTIAL)
        if not target.is_dir():
            self._once(lambda: _emptied(staging), doing="begin a checkpoint")
            self._each(lambda: write(staging), doing="write a checkpoint")
            self._once(lambda: _publish(staging, target), doing="publish a checkpoint")
        self.point(LATEST, step)
        self._once(self._prune, doing="remove old checkpoints")
        return target

    def point(self, pointer: str, step: int) -> None:
        """Let a pointer (capital letters) name a committed step; pruning spares that step from now on."""
        if not _POINTER.fullmatch(pointer):
            raise ValueError(f"expected a pointer in capital letters, got {pointer!r}")
        self._once(lambda: write_text(self._root / pointer, _name(step) + "\n"), doing="move a pointer")

    def named(self, pointer: str) -> Path | None:
        """The folder that a pointer names, whether it is there or not; None without the pointer."""
        try:
            name = (self._root / pointer).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        return self._root / name

    def steps(self) -> list[int]:
        """All committed steps, ascending."""
        found = (_STEP.fullmatch(path.name) for path in self._root.iterdir()) if self._root.is_dir() else ()
        return sorted(int(match[1]) for match in found if match)

    def _clear(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        for partial in self._root.glob(f"*{_PARTIAL}"):
            shutil.rmtree(partial)
        remove_leftovers(self._root)
        committed, named = self.steps(), self.named(LATEST)
        if committed and named is not None and named.is_dir() and named.name != _name(committed[-1]):
            write_text(self._root / LATEST, _name(committed[-1]) + "\n")

    def _prune(self) -> None:
        pointers = (path.name for path in self._root.iterdir() if _POINTER.fullmatch(path.name))
        spared = {folder.name for folder in map(self.named, pointers) if folder is not None}
        for step in self.steps()[: -self._keep]:
            if _name(step) not in spared:
                # Half of a removed folder must not pass for a checkpoint.
                doomed = self._root / (_name(step) + _PARTIAL)
                (self._root / _name(step)).rename(doomed)
                shutil.rmtree(doomed)

    def _once(self, act: Callable[[], None], *, doing: str) -> None:
        self._each(act if self._together.first else lambda: None, doing=doing)

    def _each(self, act: Callable[[], None], *, doing: str) -> None:
        """One process that raised alone would leave the others waiting for it for ever."""
        failed: Exception | None = None
        try:
            act()
        except Exception as error:  # noqa: BLE001 - told to all processes, which raise it as one
            failed = error
        said = self._together.failures(None if failed is None else f"{type(failed).__name__}: {failed}")
        if isinstance(failed, XsheetError):
            raise failed
        if said:
            todo = "free space or choose another output, then run again; the run goes on from the last checkpoint"
            raise RunError(where=str(self._root), expected=f"to {doing}", came=said[0], todo=todo) from failed


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _emptied(staging: Path) -> None:
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)


def _publish(staging: Path, target: Path) -> None:
    """Rename once all bytes are on the disk; a rename that overtook them would publish a hole."""
    for path in (*staging.rglob("*"), staging):
        _sync(path)
    staging.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
