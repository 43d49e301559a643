"""The chat page: asks a served model, and draws what an architecture does while it answers."""

from __future__ import annotations

from hashlib import sha256

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from archon.pages.document import document, static

_SHARED_STYLES = ("base.css", "graph.css", "flow.css")
_SHARED_SCRIPTS = (
    "dom.js",
    "format.js",
    "stages.js",
    "wires.js",
    "flow.js",
    "candidate.js",
    "calls.js",
)
STYLES = ("chat.css",)
SCRIPTS = (
    "server.js",
    "maths.js",
    "markdown.js",
    "trace.js",
    "live.js",
    "settings.js",
    "conversation.js",
    "chat.js",
)
"""The scripts of the page. They are concatenated after the shared scripts and share one scope."""
_HEADERS = {
    "cache-control": "no-cache",
    # The page's own policy is in the document; this directive works only in a header.
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def html() -> str:
    """Return the page, which is the same for every server and has no data."""
    return document(
        "Archon",
        _static("chat.html"),
        styles=[*map(static, _SHARED_STYLES), *map(_static, STYLES)],
        scripts=[*map(static, _SHARED_SCRIPTS), *map(_static, SCRIPTS)],
        reads_data=True,
    )


class ChatPage:
    """The ``GET /`` endpoint, as an ASGI application. The page is made at the first request."""

    def __init__(self) -> None:
        self._page: tuple[bytes, str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._page is None:
            content = html().encode()
            self._page = content, f'"{sha256(content).hexdigest()[:32]}"'
        content, tag = self._page
        headers = {**_HEADERS, "etag": tag}
        if HttpRequest(scope).headers.get("if-none-match") == tag:
            response = Response(status_code=304, headers=headers)
        else:
            response = Response(content, headers=headers, media_type="text/html")
        await response(scope, receive, send)


def _static(name: str) -> str:
    return static(name, "archon.serve")
