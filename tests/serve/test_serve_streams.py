"""Streamed responses: chunks, errors, keep-alive comments and disconnecting clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from serve_doubles import HELLO, Failing, Patient, client, events, post
from starlette.types import Message as AsgiMessage

from archon.errors import (
    LMError,
)
from archon.lm.openai.sse import EventParser
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve import asgi_io
from archon.serve.app import Application, create_app
from archon.serve.asgi_io import KEEP_ALIVE
from archon.serve.limits import Limits
from archon.types import Completion, NodeStarted, OnEvent, Request, TokenDelta


async def test_a_stream_is_chunks_that_join_up_to_the_texts(http: httpx.AsyncClient) -> None:
    response = await post(http, stream=True, n=2, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events(response)
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 2 + 2 + 4
    texts = {0: "", 1: ""}
    for chunk in chunks:
        [choice] = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == {0: "Hello there", 1: "Good day to you"}
    assert [c["choices"][0]["finish_reason"] for c in chunks[-2:]] == ["stop", "stop"]
    assert len({chunk["id"] for chunk in [*chunks, usage]}) == 1


async def test_usage_is_streamed_only_on_request(http: httpx.AsyncClient) -> None:
    *chunks, _ = events(await post(http, stream=True))
    assert all("usage" not in chunk for chunk in chunks)


async def test_a_model_that_cannot_stream_sends_its_text_at_the_end() -> None:
    lm = ScriptedLM(in_turn(["Hello"]), capabilities=frozenset({"chat"}))
    async with client(lm) as http:
        *chunks, _ = events(await post(http, stream=True))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {},
    ]


async def test_nodes_are_reported_in_comments_and_their_texts_are_not_streamed() -> None:
    class Graph(ScriptedLM):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            assert on_event is not None
            on_event(NodeStarted("draft"))
            on_event(TokenDelta(0, "inner", node="draft"))
            return await super().generate(request, on_event)

    async with client(Graph(in_turn(["Hello"]))) as http:
        response = await post(http, stream=True)
    assert "inner" not in response.text
    assert ': {"node":"draft","event":"started"}\n' in response.text
    assert len(events(response)) == 4  # begin, a word, end, [DONE]


async def test_a_stream_that_fails_before_its_first_event_has_an_error_status() -> None:
    async with client(Failing(LMError("busy", retryable=True))) as http:
        assert (await post(http, stream=True)).status_code == 503


async def test_a_stream_that_fails_later_ends_with_the_error() -> None:
    async with client(Failing(LMError("secret address"), num_deltas=2)) as http:
        response = await post(http, stream=True)
    assert response.status_code == 200
    last = events(response)[-1]
    assert last["error"]["type"] == "server_error"
    assert "secret" not in response.text


# ----------------------------------------------------------------------------- hanging up


SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "method": "POST",
    "path": "/v1/chat/completions",
    "query_string": b"",
    "headers": [(b"content-type", b"application/json")],
}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_ends_the_call(stream: bool) -> None:
    lm = Patient()
    is_gone = asyncio.Event()
    has_text = asyncio.Event()
    body = json.dumps({**HELLO, "stream": stream}).encode()
    inbox: list[AsgiMessage] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> AsgiMessage:
        if inbox:
            return inbox.pop()
        await is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: AsgiMessage) -> None:
        if b"Well" in message.get("body", b""):
            has_text.set()

    before = asyncio.all_tasks()
    serving = asyncio.create_task(create_app({"stub": lm})(SCOPE, receive, send))
    await lm.began.wait()
    if stream:
        await has_text.wait()
    assert not lm.ended.is_set()
    is_gone.set()
    await serving
    assert lm.ended.is_set()
    assert asyncio.all_tasks() <= before


async def test_a_client_that_reads_nothing_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_io, "STALL_SECONDS", 0.01)
    lm = Patient()
    body = json.dumps({**HELLO, "stream": True}).encode()
    inbox: list[AsgiMessage] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> AsgiMessage:
        if not inbox:
            await asyncio.Event().wait()
        return inbox.pop()

    async def send(message: AsgiMessage) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await create_app({"stub": lm})(SCOPE, receive, send)
    assert lm.ended.is_set()


# ------------------------------------------------------------------------------ silent streams


async def stream_of(
    app: Application, is_gone: asyncio.Event, **values: object
) -> AsyncGenerator[bytes, None]:
    """Yield what a client receives, piece by piece, until it hangs up or the response ends."""
    body = json.dumps({**HELLO, "stream": True, **values}).encode()
    inbox: list[AsgiMessage] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: asyncio.Queue[AsgiMessage] = asyncio.Queue()

    async def receive() -> AsgiMessage:
        if inbox:
            return inbox.pop()
        await is_gone.wait()
        return {"type": "http.disconnect"}

    serving = asyncio.create_task(app(SCOPE, receive, sent.put))
    try:
        while True:
            message = await sent.get()
            if message["type"] == "http.response.start":
                assert message["status"] == 200
                continue
            yield message["body"]
            if not message.get("more_body", False):
                return
    finally:
        is_gone.set()
        await serving


async def test_a_silent_stream_sends_comments_until_there_is_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_io, "KEEP_ALIVE_SECONDS", 0.01)
    may_answer = asyncio.Event()

    class Slow(ScriptedLM):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            await may_answer.wait()
            return await super().generate(request, on_event)

    before = asyncio.all_tasks()
    pieces = []
    async for piece in stream_of(create_app({"stub": Slow(in_turn(["Hello"]))}), asyncio.Event()):
        pieces.append(piece)
        if pieces.count(KEEP_ALIVE) == 3:
            may_answer.set()
    assert pieces[:3] == [b": keep-alive\n\n"] * 3
    found = EventParser().feed(b"".join(pieces))
    assert [json.loads(e)["choices"][0]["delta"] for e in found[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {},
    ]
    assert asyncio.all_tasks() <= before


async def test_comments_continue_after_the_first_text_and_stop_with_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_io, "KEEP_ALIVE_SECONDS", 0.01)
    lm, is_gone, pieces = Patient(), asyncio.Event(), list[bytes]()
    before = asyncio.all_tasks()
    async with aclosing(stream_of(create_app({"stub": lm}), is_gone)) as sent:
        async for piece in sent:
            pieces.append(piece)
            if pieces.count(KEEP_ALIVE) == 2:
                break
    assert b"Well" in pieces[0]
    assert pieces[1:] == [KEEP_ALIVE] * 2
    assert lm.ended.is_set()
    assert asyncio.all_tasks() <= before


async def test_a_queued_stream_is_kept_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_io, "KEEP_ALIVE_SECONDS", 0.01)
    lm = Patient()
    app = create_app({"stub": lm}, limits=Limits(max_running=1))
    async with aclosing(stream_of(app, asyncio.Event())) as first:
        assert b"Well" in await anext(first)
        async with aclosing(stream_of(app, asyncio.Event())) as second:
            assert await anext(second) == KEEP_ALIVE
            assert await anext(second) == KEEP_ALIVE


async def test_a_stream_that_fails_after_a_comment_ends_with_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_io, "KEEP_ALIVE_SECONDS", 0.01)
    may_fail = asyncio.Event()

    class Failing(Patient):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            await may_fail.wait()
            raise LMError("secret address", retryable=True)

    pieces = []
    async for piece in stream_of(create_app({"stub": Failing()}), asyncio.Event()):
        pieces.append(piece)
        may_fail.set()
    [error] = EventParser().feed(b"".join(pieces))
    assert json.loads(error)["error"]["type"] == "server_error"
    assert b"secret" not in error


async def test_a_stream_that_is_not_silent_sends_no_comment(http: httpx.AsyncClient) -> None:
    assert ":" not in {line[:1] for line in (await post(http, stream=True)).text.splitlines()}
