"""Fake servers and builders of replies for tests of ``RemoteLM``."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from archon.errors import LMError
from archon.lm.openai.client import RemoteLM
from archon.lm.retry import Backoff, Clock
from archon.spec.model import OpenAICard
from archon.types import (
    Message,
    Request,
)

KEY = "sk-very/secret-42"
REQUEST = Request((Message("user", "Hi"),), seed=3)
Handler = Callable[[httpx.Request], httpx.Response]


def completion(text: object = "Hello", reason: object = "stop", **more: object) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    return {"choices": [{**choice, "finish_reason": reason}], "usage": usage, **more}


def good(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=completion())


class FakeServer:
    """Sends the given replies in turn, then successful ones; records requests."""

    def __init__(self, *replies: httpx.Response | Exception) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if self.replies else good(request)
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]


class Wire(httpx.AsyncBaseTransport):
    """Transport that returns a handler's reply with an unread body, like a network."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        reply = self._handler(request)
        if not reply.is_stream_consumed:
            return reply
        body = chunks(reply.content)
        return httpx.Response(reply.status_code, headers=reply.headers, content=body)


async def chunks(content: bytes, size: int = 4096) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


class Waits:
    """A clock that records waits without waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.clock = Clock(sleep=self._sleep, uniform=lambda low, high: high)

    async def _sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


def remote(handler: Handler, waits: Waits | None = None, **values: object) -> RemoteLM:
    card = {
        "name": "far",
        "backend": "openai",
        "base_urls": ["http://one.test/v1"],
        "model": "m",
        **values,
    }
    return RemoteLM(
        OpenAICard.model_validate(card),
        api_key=KEY,
        clock=(waits or Waits()).clock,
        backoff=Backoff(max_attempts=3, base_seconds=1),
        http=Wire(handler),
    )


async def failure(reply: httpx.Response | Exception, on_event: Any = None) -> LMError:
    """The error of a bad reply without retries."""
    lm = remote(FakeServer(*[reply] * 3))
    with pytest.raises(LMError) as caught:
        await lm.generate(REQUEST, on_event)
    return caught.value


def sse(*events: object) -> httpx.Response:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    content = "".join(f"data: {line}\n\n" for line in lines).encode()
    return httpx.Response(200, content=content, headers={"content-type": "text/event-stream"})


def delta(text: object, reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}
