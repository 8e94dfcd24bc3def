"""Checkpoint folders: each is committed atomically, and the pointer to the newest is always valid.

    ROOT/step-00001000/          committed: it was written and synced under another name, then renamed
    ROOT/step-00001500.partial/  being written or removed; incomplete, deleted by `recover`
    ROOT/LATEST                  the name of a committed folder, replaced atomically; further pointers may stand beside

The caller decides the content of a checkpoint; this module handles files and the processes that write them together.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from xsheet.schemas.errors import ContractError, RunError, XsheetError
from xsheet.schemas.files import remove_temporary_files, write_text

LATEST = "LATEST"
_STEP = re.compile(r"step-(\d{8,})")
_POINTER = re.compile(r"[A-Z][A-Z_]*")
_PARTIAL = ".partial"


class CheckpointGroup(Protocol):
    """The processes of a run; the main one does the work that must be done once."""

    @property
    def is_main(self) -> bool:
        """Whether this is the first process."""
        ...

    def failures(self, mine: str | None) -> tuple[str, ...]:
        """Errors of all processes, the same answer in each; also a barrier."""
        ...


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, root: Path, *, keep: int, process_group: CheckpointGroup) -> None:
        """`keep`: so many of the newest stay, at least 2, besides those that a pointer names."""
        if keep < 2:
            raise ValueError(f"expected keep >= 2, got {keep}: with one, a broken disk block ends the run")
        self._root, self._keep, self._process_group = root, keep, process_group

    def recover(self) -> Path | None:
        """The newest committed checkpoint, after clearing what a killed run left behind; None if there is none.

        A kill between the rename and the update of LATEST leaves a complete folder; LATEST is then updated to it.

        Raises:
            RunError: the folder cannot be written, or LATEST names a missing folder.
        """
        self._on_main(self._clear, action="clear")
        committed = self.steps()
        named = self.pointer_target(LATEST)
        if named is not None and not named.is_dir():
            hint = "restore that folder, or remove LATEST to resume from the newest one"
            raise RunError(where=str(self._root), expected=f"the folder {named.name}", got="none", hint=hint)
        return self._root / _step_name(committed[-1]) if committed else None

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Let every process write into a new folder, then publish it; a published step is not written again.

        Raises:
            RunError: a process could not write; nothing was published, and all processes raise alike.
        """
        target, staging = self._root / _step_name(step), self._root / (_step_name(step) + _PARTIAL)
        if not target.is_dir():
            self._on_main(lambda: _make_empty(staging), action="begin a checkpoint")
            self._on_all(lambda: write(staging), action="write a checkpoint")
            self._on_main(lambda: _publish(staging, target), action="publish a checkpoint")
        self.set_pointer(LATEST, step)
        self._on_main(self._prune, action="remove old checkpoints")
        return target

    def set_pointer(self, pointer: str, step: int) -> None:
        """Set a pointer (capital letters) to a committed step; pruning keeps the steps of pointers."""
        if not _POINTER.fullmatch(pointer):
            raise ValueError(f"expected a pointer in capital letters, got {pointer!r}")
        self._on_main(lambda: write_text(self._root / pointer, _step_name(step) + "\n"), action="move a pointer")

    def pointer_target(self, pointer: str) -> Path | None:
        """The folder that a pointer names, even if it does not exist; None without the pointer.

        Raises:
            ContractError: it does not name a checkpoint.
        """
        file = self._root / pointer
        try:
            name = file.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None
        if not _STEP.fullmatch(name):
            got, hint = repr(name[:40]), f"remove {pointer} to resume from the newest checkpoint"
            raise ContractError(where=str(file), expected="the name of a checkpoint", got=got, hint=hint)
        return self._root / name

    def steps(self) -> list[int]:
        """All committed steps, ascending."""
        found = (_STEP.fullmatch(path.name) for path in self._root.iterdir()) if self._root.is_dir() else ()
        return sorted(int(match[1]) for match in found if match)

    def _clear(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        for partial in self._root.glob(f"*{_PARTIAL}"):
            shutil.rmtree(partial)
        remove_temporary_files(self._root)
        committed, named = self.steps(), self.pointer_target(LATEST)
        if committed and named is not None and named.is_dir() and named.name != _step_name(committed[-1]):
            write_text(self._root / LATEST, _step_name(committed[-1]) + "\n")

    def _prune(self) -> None:
        pointers = (path.name for path in self._root.iterdir() if _POINTER.fullmatch(path.name))
        spared = {folder.name for folder in map(self.pointer_target, pointers) if folder is not None}
        for step in self.steps()[: -self._keep]:
            if _step_name(step) not in spared:
                # Half of a removed folder must not pass for a checkpoint.
                doomed = self._root / (_step_name(step) + _PARTIAL)
                (self._root / _step_name(step)).rename(doomed)
                shutil.rmtree(doomed)

    def _on_main(self, function: Callable[[], None], *, action: str) -> None:
        self._on_all(function if self._process_group.is_main else lambda: None, action=action)

    def _on_all(self, function: Callable[[], None], *, action: str) -> None:
        """Run a function on all processes and share errors; otherwise one that raises leaves the others waiting."""
        failed: Exception | None = None
        try:
            function()
        except Exception as error:  # noqa: BLE001 - sent to all processes, which raise it together
            failed = error
        failures = self._process_group.failures(None if failed is None else f"{type(failed).__name__}: {failed}")
        if isinstance(failed, XsheetError):
            raise failed
        if failures:
            hint = "free space or choose another output, then run again; the run resumes from the last checkpoint"
            raise RunError(where=str(self._root), expected=f"to {action}", got=failures[0], hint=hint) from failed


def _step_name(step: int) -> str:
    return f"step-{step:08d}"


def _make_empty(staging: Path) -> None:
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)


def _publish(staging: Path, target: Path) -> None:
    """Rename after all bytes are flushed to the disk; otherwise a crash could publish an incomplete folder."""
    for path in (*staging.rglob("*"), staging):
        _fsync(path)
    staging.rename(target)
    _fsync(target.parent)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
