"""Authenticate requests, check the Host header, and add a request id to every response.

A server without an API key is intended for programs on the same machine. However, a web page in the
user's browser could reach it under a different host name (DNS rebinding). The host name is
therefore checked.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from archon.serve.asgi_io import ResponseWriter
from archon.serve.errors import Failure, log_error

OPEN_PATHS = frozenset({"/health", "/"})
"""Paths that clients can request without an API key. The chat page contains no data."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach the host, as with ``localhost`` or ``::1``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_names(host: str, api_key: str | None) -> frozenset[str] | None:
    """Return the names that the Host header may have; None for any, if there is an API key."""
    return None if api_key is not None else LOCAL_NAMES | {host.lower()}


class Authentication:
    """ASGI middleware that forwards only authenticated requests to the application.

    Parameters
    ----------
    api_key
        API key that the ``Authorization: Bearer …`` header must contain. None if no key is
        required.
    host_names
        Host names that are allowed in the Host header. None allows all.
    """

    def __init__(
        self, app: ASGIApp, api_key: str | None, host_names: Collection[str] | None
    ) -> None:
        self._app = app
        self._key = None if api_key is None else api_key.encode()
        self._host_names = host_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{secrets.token_hex(12)}".encode()
        is_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        rejection = self._rejection(scope)
        if rejection is None:
            try:
                await self._app(scope, receive, send_with_id)
                return
            except Exception as error:  # uvicorn would log the traceback and its message
                log_error("a request failed", error)
                rejection = Failure(500, "internal error")
        if not is_started:
            await ResponseWriter(send_with_id).send_json(
                rejection.body(), rejection.status, rejection.headers
            )

    def _rejection(self, scope: Scope) -> Failure | None:
        fields = dict(scope["headers"])
        if self._host_names is not None:
            host = fields.get(b"host", b"").decode("latin-1")
            if _host_name(host) not in self._host_names:
                return Failure(
                    421,
                    "the host name in the Host header is not allowed; use the server's own address",
                )
        if self._key is None or scope["path"] in OPEN_PATHS:
            return None
        scheme, _, key = fields.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key):
            return None
        headers = {"WWW-Authenticate": "Bearer"}
        message = "the API key is missing or wrong"
        return Failure(401, message, code="invalid_api_key", headers=headers)


def _host_name(host: str) -> str | None:
    """Return the host name in a ``Host`` header without the port, or None if it is invalid."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
