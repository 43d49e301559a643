"""Read the body of a request; write a response of one JSON object or of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from archon.lm.openai.sse import DONE, encode_event
from archon.serve.cancellation import DisconnectedError
from archon.serve.fields import BadRequestError
from archon.serve.responses import ResponseObject

_BODY_SECONDS = 30
"""Timeout for the complete body."""
STALL_SECONDS = 60
"""A client that reads no data of a stream for this time counts as disconnected."""
KEEP_ALIVE_SECONDS = 15
"""A stream sends a comment after this time without an event, because proxies drop idle
connections."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Read the complete body of a request.

    Raises
    ------
    BadRequestError
        The body is too large, arrives too slowly, or is not declared as JSON.
    DisconnectedError
        The client has disconnected.
    """
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    # Some other types need no CORS preflight, so any web page could send them.
    if kind != b"application/json":
        reason = "the body must have the content type application/json"
        raise BadRequestError(reason, status=415)
    content = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                content += message.get("body", b"")
                if len(content) > max_bytes:
                    reason = f"the body is larger than {max_bytes} bytes (--max-body-bytes)"
                    raise BadRequestError(reason, status=413)
                if not message.get("more_body", False):
                    return bytes(content)
    except TimeoutError:
        raise BadRequestError("the body did not arrive in time", status=408) from None


class ResponseWriter:
    """Writer of one response: a JSON object, or events."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = False
        """True after status and ``headers`` were sent; only events can follow."""
        self.headers: dict[str, str] = {}

    async def send_json(
        self, body: ResponseObject, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a response of one JSON object."""
        content = _encode(body.to_json())
        entity = {"content-type": "application/json", "content-length": str(len(content))}
        await self._start(status, entity | dict(headers or {}))
        await self._send({"type": "http.response.body", "body": content})

    async def write(self, content: bytes) -> None:
        """Send more events.

        Raises
        ------
        DisconnectedError
            The client does not read.
        """
        if not self.is_started:
            await self._start(
                200, {"content-type": "text/event-stream", "cache-control": "no-store"}
            )
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._send({"type": "http.response.body", "body": content, "more_body": True})
        except TimeoutError:
            raise DisconnectedError from None

    async def end(self) -> None:
        """End the stream."""
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.is_started = True
        headers = {**self.headers, **headers}
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})


def event(data: ResponseObject) -> bytes:
    """Encode an event."""
    return encode_event(_encode(data.to_json()))


def comment(data: Mapping[str, Any]) -> bytes:
    """Encode a comment, which clients skip."""
    return b": " + _encode(data) + b"\n\n"


LAST_EVENT = encode_event(DONE)
KEEP_ALIVE = b": keep-alive\n\n"
"""An empty comment."""


def _encode(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
