"""Authentication, the check of the Host header, and a request id for every response.

A server without a key is for programs on its own machine. A web page could reach it through its
user's browser under another host name (DNS rebinding), so the host name is checked.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from archon.serve.asgi_io import ResponseWriter
from archon.serve.errors import Failure, log_error

OPEN_PATHS = frozenset({"/health"})
"""Paths that need no key."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Authentication:
    """ASGI middleware that passes authenticated requests on to an application.

    Parameters
    ----------
    api_key
        The key that ``Authorization: Bearer …`` must have; None for no key.
    host_names
        The host names that requests may use; None for any.
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
        is_begun = False

        async def send_with_id(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        rejection = self._rejection(scope)
        if rejection is None:
            try:
                await self._app(scope, receive, send_with_id)
                return
            except Exception as error:  # uvicorn would log all of it
                log_error("a request failed", error)
                rejection = Failure(500, "internal error")
        if not is_begun:
            await ResponseWriter(send_with_id).whole(
                rejection.body(), rejection.status, rejection.headers
            )

    def _rejection(self, scope: Scope) -> Failure | None:
        headers = dict(scope["headers"])
        if self._host_names is not None:
            host = headers.get(b"host", b"").decode("latin-1")
            if _host_name(host) not in self._host_names:
                return Failure(421, "the server is not known by the host name of this request")
        if self._key is None or scope["path"] in OPEN_PATHS:
            return None
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key):
            return None
        ask = {"WWW-Authenticate": "Bearer"}
        return Failure(401, "the API key is missing or wrong", code="invalid_api_key", headers=ask)


def _host_name(host: str) -> str | None:
    """The name in a ``Host`` header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
