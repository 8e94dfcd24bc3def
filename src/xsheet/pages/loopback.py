"""Servers of local pages on 127.0.0.1: the socket, request authentication, security headers, the files of the page.

Every other page in the user's browser can reach 127.0.0.1 as well. Therefore a request needs a token that is random per
start (in the address once, then in a cookie that no script can read), the Host header 127.0.0.1 (against DNS
rebinding), an origin that is this page (not another site or port), and a body of bounded size. The page itself may load
only its own files, and may not turn text into elements.
"""

import socket
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from importlib.resources.abc import Traversable
from secrets import compare_digest
from urllib.parse import parse_qs

import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xsheet.schemas.errors import ConfigError

HOST = "127.0.0.1"
MAX_BODY_BYTES = 256 * 1024  # an operation of a reviewer has some 2 kB, a script of 1000 phases 150
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def prepare_loopback(app: ASGIApp, *, port: int, token: str, command: str) -> tuple[uvicorn.Server, socket.socket, str]:
    """A server that is ready to run on a bound socket, and the address to open.

    Args:
        app: application of the page, without its guard.
        port: port to bind; 0 chooses a free one.
        token: access token.
        command: prints the address, e.g. "xsheet audit review"; part of the message to a request without token.

    Raises:
        ConfigError: the port is in use.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. asyncio sets it only where a socket names its protocol; without it the body of a response
    # waits for the browser's delayed acknowledgement of the header, 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()  # from here on browsers wait until the server has started
    except OSError as error:
        listening.close()
        got, hint = error.strerror or str(error), "choose another port, or 0 for any free one"
        raise ConfigError(where=f"port {port}", expected="a free port", got=got, hint=hint) from error
    bound = listening.getsockname()[1]
    guarded = RequestGuard(app, port=bound, token=token, command=command)
    # No access log: its first line would contain the token.
    config = uvicorn.Config(guarded, log_config=None, access_log=False, server_header=False, ws="none")
    return uvicorn.Server(config), listening, f"http://{HOST}:{bound}/?token={token}"


class PageFiles:
    """The files of a page and those that pages share (`browser/`), by name; a request never becomes part of a path."""

    def __init__(self, folder: Traversable) -> None:
        entries = (*(files("xsheet.pages") / "browser").iterdir(), *folder.iterdir())
        self._files: Mapping[str, Traversable] = {entry.name: entry for entry in entries}

    def index(self, _: Request) -> Response:
        """The page."""
        return self._respond("index.html")

    def page(self, request: Request) -> Response:
        """A file of the page, named by the path parameter `name`."""
        return self._respond(request.path_params["name"])

    def _respond(self, name: str) -> Response:
        file, kind = self._files.get(name), MEDIA_TYPES.get(name.rpartition(".")[2])
        if file is None or kind is None:
            raise HTTPException(404, "not found")
        return Response(file.read_bytes(), media_type=kind)


class RequestGuard:
    """ASGI middleware around the application of a page."""

    def __init__(self, app: ASGIApp, *, port: int, token: str, command: str) -> None:
        self._app = app
        self._command = command
        self._token = token
        self._cookie = f"xsheet-{port}"  # cookies do not know ports, and two pages may be served side by side
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an authorised request to the application, or respond with the error."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"expected HTTP, got {scope['type']}")
        headers = Headers(scope=scope)
        # The address may be opened from any page, e.g. a browser terminal; the token authorises it.
        has_url_token = scope["path"] == "/" and self._is_token(_token_of_query(scope))
        refusal = self._refusal(headers, has_url_token=has_url_token)
        respond: ASGIApp = self._app if refusal is None else PlainTextResponse(refusal[1], status_code=refusal[0])
        await respond(
            scope,
            _limit_body(receive),
            self._with_security_headers(send, sets_cookie=has_url_token and refusal is None),
        )

    def _refusal(self, headers: Headers, *, has_url_token: bool) -> tuple[int, str] | None:
        """Status and reason, or None for an authorised request."""
        host, origin = headers.get("host", ""), headers.get("origin")
        is_own = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        length = headers.get("content-length", "0")
        if host not in self._hosts:
            return 403, "expected a request to 127.0.0.1"
        if (origin is not None and origin != f"http://{host}") or not (is_own or has_url_token):
            return 403, "expected a request of the page itself"
        if not has_url_token and not self._is_token(self._token_of_cookie(headers)):
            return 401, f"expected the address that `{self._command}` printed, with its token"
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY_BYTES:
            return 413, f"expected at most {MAX_BODY_BYTES} bytes"
        return None

    def _is_token(self, candidate: str) -> bool:
        return compare_digest(candidate.encode(), self._token.encode())

    def _token_of_cookie(self, headers: Headers) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return "" if morsel is None else morsel.value

    def _with_security_headers(self, send: Send, *, sets_cookie: bool) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                if sets_cookie:
                    headers.append("Set-Cookie", f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        return with_headers


def _token_of_query(scope: Scope) -> str:
    values: Iterable[str] = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
    return next(iter(values))


def _limit_body(receive: Receive) -> Receive:
    """Limit the body size; a chunked body has no declared length."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise HTTPException(413, f"expected at most {MAX_BODY_BYTES} bytes")
        return message

    return bounded
