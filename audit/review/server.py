"""The review server: HTTP on 127.0.0.1 around a review session.

GET  /?token=...                       the page; sets the cookie that all other requests need
GET  /page/<name>                      its modules and style
GET  /api/about, /api/queue            what is reviewed; one page of the queue
GET  /api/clips/<key>                  one clip with its draft
POST /api/clips/<key>/operations       one operation: 200 applied, 409 made on another draft, 422 invalid, 423 locked
POST /api/clips/<key>/claim            lock a clip or renew the lock; {"leave": key} ends that of the clip before
GET  /api/agreement                    agreement with the other reviewers
GET  /media/<clip_id>                  the media file of the clip; supports ranges
"""

import logging
import socket
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from secrets import token_urlsafe
from typing import Any, TypeVar

import uvicorn
from pydantic import Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from xsheet.audit.review.edits import EditRequest
from xsheet.audit.review.queue import QueueFilter
from xsheet.audit.review.session import LockedError, ReviewSession
from xsheet.pages.loopback import PageFiles, prepare_loopback
from xsheet.schemas.errors import ContractError
from xsheet.schemas.settings import StrictModel

PAGE_FOLDER = files("xsheet.audit.review") / "page"
QUEUE_PAGE_SIZE = 200
log = logging.getLogger(__name__)
B = TypeVar("B", bound=StrictModel)


def serve(session: ReviewSession, *, on_ready: Callable[[str], None], port: int = 0, token: str | None = None) -> None:
    """Serve the review page until interrupted.

    Args:
        session: reviewer and layer.
        on_ready: called with the address to open, token included.
        port: 0 chooses a free one.
        token: access token; random if None.

    Raises:
        ConfigError: the port is in use.
    """
    server, listening, address = prepare_server(session, port=port, token=token or token_urlsafe(32))
    with listening:
        on_ready(address)
        server.run(sockets=[listening])


def prepare_server(session: ReviewSession, *, port: int, token: str) -> tuple[uvicorn.Server, socket.socket, str]:
    """A server that is ready to run on a bound socket, and the address to open."""
    return prepare_loopback(create_app(session), port=port, token=token, command="xsheet audit review")


def create_app(session: ReviewSession) -> Starlette:
    """The application without its guard."""
    handlers, page = RequestHandlers(session), PageFiles(PAGE_FOLDER)
    routes = [
        Route("/", page.index),
        Route("/page/{name}", page.page),
        Route("/api/about", handlers.session_info),
        Route("/api/queue", handlers.queue),
        Route("/api/clips/{key}", handlers.clip_payload),
        Route("/api/clips/{key}/operations", handlers.apply_operation, methods=["POST"]),
        Route("/api/clips/{key}/claim", handlers.claim, methods=["POST"]),
        Route("/api/agreement", handlers.agreement),
        Route("/media/{clip_id}", handlers.media),
    ]
    errors: Any = {ContractError: _contract_error_response}
    return Starlette(routes=routes, exception_handlers=errors)


class ClaimRequest(StrictModel):
    """Body of a claim."""

    leave: str | None = Field(default=None, max_length=100, description="key of the clip left")


class RequestHandlers:
    """One method per route. Methods that are not async run in a thread, because they read files."""

    def __init__(self, session: ReviewSession) -> None:
        self._session = session

    def session_info(self, _: Request) -> Response:
        """Set, layer, reviewer and vocabulary."""
        return JSONResponse(self._session.session_info())

    def queue(self, request: Request) -> Response:
        """One page of the queue."""
        query = request.query_params
        start = query.get("start", "0")
        if not (start.isascii() and start.isdigit()):
            raise HTTPException(422, "expected start to be a number")
        filters = QueueFilter(**{name: query.get(name, "")[:200] for name in QueueFilter.__slots__})
        return JSONResponse(self._session.queue(filters, start=int(start[:9]), count=QUEUE_PAGE_SIZE))

    def clip_payload(self, request: Request) -> Response:
        """One clip."""
        payload = self._session.clip_payload(request.path_params["key"])
        return JSONResponse(_or_404(payload))

    async def claim(self, request: Request) -> Response:
        """The lock of a clip."""
        claim = await _read_json(request, ClaimRequest)
        try:
            answer = await run_in_threadpool(self._session.claim, request.path_params["key"], leave=claim.leave)
        except OSError as error:
            raise HTTPException(507, f"the lock could not be stored: {error.strerror}") from error
        return JSONResponse(_or_404(answer))

    def agreement(self, _: Request) -> Response:
        """Agreement with the other reviewers."""
        return JSONResponse([asdict(one) for one in self._session.agreement()])

    async def apply_operation(self, request: Request) -> Response:
        """One operation."""
        edit = await _read_json(request, EditRequest)
        try:
            is_applied, draft = _or_404(
                await run_in_threadpool(self._session.apply_operation, request.path_params["key"], edit)
            )
        except LockedError as error:
            raise HTTPException(423, f"expected a clip that no other reviewer has open, {error} has it open") from error
        except OSError as error:
            log.warning("an operation could not be stored: %s", error)
            raise HTTPException(507, f"the operation could not be stored: {error.strerror}") from error
        return JSONResponse(draft, status_code=200 if is_applied else 409)

    def media(self, request: Request) -> Response:
        """A clip's file."""
        path = self._session.media_path(request.path_params["clip_id"])
        return FileResponse(_or_404(path), media_type="video/mp4")


async def _read_json(request: Request, model: type[B]) -> B:
    """The body of a request as a record."""
    if request.headers.get("content-type") != "application/json":
        raise HTTPException(415, "expected application/json")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise HTTPException(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _or_404(value: Any) -> Any:
    if value is None:
        raise HTTPException(404, "not found")
    return value


def _contract_error_response(_: Request, error: ContractError) -> Response:
    return PlainTextResponse(f"expected {error.expected}, got {error.got}; {error.hint}", status_code=422)
