"""Run the server until a signal arrives.

After the first SIGINT or SIGTERM, the server accepts no new connections, and waits for running
requests until a deadline. A second signal ends them immediately. An error response is sent to each
unfinished request.
"""

from __future__ import annotations

import asyncio
import math
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType

import uvicorn

from archon.errors import UsageError
from archon.serve.app import Application
from archon.serve.asgi_io import STALL_SECONDS
from archon.serve.header_timeout import TimedConnection

DRAIN_SECONDS = 30.0
_ERROR_RESPONSE_SECONDS = 5
"""Time to send error responses before connections are closed."""
_KEEP_ALIVE_SECONDS = 75
"""Time after which idle connections are closed. Clients close idle connections earlier; otherwise a
client could send a request on a connection that is being closed.
"""


def run(
    app: Application,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[str], None] | None = None,
    *,
    drain_seconds: float = DRAIN_SECONDS,
    on_end: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    port
        Port to listen on; 0 selects a free port.
    on_ready
        Function to call with the address, such as ``http://127.0.0.1:8000``, when the server is
        ready. By default, the address is printed on standard error.
    drain_seconds
        Time in seconds for running requests to finish after the first signal.
    on_end
        Function to await in the server's event loop after the last request.

    Raises
    ------
    UsageError
        The address is invalid or in use.
    KeyboardInterrupt
        SIGINT stopped the server.
    """
    listener = _listen(host, port)
    report_ready = partial(on_ready or _print_address, _address(host, listener))
    server = _Server(_config(app, drain_seconds), app.cut_off, drain_seconds, report_ready, on_end)
    with listener:
        server.run(sockets=[listener])
    if signal.SIGINT in server.signals:
        raise KeyboardInterrupt


class Server:
    """A server in a background thread; as a context manager, it is closed at the end of the block.

    It serves when the constructor returns.

    Parameters
    ----------
    app
        The application.
    host, port, drain_seconds
        See ``run``.

    Raises
    ------
    UsageError
        The address is invalid or in use.
    """

    def __init__(
        self,
        app: Application,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        listener = _listen(host, port)
        self.address = _address(host, listener)
        """The address, such as ``http://127.0.0.1:8000``."""
        ready = threading.Event()
        config = _config(app, drain_seconds)
        self._server = _Server(config, app.cut_off, drain_seconds, ready.set, None)

        def work() -> None:
            try:
                with listener:
                    self._server.run(sockets=[listener])
            finally:
                ready.set()  # after a failure too

        self._thread = threading.Thread(target=work, name="archon-serve", daemon=True)
        self._thread.start()
        ready.wait()

    @property
    def base_url(self) -> str:
        """The base URL for clients of the OpenAI protocol: the address with ``/v1``."""
        return f"{self.address}/v1"

    @property
    def is_running(self) -> bool:
        """False after ``close``."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop the server: wait for running requests, at most ``drain_seconds``.

        The served models stay open, because the program may use them further.
        """
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server at {self.base_url}{'' if self.is_running else ', closed'}>"


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        cut_off: Callable[[], None],
        drain_seconds: float,
        on_ready: Callable[[], None],
        on_end: Callable[[], Awaitable[None]] | None,
    ) -> None:
        super().__init__(config)
        self._cut_off, self._drain_seconds = cut_off, drain_seconds
        self._on_ready, self._on_end = on_ready, on_end
        self._loop: asyncio.AbstractEventLoop | None = None
        self.signals: list[int] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        deadline = asyncio.get_running_loop().call_later(self._drain_seconds, self._cut_off)
        try:
            await super().shutdown(sockets)
        finally:
            deadline.cancel()
            if self._on_end is not None:
                await self._on_end()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop the server after the first signal; end running requests after any later signal."""
        self.signals.append(sig)
        if self.should_exit and self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut_off)
        self.should_exit = True


def _address(host: str, listener: socket.socket) -> str:
    shown_host = f"[{host}]" if ":" in host else host
    return f"http://{shown_host}:{listener.getsockname()[1]}"


def _config(app: Application, drain_seconds: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=TimedConnection,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(drain_seconds) + _ERROR_RESPONSE_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:  # getaddrinfo would use it modulo 65,536
        raise UsageError(f"the port must be a number from 0 to 65535, not {port}")
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = addresses[0]
        # asyncio turns off Nagle's algorithm, which costs 40 ms, only if the protocol is given.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # Data that a client does not read stays in memory until this timeout.
                listener.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * STALL_SECONDS
                )
            listener.bind(address)
            listener.listen()  # until then another socket with SO_REUSEADDR could bind it too
        except BaseException:
            listener.close()
            raise
        return listener
    except (OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
        raise UsageError(f"cannot listen on {host}, port {port}: {error}") from None


def _print_address(address: str) -> None:
    print(f"Serving at {address}/v1", file=sys.stderr, flush=True)
