"""Samples of a script page, one at a time, in a process of their own that keeps the model loaded.

    SAMPLES/sample-001.mp4     the video
    SAMPLES/sample-001.yaml    the script it shows

The process responds with JSON, never with a pickle, because it reads portraits and audio of any source. Stopping kills
it; the next sample starts another.
"""

import json
import logging
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Literal

from xsheet.schemas.errors import RunError
from xsheet.schemas.files import decode_json, write_bytes
from xsheet.train.script_page.worker import SamplingJob

log = logging.getLogger(__name__)

MAX_NOTES = 20
MAX_MESSAGE = 500
MAX_LINE_BYTES = 64 << 10
TAIL_BYTES = 4096
_NAME = re.compile(r"sample-(\d{3,6})\.mp4")


@dataclass(slots=True, kw_only=True)
class SampleState:
    """One sample as the page shows it."""

    number: int
    state: Literal["loading", "sampling", "done", "failed", "stopped"]
    share: float = 0.0  # of the steps
    left_s: float | None = None
    message: str = ""
    notes: list[str] = field(default_factory=list)


class ScriptSampler:
    """The samples in a folder, and the process that adds to them. Any thread may call any method."""

    def __init__(self, job: SamplingJob, folder: Path) -> None:
        self._job = job
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._lock = threading.Lock()
        names = [_NAME.fullmatch(file.name) for file in folder.glob("sample-*.mp4")] if folder.is_dir() else []
        numbers = sorted(int(name.group(1)) for name in names if name)
        self._samples = {number: SampleState(number=number, state="done", share=1) for number in numbers}

    def states(self) -> list[dict[str, object]]:
        """All samples, oldest first."""
        with self._lock:
            return [asdict(one) for one in self._samples.values()]

    def video(self, number: int) -> Path | None:
        """The file of a finished sample."""
        with self._lock:
            found = self._samples.get(number)
        return self._file(number, "mp4") if found is not None and found.state == "done" else None

    def start(self, script: bytes) -> int | None:
        """Start sampling a script; its number, or None while another sample is in progress.

        Raises:
            RunError: the folder cannot be written.
        """
        with self._lock:
            if self._current() is not None:
                return None
            number = max(self._samples, default=0) + 1
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                write_bytes(self._file(number, "yaml"), script)
            except OSError as error:
                raise RunError(
                    where=str(self._folder), expected="a folder to write samples to", got=str(error.strerror or error),
                    hint="choose another with --out",
                ) from error  # fmt: skip
            process = self._running_process()
            self._samples[number] = state = SampleState(number=number, state="loading")
        threading.Thread(target=self._follow, args=(process, state), daemon=True).start()
        return number

    def stop(self) -> None:
        """Stop the sample in progress."""
        with self._lock:
            current = self._current()
            if current is not None:
                current.state = "stopped"
            self._end_process()

    def _current(self) -> SampleState | None:
        return next((one for one in self._samples.values() if one.state in ("loading", "sampling")), None)

    def _running_process(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self._end_process()
            self._errors = TemporaryFile()  # noqa: SIM115 - lives as long as the process
            self._process = subprocess.Popen(
                [sys.executable, "-m", "xsheet.train.script_page.worker", self._job.model_dump_json()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, encoding="utf-8",
            )  # fmt: skip
        return self._process

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        if self._errors is not None:
            self._errors.close()
        self._process = self._errors = None

    def _follow(self, process: "subprocess.Popen[str]", state: SampleState) -> None:
        """Send a request and read responses until it ends."""
        request = {name: str(self._file(state.number, end).absolute()) for name, end in _REQUEST.items()}
        began_s = None
        try:
            if process.stdin is None or process.stdout is None:
                raise ValueError("no pipes")
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            while state.state in ("loading", "sampling"):
                line = process.stdout.readline(MAX_LINE_BYTES)
                if not line:
                    break
                response = decode_json(line)
                if response["kind"] == "progress" and began_s is None:
                    began_s = time.monotonic()
                self._apply(state, response, began_s=began_s)
        except (OSError, ValueError, KeyError, TypeError) as error:  # a process that was killed, or no JSON
            log.info("the sampling process stopped responding: %s", error)
        with self._lock:
            if state.state in ("loading", "sampling"):
                state.state, state.message = "failed", self._last_words(process)

    def _apply(self, state: SampleState, response: dict[str, object], *, began_s: float | None) -> None:
        message = str(response.get("message", ""))[:MAX_MESSAGE]
        with self._lock:
            if state.state == "stopped":
                return
            match response["kind"]:
                case "progress":
                    state.state, state.share = "sampling", min(1.0, max(0.0, float(str(response["share"]))))
                    if began_s is not None and state.share > 0:
                        state.left_s = (time.monotonic() - began_s) * (1 - state.share) / state.share
                case "note" if len(state.notes) < MAX_NOTES and message not in state.notes:
                    state.notes.append(message)
                case "done":
                    state.state, state.share, state.left_s = "done", 1.0, 0.0
                case "failed":
                    state.state, state.message = "failed", message

    def _last_words(self, process: "subprocess.Popen[str]") -> str:
        """The last line that a process wrote to stderr."""
        try:
            code = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        tail = ""
        if self._errors is not None:
            self._errors.seek(max(0, self._errors.seek(0, 2) - TAIL_BYTES))
            lines = self._errors.read().decode("utf-8", "replace").split("\n")
            tail = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"the sampling process ended with code {code}{': ' if tail else ''}{tail[:MAX_MESSAGE]}"

    def _file(self, number: int, ending: str) -> Path:
        return self._folder / f"sample-{number:03d}.{ending}"


_REQUEST = {"script": "yaml", "out": "mp4"}
