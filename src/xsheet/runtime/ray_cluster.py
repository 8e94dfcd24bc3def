"""Join a Ray cluster, or start one that only this machine can reach; check whether the head of a cluster answers."""

import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from xsheet.schemas.errors import ConfigError, RunError

ANSWER_TIMEOUT_S = 4.0
OBJECT_STORE_BYTES = 256 << 20  # rows are small; Ray's default is a third of the memory

# gRPC is HTTP/2 (RFC 9113): the client begins with a fixed preface, both sides with a SETTINGS frame (type 4).
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
_FRAME_HEADER_BYTES = 9
_SETTINGS_FRAME = 4


def start_or_join(ray: Any, address: str, *, on_answer: Callable[[str], None], **arguments: Any) -> None:
    """`ray.init` for an address: 'auto', 'local', or HOST:PORT.

    'auto' joins the cluster of this machine, if there is one. A cluster that is started here listens on loopback only.
    `on_answer` is called with the host:port of a head that answered, before it is joined.

    Raises:
        ConfigError: nothing that speaks Ray's protocol answers at the address, within 10 s.
        RunError: Ray does not start on this machine, or the cluster does not let this machine join.
    """
    arguments = {"logging_level": logging.ERROR} | arguments
    if address not in ("auto", "local"):
        on_answer(_reachable_head(ray, address))
        _join(ray, address, arguments)
        return
    if address == "auto":
        with suppress(ConnectionError):
            ray.init(address="auto", **arguments)
            return
    _bind_to_loopback(ray)
    for last in (False, True):  # try twice: Ray waits only 30 s for its processes, too short on a busy machine
        try:
            ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **arguments)
        except Exception as error:  # Ray raises a bare Exception
            ray.shutdown()
            if last:
                raise RunError(
                    where="--ray", expected="Ray to start on this machine", got=" ".join(str(error).split())[:200],
                    hint="wait until the machine is less busy, or run without --ray",
                ) from error  # fmt: skip
        else:
            return


def _join(ray: Any, address: str, arguments: dict[str, Any]) -> None:
    try:
        ray.init(address=address, **arguments)
    except ConnectionError as error:
        # If the token is missing, Ray waits a minute and then reports a timeout.
        hint = "check that the cluster runs"
        if os.environ.get("RAY_AUTH_MODE") != "token":
            hint += "; if it asks for a token, set RAY_AUTH_MODE=token (the token is in ~/.ray/auth_token)"
        raise RunError(where=f"--ray {address}", expected="a cluster to join", got=str(error), hint=hint) from error


def quiet_environment() -> None:
    """Disable usage reports and log fatal errors only. Call it before importing Ray, which then reads them."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")


def answers_as_grpc(host: str, port: int, *, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
    """Whether a gRPC server answers at the address, as the head of a Ray cluster does.

    Raises:
        OSError: the connection is refused, or no answer arrives within the time limit.
    """
    with socket.create_connection((host, port), timeout=timeout_s) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(_HTTP2_HELLO)
        header = connection.recv(_FRAME_HEADER_BYTES)
    return len(header) == _FRAME_HEADER_BYTES and header[3] == _SETTINGS_FRAME


def split_address(address: str) -> tuple[str, int]:
    """Split HOST:PORT; ValueError for any other text."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _bind_to_loopback(ray: Any) -> None:
    # Without this switch Ray replaces 127.0.0.1, even if it is requested, by the address of a network interface, and
    # all its processes listen on every interface. Ray reads the variable once, so the constant is set, too.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False


def _reachable_head(ray: Any, address: str) -> str:
    # Ray retries a wrong address for more than five minutes.
    try:
        host, port = split_address(address)
        if ipaddress.ip_address(socket.gethostbyname(host)).is_loopback:
            # Ray replaces a loopback address by the machine's external address, on which the cluster may not listen.
            host = ray.util.get_node_ip_address()
        if answers_as_grpc(host, port):
            return f"{host}:{port}"
        got = f"{address} (something other than Ray answers there)"
    except (OSError, ValueError) as error:
        got = f"{address} ({error})"
    expected, hint = "'auto', 'local' or the host:port of a cluster", "start the cluster, or use --ray local"
    raise ConfigError(where="--ray", expected=expected, got=got, hint=hint)
