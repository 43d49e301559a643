"""The application: language models, whole architectures among them, behind OpenAI's protocol.

::

    POST /v1/chat/completions   whole, or as server-sent events
    GET  /v1/models             the names that a request's `model` may have
    GET  /v1/models/{name}
    GET  /health                that the server is there; needs no key
    GET  /metrics               counts for Prometheus
    GET  /openapi.json          all this for programs

The name in a request picks one of the models that the server was started with; nothing else that a
client sends chooses what runs. A client that hangs up ends its call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from archon.lm import LM
from archon.serve.admission import Admission
from archon.serve.auth import Guard
from archon.serve.chat import ChatCompletions, unknown_model
from archon.serve.errors import Failure, failure
from archon.serve.limits import Limits
from archon.serve.metrics import CONTENT_TYPE, Metrics
from archon.serve.openapi import document
from archon.serve.responses import model_list, model_object


@dataclass(frozen=True, slots=True)
class Application:
    """An ASGI application that can be told to come to an end."""

    app: ASGIApp
    cut_off: Callable[[], None]
    """Ends every request now; each is told so. To be called in the event loop's thread."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def create_app(
    lms: Mapping[str, LM],
    *,
    limits: Limits | None = None,
    is_strict: bool = False,
    api_key: str | None = None,
    host_names: Collection[str] | None = None,
) -> Application:
    """The application that serves these models under these names; closing them is the caller's.

    Parameters
    ----------
    limits : by default those of ``Limits``.
    is_strict : refuse fields of a request that would be ignored.
    api_key : asked for on every route but ``/health``; None for no key.
    host_names : the names that it may be called by; None for any.
    """
    limits = limits or Limits()
    admission = Admission(limits.max_running, limits.max_waiting)
    metrics = Metrics(admission)

    async def models(http: HttpRequest) -> Response:
        return JSONResponse(model_list(list(lms)))

    async def model(http: HttpRequest) -> Response:
        name = http.path_params["name"]
        if name not in lms:
            return _told(failure(unknown_model(name, lms)))
        return JSONResponse(model_object(name))

    async def health(http: HttpRequest) -> Response:
        return JSONResponse({"status": "ok"})

    async def count(http: HttpRequest) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    async def openapi(http: HttpRequest) -> Response:
        return JSONResponse(document(limits, has_key=api_key is not None, is_strict=is_strict))

    chat = ChatCompletions(lms, limits, admission, metrics, is_strict=is_strict)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            Route("/health", health),
            Route("/metrics", count),
            Route("/openapi.json", openapi),
        ],
        exception_handlers={HTTPException: _no_such_page},
    )
    app.router.redirect_slashes = False  # it would send clients of a proxy to the wrong scheme
    return Application(Guard(app, api_key, host_names), chat.cut_off)


async def _no_such_page(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = error.detail
    if error.status_code in (404, 405):
        reason = (
            f"there is no {http.method} {http.url.path[:200]} here; GET /openapi.json lists all"
        )
    return _told(Failure(error.status_code, reason, headers=dict(error.headers or {})))


def _told(told: Failure) -> Response:
    return JSONResponse(told.body(), told.status, headers=told.headers)
