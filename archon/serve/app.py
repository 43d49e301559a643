"""ASGI application that serves language models and architectures over the OpenAI protocol.

A request selects one of the served models by name, and cannot run anything else. When a client
disconnects, its call is cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from archon.lm.base import LM
from archon.serve.admission import Admission
from archon.serve.auth import Authentication
from archon.serve.chat import ChatCompletions
from archon.serve.chat_page import ChatPage
from archon.serve.completion_request import CompletionRequest
from archon.serve.completion_response import TextCompletion
from archon.serve.completions import Completions
from archon.serve.endpoint import ServedModels, unknown_model
from archon.serve.errors import Failure, failure
from archon.serve.limits import Limits
from archon.serve.metrics import CONTENT_TYPE, Metrics
from archon.serve.openapi import ANY_ERROR, Operation, chunks, document
from archon.serve.requests import ChatRequest
from archon.serve.responses import (
    ArchitectureList,
    ChatCompletion,
    ChatCompletionChunk,
    Health,
    Model,
    ModelList,
    architecture_list,
    model_object,
)
from archon.serve.responses_api.endpoint import Responses
from archon.serve.responses_api.objects import DeletedResponse, InputItemList, ResponseBody
from archon.serve.responses_api.request import ResponsesRequest
from archon.serve.responses_api.store import ResponseStore
from archon.serve.responses_api.stored_routes import stored_response_endpoints
from archon.serve.text_requests import (
    EmbeddingList,
    EmbeddingRequest,
    Ranking,
    RerankRequest,
    ScoreList,
    ScoreRequest,
)
from archon.serve.texts import Embeddings, Rerank, Scores
from archon.serve.traced import TracedEndpoint

OPERATIONS = {
    "chat": Operation(
        "POST",
        "/v1/chat/completions",
        "Generate answers to a conversation, as one object or as server-sent events.",
        ChatCompletion,
        errors=ANY_ERROR,
        request=ChatRequest,
        events=chunks(ChatCompletionChunk),
    ),
    "responses": Operation(
        "POST",
        "/v1/responses",
        "Generate an answer to a conversation, which may continue an earlier response.",
        ResponseBody,
        errors=ANY_ERROR,
        request=ResponsesRequest,
        events="Server-sent events of the Responses API. Each event's name is the `type` in its "
        "data.",
    ),
    "response_input": Operation(
        "GET",
        "/v1/responses/{id}/input_items",
        "List the input of a stored response.",
        InputItemList,
        errors=(400, 401, 404),
        query={
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            "order": {"enum": ["asc", "desc"], "default": "desc"},
            "after": {"type": "string", "description": "Id of the item before the first one."},
        },
    ),
    "response": Operation(
        "GET",
        "/v1/responses/{id}",
        "Return a stored response.",
        ResponseBody,
        errors=(400, 401, 404),
    ),
    "response_deletion": Operation(
        "DELETE",
        "/v1/responses/{id}",
        "Delete a stored response.",
        DeletedResponse,
        errors=(401, 404),
    ),
    "completions": Operation(
        "POST",
        "/v1/completions",
        "Continue prompts, as one object or as server-sent events.",
        TextCompletion,
        errors=ANY_ERROR,
        request=CompletionRequest,
        events=chunks(TextCompletion),
    ),
    "embeddings": Operation(
        "POST",
        "/v1/embeddings",
        "Embed texts with a sentence encoder.",
        EmbeddingList,
        errors=ANY_ERROR,
        request=EmbeddingRequest,
    ),
    "rerank": Operation(
        "POST",
        "/v1/rerank",
        "Rank documents by their relevance to a query.",
        Ranking,
        errors=ANY_ERROR,
        request=RerankRequest,
    ),
    "score": Operation(
        "POST",
        "/v1/score",
        "Score pairs of texts, or replies to a conversation.",
        ScoreList,
        errors=ANY_ERROR,
        request=ScoreRequest,
    ),
    "models": Operation("GET", "/v1/models", "List the served models.", ModelList),
    "model": Operation("GET", "/v1/models/{name}", "Describe one model.", Model, errors=(401, 404)),
    "architectures": Operation(
        "GET", "/v1/architectures", "List the graphs of the served architectures.", ArchitectureList
    ),
    "health": Operation(
        "GET", "/health", "Report that the server is running.", Health, errors=(), is_open=True
    ),
    "metrics": Operation("GET", "/metrics", "Return metrics in the Prometheus text format.", None),
}
"""All routes except the chat page and ``GET /openapi.json``, which describes them."""

Endpoint = Callable[[HttpRequest], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Application:
    """An ASGI application, and a function that ends its requests."""

    app: ASGIApp
    cut_off: Callable[[], None]
    """Ends all requests with an error response. Call it only in the event loop's thread."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def create_app(
    lms: Mapping[str, LM],
    *,
    limits: Limits | None = None,
    is_strict: bool = False,
    api_key: str | None = None,
    host_names: Collection[str] | None = None,
    has_page: bool = True,
) -> Application:
    """Create an application that serves models.

    Parameters
    ----------
    lms
        Name → the model to serve. The caller closes the models.
    limits
        Limits on requests; by default, ``Limits()``.
    is_strict
        Whether to reject request fields that would be ignored.
    api_key
        API key that clients must send to every route except ``/health``. None if no key is
        required.
    host_names
        Host names that are allowed in the Host header. None allows all.
    has_page
        Whether ``GET /`` is the chat page, which any browser can open without an API key.
    """
    limits = limits or Limits()
    admission = Admission(limits.max_running, limits.max_waiting)
    metrics = Metrics(admission)
    served = ServedModels(lms, limits, admission, metrics, is_strict=is_strict)
    store = ResponseStore()
    of_models = {
        "chat": ChatCompletions(served),
        "responses": Responses(served, store),
        "completions": Completions(served),
        "embeddings": Embeddings(served),
        "rerank": Rerank(served),
        "score": Scores(served),
    }
    endpoints: dict[str, Endpoint | TracedEndpoint] = {
        **{name: TracedEndpoint(one, OPERATIONS[name].path) for name, one in of_models.items()},
        **stored_response_endpoints(store),
        **_information_endpoints(lms, metrics),
    }
    routes = [
        Route(operation.path.replace("}", ":path}"), endpoints[name], methods=[operation.method])
        for name, operation in OPERATIONS.items()
    ]

    async def openapi(http: HttpRequest) -> Response:
        operations = list(OPERATIONS.values())
        has_key = api_key is not None
        return JSONResponse(document(operations, limits, has_key=has_key, is_strict=is_strict))

    app = Starlette(
        routes=[
            *routes,
            Route("/openapi.json", openapi),
            *([Route("/", ChatPage(), methods=["GET"])] if has_page else []),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False  # behind a proxy, redirects would have the wrong scheme
    return Application(Authentication(app, api_key, host_names), served.cut_off)


def _information_endpoints(lms: Mapping[str, LM], metrics: Metrics) -> dict[str, Endpoint]:
    """Return the endpoints of the operations that do not run a model."""

    async def models(http: HttpRequest) -> Response:
        listed = ModelList(object="list", data=[model_object(name) for name in lms])
        return JSONResponse(listed.to_json())

    graphs = architecture_list(lms).to_json()

    async def architectures(http: HttpRequest) -> Response:
        return JSONResponse(graphs)

    async def model(http: HttpRequest) -> Response:
        name = http.path_params["name"]
        if name not in lms:
            return _error_response(failure(unknown_model(name, lms)))
        return JSONResponse(model_object(name).to_json())

    async def health(http: HttpRequest) -> Response:
        return JSONResponse(Health(status="ok").to_json())

    async def prometheus(http: HttpRequest) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return {
        "models": models,
        "model": model,
        "architectures": architectures,
        "health": health,
        "metrics": prometheus,
    }


async def _http_error(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = error.detail
    if error.status_code in (404, 405):
        route = f"{http.method} {http.url.path[:200]}"
        reason = f"the route {route} does not exist; GET /openapi.json lists all routes"
    return _error_response(Failure(error.status_code, reason, headers=dict(error.headers or {})))


def _error_response(error: Failure) -> Response:
    return JSONResponse(error.body().to_json(), error.status, headers=error.headers)
