"""Scores of the batches of an evaluation, kept as they come, so that a stopped one continues.

    RUN/STAGE/evaluation-parts.jsonl    a line per batch: key of the evaluation, key of the batch, scores of its clips

Lines of another key (other weights, settings, clips or version) are not read, and are removed by the first write.
"""

import json
import logging
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from xsheet.schemas.files import decode_json, write_text

log = logging.getLogger(__name__)

R = TypeVar("R")


class Passes:
    """Counts sampled videos and logs the time left; batches of an earlier run cost no time."""

    def __init__(self, videos: int) -> None:
        self._total, self._done, self._new = videos, 0, 0
        self._started_s = time.monotonic()

    def skip(self, videos: int) -> None:
        """Videos that an earlier run scored."""
        self._done += videos
        log.info("%d of %d videos, from an earlier run", self._done, self._total)

    def add(self, videos: int) -> None:
        """Videos that were sampled and read now."""
        self._done, self._new = self._done + videos, self._new + videos
        left_s = (time.monotonic() - self._started_s) / self._new * (self._total - self._done)
        left = timedelta(seconds=round(max(left_s, 0)))
        log.info("%d of %d videos sampled and read, %s left", self._done, self._total, left)


class ScoreStore(Generic[R]):
    """Scores by batch; without a file nothing is kept."""

    def __init__(self, file: Path | None, *, key: str, adapter: TypeAdapter[tuple[R, ...]]) -> None:
        self._file, self._key, self._adapter = file, key, adapter
        self._batches: dict[str, tuple[R, ...]] = {}
        lines = _lines(file) if file is not None and file.is_file() else []
        kept = [line for line in lines if line.get("key") == key]
        for line in kept:
            self._batches[str(line["batch"])] = adapter.validate_python(line["scores"], strict=False)
        self._is_clean = len(kept) == len(lines)

    def find(self, batch: str) -> tuple[R, ...] | None:
        """Scores of a batch that was finished."""
        return self._batches.get(batch)

    def add(self, batch: str, scores: Sequence[R]) -> None:
        """Keep the scores of a batch; they are on the disk when this returns."""
        self._batches[batch] = tuple(scores)
        if self._file is None:
            return
        if not self._is_clean:
            write_text(self._file, "".join(self._line(name) for name in self._batches))
            self._is_clean = True
            return
        with self._file.open("a", encoding="utf-8") as file:
            file.write(self._line(batch))
            file.flush()
            os.fsync(file.fileno())

    def _line(self, batch: str) -> str:
        scores = self._adapter.dump_python(self._batches[batch], mode="json")
        return json.dumps({"key": self._key, "batch": batch, "scores": scores}) + "\n"


def _lines(file: Path) -> list[dict[str, object]]:
    """Lines of the file; what is no object, such as half a line of a killed run, is an empty one."""
    lines: list[dict[str, object]] = []
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = decode_json(text)
        except (ValueError, RecursionError):
            line = {}
        lines.append(line if isinstance(line, dict) else {})
    return lines
