"""The review server: HTTP on 127.0.0.1 around a review session.

GET  /?token=...                       the page; sets the cookie that all other requests need
GET  /page/<name>                      its modules and style
GET  /api/about, /api/queue            what is reviewed; one page of the queue
GET  /api/clips/<key>                  one clip with its draft
POST /api/clips/<key>/operations       one operation: 200 applied, 409 made on another draft, 422 invalid
GET  /media/<clip_id>                  the media file of the clip; supports ranges
"""

import logging
import socket
from collections.abc import Callable
from importlib.resources import files
from secrets import token_urlsafe
from typing import Any

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from xsheet.audit.review.auth import RequestGuard
from xsheet.audit.review.edits import EditRequest
from xsheet.audit.review.queue import QueueFilter
from xsheet.audit.review.session import ReviewSession
from xsheet.schemas.errors import ConfigError, ContractError

HOST = "127.0.0.1"
PAGE_FOLDER = files("xsheet.audit.review") / "page"
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
QUEUE_PAGE_SIZE = 200
log = logging.getLogger(__name__)


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
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()  # from here on browsers wait until the server has started
    except OSError as error:
        listening.close()
        got, hint = error.strerror or str(error), "choose another port, or 0 for any free one"
        raise ConfigError(where=f"port {port}", expected="a free port", got=got, hint=hint) from error
    bound = listening.getsockname()[1]
    # No access log: its first line would contain the token.
    config = uvicorn.Config(
        create_app(session, port=bound, token=token), log_config=None, access_log=False, server_header=False, ws="none"
    )
    return uvicorn.Server(config), listening, f"http://{HOST}:{bound}/?token={token}"


def create_app(session: ReviewSession, *, port: int, token: str) -> ASGIApp:
    """The whole application as ASGI."""
    handlers = RequestHandlers(session)
    routes = [
        Route("/", handlers.index),
        Route("/page/{name}", handlers.page),
        Route("/api/about", handlers.session_info),
        Route("/api/queue", handlers.queue),
        Route("/api/clips/{key}", handlers.clip_payload),
        Route("/api/clips/{key}/operations", handlers.apply_operation, methods=["POST"]),
        Route("/media/{clip_id}", handlers.media),
    ]
    errors: Any = {ContractError: _contract_error_response}
    return RequestGuard(Starlette(routes=routes, exception_handlers=errors), port=port, token=token)


class RequestHandlers:
    """One method per route. Methods that are not async run in a thread, because they read files."""

    def __init__(self, session: ReviewSession) -> None:
        self._session = session
        self._pages = {entry.name: entry for entry in PAGE_FOLDER.iterdir()}

    def index(self, _: Request) -> Response:
        """The page."""
        return self._file("index.html")

    def page(self, request: Request) -> Response:
        """A file of the page."""
        return self._file(request.path_params["name"])

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

    async def apply_operation(self, request: Request) -> Response:
        """One operation."""
        if request.headers.get("content-type") != "application/json":
            raise HTTPException(415, "expected application/json")
        try:
            edit = EditRequest.model_validate_json(await request.body())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise HTTPException(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        try:
            is_applied, draft = _or_404(
                await run_in_threadpool(self._session.apply_operation, request.path_params["key"], edit)
            )
        except OSError as error:
            log.warning("an operation could not be stored: %s", error)
            raise HTTPException(507, f"the operation could not be stored: {error.strerror}") from error
        return JSONResponse(draft, status_code=200 if is_applied else 409)

    def media(self, request: Request) -> Response:
        """A clip's file."""
        path = self._session.media_path(request.path_params["clip_id"])
        return FileResponse(_or_404(path), media_type="video/mp4")

    def _file(self, name: str) -> Response:
        # Looks up a name in a fixed list; a request never becomes part of a path.
        file = _or_404(self._pages.get(name))
        kind = _or_404(MEDIA_TYPES.get(name.rpartition(".")[2]))
        return Response(file.read_bytes(), media_type=kind)


def _or_404(value: Any) -> Any:
    if value is None:
        raise HTTPException(404, "not found")
    return value


def _contract_error_response(_: Request, error: ContractError) -> Response:
    return PlainTextResponse(f"expected {error.expected}, got {error.got}; {error.hint}", status_code=422)
