"""The server of the script page: HTTP on 127.0.0.1.

GET  /?token=...              the page; sets the cookie that all other requests need
GET  /page/<name>             its modules and style
GET  /api/script              script, hash of its file, audio length, vocabulary
PUT  /api/script              the script as drawn: 200 saved, 409 the file was changed elsewhere, 422 invalid
GET  /api/samples             all samples with their state
POST /api/samples             sample the saved script: 202 started, 409 another one is in progress
POST /api/samples/stop        stop the sample in progress
GET  /media/audio, /media/portrait, /media/samples/<number>
"""

import logging
import socket
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import uvicorn
from PIL import Image
from pydantic import Field, ValidationError
from scipy.io import wavfile
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from xsheet.pages.loopback import PageFiles, prepare_loopback
from xsheet.schemas import vocab
from xsheet.schemas.errors import XsheetError
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import AUDIO_RATE, US_PER_S
from xsheet.train.sample.sample import read_audio, read_portrait
from xsheet.train.script_page.sampling import ScriptSampler
from xsheet.train.script_page.script_file import ChangedElsewhereError, DrawnScript, ScriptFile, suggested_texts
from xsheet.train.script_page.worker import SamplingJob

MAX_PORTRAIT_PX = 1024
log = logging.getLogger(__name__)


class ScriptUpdate(StrictModel):
    """Body of a save."""

    before_sha256: str | None = Field(max_length=64, description="hash of the file as the page last read or wrote it")
    script: DrawnScript = Field(description="the whole script")


class ScriptPage:
    """What is behind a page: script file, audio, portrait and samples. Its media are temporary copies."""

    def __init__(self, job: SamplingJob, *, script: Path, samples: Path, base: str | None = None) -> None:
        """`base` is the base text of a new script.

        Raises:
            ConfigError: a script, portrait or audio that cannot be used.
            MediaError: a video among them is broken.
        """
        waveform, portrait = read_audio(job.audio), Image.fromarray(read_portrait(job.portrait))
        self.script = ScriptFile(script, duration_us=len(waveform) * US_PER_S // AUDIO_RATE.num, base=base)
        self.job = job
        self.sampling = ScriptSampler(job, samples)
        self._folder = TemporaryDirectory(prefix="xsheet-script-")
        self.audio, self.portrait = Path(self._folder.name) / "audio.wav", Path(self._folder.name) / "portrait.jpg"
        wavfile.write(self.audio, AUDIO_RATE.num, (np.clip(waveform, -1, 1) * 32767).astype(np.int16))
        portrait.thumbnail((MAX_PORTRAIT_PX, MAX_PORTRAIT_PX))
        portrait.save(self.portrait, quality=90)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the sampling process and remove the media."""
        self.sampling.stop()
        self._folder.cleanup()


def serve(page: ScriptPage, *, on_ready: Callable[[str], None], port: int = 0) -> None:
    """Serve a page until interrupted; `on_ready` is called with the address to open, token included.

    Raises:
        ConfigError: the port is in use.
    """
    server, listening, address = prepare_server(page, port=port, token=token_urlsafe(32))
    with listening:
        on_ready(address)
        server.run(sockets=[listening])


def prepare_server(page: ScriptPage, *, port: int, token: str) -> tuple[uvicorn.Server, socket.socket, str]:
    """A server that is ready to run on a bound socket, and the address to open."""
    return prepare_loopback(create_app(page), port=port, token=token, command="xsheet train write-script")


def create_app(page: ScriptPage) -> Starlette:
    """The application without its guard."""
    handlers, page_files = ScriptHandlers(page), PageFiles(files("xsheet.train.script_page") / "page")
    routes = [
        Route("/", page_files.index),
        Route("/page/{name}", page_files.page),
        Route("/api/script", handlers.script),
        Route("/api/script", handlers.save, methods=["PUT"]),
        Route("/api/samples", handlers.samples),
        Route("/api/samples", handlers.start, methods=["POST"]),
        Route("/api/samples/stop", handlers.stop, methods=["POST"]),
        Route("/media/audio", handlers.audio),
        Route("/media/portrait", handlers.portrait),
        Route("/media/samples/{number:int}", handlers.video),
    ]
    errors: Any = {XsheetError: _error_response}
    return Starlette(routes=routes, exception_handlers=errors)


class ScriptHandlers:
    """One method per route. Methods that are not async run in a thread, because they read files."""

    def __init__(self, page: ScriptPage) -> None:
        self._page = page

    def script(self, _: Request) -> Response:
        """The script and everything that the page needs to edit it."""
        file, job = self._page.script, self._page.job
        script, sha256 = file.read()
        return JSONResponse(
            {
                "script": script.model_dump(mode="json"),
                "sha256": sha256,
                "file": file.path.name,
                "duration_us": file.duration_us,
                "source": f"{job.run.name} · {job.stage} · {job.portrait.name} · {job.audio.name}",
                "tracks": vocab.TRACKS,
                "actions": vocab.ACTIONS,
                "sided_tracks": vocab.SIDED_TRACK,
                "texts": suggested_texts(),
            }
        )

    async def save(self, request: Request) -> Response:
        """Save the script."""
        if request.headers.get("content-type") != "application/json":
            raise HTTPException(415, "expected application/json")
        try:
            update = ScriptUpdate.model_validate_json(await request.body())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise HTTPException(422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}") from error
        try:
            write = self._page.script.write
            sha256 = await run_in_threadpool(write, update.script, before_sha256=update.before_sha256)
        except ChangedElsewhereError as error:
            raise HTTPException(409, f"{self._page.script.path.name} was changed outside this page") from error
        except OSError as error:
            log.warning("the script could not be written: %s", error)
            raise HTTPException(507, f"the script could not be written: {error.strerror}") from error
        return JSONResponse({"sha256": sha256})

    def samples(self, _: Request) -> Response:
        """All samples."""
        return JSONResponse(self._page.sampling.states())

    def start(self, _: Request) -> Response:
        """Sample the saved script."""
        path = self._page.script.path
        if not path.exists():
            raise HTTPException(422, f"expected a saved script, {path.name} does not exist yet")
        number = self._page.sampling.start(path.read_bytes())
        if number is None:
            raise HTTPException(409, "another sample is in progress")
        return JSONResponse({"number": number}, status_code=202)

    def stop(self, _: Request) -> Response:
        """Stop the sample in progress."""
        self._page.sampling.stop()
        return JSONResponse({})

    def audio(self, _: Request) -> Response:
        """The audio as the model receives it."""
        return FileResponse(self._page.audio, media_type="audio/wav")

    def portrait(self, _: Request) -> Response:
        """The portrait, encoded again."""
        return FileResponse(self._page.portrait, media_type="image/jpeg")

    def video(self, request: Request) -> Response:
        """The video of a sample."""
        path = self._page.sampling.video(request.path_params["number"])
        if path is None or not path.is_file():
            raise HTTPException(404, "not found")
        return FileResponse(path, media_type="video/mp4")


def _error_response(_: Request, error: XsheetError) -> Response:
    return PlainTextResponse(f"expected {error.expected}, got {error.got}; {error.hint}", status_code=422)
