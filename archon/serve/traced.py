"""An endpoint whose requests are OpenTelemetry spans that continue the caller's trace."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from archon.tracing.spans import record_status, served_span


class TracedEndpoint:
    """An ASGI application around another one, which opens a span for each request."""

    def __init__(self, app: ASGIApp, route: str) -> None:
        self._app, self._route = app, route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with served_span(scope["method"], self._route, scope["headers"]) as span:

            async def observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    record_status(span, message["status"])
                await send(message)

            await self._app(scope, receive, observed)
