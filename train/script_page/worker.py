"""The sampling process of a script page: loads a model once, then samples a script per line of its input.

    python -m xsheet.train.script_page.worker '{"run": "my-run", ...}'

One JSON object a line: in {"script": PATH, "out": PATH}; out {"kind": "progress" | "note" | "done" | "failed", ...}.
It ends with its input, so also with the server.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from xsheet.schemas.errors import XsheetError
from xsheet.schemas.files import decode_json
from xsheet.schemas.settings import StrictModel
from xsheet.train.exported.load import load_run_or_export
from xsheet.train.sample.sample import SampleFiles, sample
from xsheet.train.sample.sampler import SampleSettings, TrainedModel
from xsheet.train.sample.script_sources import read_script

Respond = Callable[..., None]


class SamplingJob(StrictModel):
    """What the samples of a page share."""

    run: Path = Field(description="folder of a run or an export")
    stage: str | None = Field(description="stage whose weights to use; null = the last finished one")
    device: str = Field(description="torch device")
    portrait: Path = Field(description="picture or video")
    audio: Path = Field(description="WAV or video")
    settings: SampleSettings = Field(description="sampling settings")


class _Notes(logging.Handler):
    """Warnings of sampling, as notes on the sample."""

    def __init__(self, respond: Respond) -> None:
        super().__init__(logging.WARNING)
        self._respond = respond

    def emit(self, record: logging.LogRecord) -> None:
        self._respond("note", message=record.getMessage())


def main() -> None:
    """Serve requests from standard input until it ends."""
    job = SamplingJob.model_validate_json(sys.argv[1])
    responses = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print to standard output

    def respond(kind: str, **values: Any) -> None:
        responses.write(json.dumps({"kind": kind, **values}) + "\n")
        responses.flush()

    logging.getLogger("xsheet").addHandler(_Notes(respond))
    trained: TrainedModel | None = None
    for line in sys.stdin:
        request = decode_json(line)
        try:
            trained = trained or load_run_or_export(job.run, stage=job.stage, device=job.device)
            _sample(trained, job, Path(request["script"]), Path(request["out"]), respond)
        except (XsheetError, OSError) as error:
            respond("failed", message=str(error))


def _sample(trained: TrainedModel, job: SamplingJob, script: Path, out: Path, respond: Respond) -> None:
    files = SampleFiles(portrait=job.portrait, audio=job.audio, script=read_script(script), out=out)
    respond("progress", share=0.0)
    sample(trained, files, job.settings, on_progress=lambda share: respond("progress", share=share))
    respond("done")


if __name__ == "__main__":
    main()
