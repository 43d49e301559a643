"""Read request bodies, and send JSON responses and event streams, over ASGI."""

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
"""Timeout for receiving a complete body."""
STALL_SECONDS = 60
"""Time after which a client that does not read its response is considered disconnected."""
KEEP_ALIVE_SECONDS = 15
"""Time without an event after which a comment is sent, because proxies close idle connections."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Read the complete body of a request.

    Raises
    ------
    BadRequestError
        The body is too large or arrives too slowly, or its content type is not JSON.
    DisconnectedError
        The client has disconnected.
    """
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    # Any web page could send some other types, since they need no CORS preflight.
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
        raise BadRequestError("the body did not arrive within the time limit", status=408) from None


class ResponseWriter:
    """Writes one response, which is either a JSON object or a stream of events."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = False
        """Whether the status and the headers have been sent. If so, only events can follow."""
        self.headers: dict[str, str] = {}
        """Additional headers to send."""

    async def send_json(
        self, body: ResponseObject, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a complete response with a JSON object as its body."""
        content = encode_json(body.to_json())
        entity = {"content-type": "application/json", "content-length": str(len(content))}
        await self._start(status, entity | dict(headers or {}))
        await self._send({"type": "http.response.body", "body": content})

    async def write(self, content: bytes) -> None:
        """Send encoded events. If the status and the headers have not been sent, send them first.

        Raises
        ------
        DisconnectedError
            The client has not read the data for ``STALL_SECONDS``.
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
        """End the stream of events."""
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.is_started = True
        headers = {**self.headers, **headers}
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})


def event(data: ResponseObject) -> bytes:
    """Encode a server-sent event."""
    return encode_event(encode_json(data.to_json()))


def named_event(data: Mapping[str, Any]) -> bytes:
    """Encode a server-sent event whose name is its ``type``."""
    return b"event: " + str(data["type"]).encode() + b"\n" + encode_event(encode_json(data))


def comment(data: Mapping[str, Any]) -> bytes:
    """Encode a comment in an event stream, which clients ignore."""
    return b": " + encode_json(data) + b"\n\n"


LAST_EVENT = encode_event(DONE)
KEEP_ALIVE = b": keep-alive\n\n"
"""Comment that keeps a connection open."""


def encode_json(data: Mapping[str, Any]) -> bytes:
    """Encode JSON data. Surrogates in texts, which UTF-8 cannot contain, become "?"."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
