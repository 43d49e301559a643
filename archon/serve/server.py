"""Running the application in a process of its own."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from archon.errors import UsageError

_GRACE_SECONDS = 5


def run(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    port : 0 takes a free one.
    on_ready : called with the address, such as ``http://127.0.0.1:8000``, once it can be reached;
        by default it is printed on standard error.

    Raises
    ------
    UsageError : nobody can listen at the address, or somebody does already.
    """
    listener = _listen(host, port)
    address = _address(host, listener)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    with listener:
        _Server(config, lambda: (on_ready or _print_address)(address)).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:  # getaddrinfo would take it modulo 65,536
        raise UsageError(f"a port is a number from 0 to 65535, not {port}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, where = found[0]
        # asyncio turns Nagle's algorithm off only where the protocol is given; it costs 40 ms.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
        except BaseException:
            listener.close()
            raise
        return listener
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port}: {error}") from None


def _address(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def _print_address(address: str) -> None:
    print(f"Serving at {address}/v1", file=sys.stderr, flush=True)
