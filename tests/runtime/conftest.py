"""Runs of the planted task, which does to each item what the item names."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted_runs import TASKS

from xsheet.runtime.executor import Execution, run_task
from xsheet.runtime.result_store import RunResults


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TASKS))
    return importlib.import_module("planted").Planted


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.fixture
def go(planted: Any, notes: Path, tmp_path: Path) -> Callable[..., RunResults]:
    def go(
        items: Any, *, out: str = "out", opening: str = "fine", retry_failed: bool = False, **how: Any
    ) -> RunResults:
        execution = Execution(**{"stall_timeout_s": 60.0, "memory_mb": 512, **how})
        task = planted(notes, opening=opening)
        return run_task(task, items, out=tmp_path / out, execution=execution, retry_failed=retry_failed)

    return go
