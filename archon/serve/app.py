"""The application: language models, whole architectures among them, behind OpenAI's protocol.

::

    POST /v1/chat/completions   whole, or as server-sent events
    GET  /v1/models             the names that a request's `model` may have
    GET  /v1/models/{name}
    GET  /health

The name in a request picks one of the models that the server was started with; nothing else that a
client sends chooses what runs. A client that hangs up ends its call.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from archon.lm import LM, check_request
from archon.lm.sse import DONE, encode_event
from archon.serve.calls import stream, unless_disconnected
from archon.serve.failures import Failure, failure
from archon.serve.openai import (
    ChatRequest,
    Replies,
    model_list,
    model_object,
    read_chat_request,
)
from archon.types import Completion, Request, TokenDelta

MAX_BODY_BYTES = 4 * 1024 * 1024
_CLIENT_CLOSED_REQUEST = 499  # nobody reads it; logs do

Parts = AsyncGenerator[TokenDelta | list[Completion], None]


def create_app(lms: Mapping[str, LM]) -> Starlette:
    """The application that serves these models under these names; closing them is the caller's."""
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", _chat_completions, methods=["POST"]),
            Route("/v1/models", _models),
            Route("/v1/models/{name:path}", _model),
            Route("/health", _health),
        ],
        exception_handlers={HTTPException: _no_such_page, Exception: _failed},
    )
    app.state.lms = dict(lms)
    return app


async def _health(http: HttpRequest) -> Response:
    return JSONResponse({"status": "ok"})


async def _models(http: HttpRequest) -> Response:
    return JSONResponse(model_list(list(http.app.state.lms)))


async def _model(http: HttpRequest) -> Response:
    name = http.path_params["name"]
    if name not in http.app.state.lms:
        return _unknown_model(name).response()
    return JSONResponse(model_object(name))


async def _chat_completions(http: HttpRequest) -> Response:
    try:
        content = await _body(http)
        if content is None:
            return Failure(413, f"the body is larger than {MAX_BODY_BYTES} bytes").response()
        chat = read_chat_request(content)
        lm: LM | None = http.app.state.lms.get(chat.model)
        if lm is None:
            return _unknown_model(chat.model).response()
        request = chat.request()
        check_request(request, lm.capabilities, chat.model)
        if chat.stream:
            return await _streamed(http, lm, chat, request)
        completions = await unless_disconnected(http, lm.generate(request))
    except ClientDisconnect:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    except Exception as error:
        return failure(error).response()
    return JSONResponse(Replies(chat.model).whole(completions))


async def _body(http: HttpRequest) -> bytes | None:
    """The request's body, or None where it is too large."""
    content = bytearray()
    async with aclosing(http.stream()) as chunks:
        async for chunk in chunks:
            content += chunk
            if len(content) > MAX_BODY_BYTES:
                return None
    return bytes(content)


def _unknown_model(name: str) -> Failure:
    message = f"there is no model {name[:200]!r} here; GET /v1/models lists those there are"
    return Failure(404, message, "model", "model_not_found")


async def _no_such_page(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Failure(error.status_code, error.detail, headers=dict(error.headers or {})).response()


async def _failed(http: HttpRequest, error: Exception) -> Response:
    return failure(error).response()


# ------------------------------------------------------------------------------------ streaming


async def _streamed(http: HttpRequest, lm: LM, chat: ChatRequest, request: Request) -> Response:
    """The reply as events. It begins when the model does, so that a failure has its own status."""
    parts = stream(lm, request)
    first = await unless_disconnected(http, anext(parts))
    return _EventStream(_events(first, parts, chat, request.n))


class _EventStream(StreamingResponse):
    """Ends the model's call when the client hangs up."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()


async def _events(
    first: TokenDelta | list[Completion], parts: Parts, chat: ChatRequest, n: int
) -> AsyncGenerator[bytes, None]:
    """Every event of a streamed reply; a failure under way becomes the last one."""
    replies = Replies(chat.model)
    has_text = [False] * n
    async with aclosing(parts):
        try:
            for index in range(n):
                yield _event(replies.begin(index))
            part: TokenDelta | list[Completion] | None = first
            while isinstance(part, TokenDelta):
                has_text[part.draw] = True
                yield _event(replies.more(part.draw, part.text))
                part = await anext(parts, None)
            assert part is not None, "a stream ends with the completions"
            for index, completion in enumerate(part):
                if completion.text and not has_text[index]:
                    yield _event(replies.more(index, completion.text))
                yield _event(replies.end(index, completion))
            if chat.stream_options is not None and chat.stream_options.include_usage:
                yield _event(replies.usage_chunk(part))
            yield encode_event(DONE)
        except Exception as error:
            yield _event(failure(error).body())


def _event(data: dict[str, object]) -> bytes:
    return encode_event(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))
