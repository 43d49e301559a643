"""Clients of an application in this process, and its fake models."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from archon.lm.base import LM
from archon.lm.openai.sse import EventParser
from archon.serve.app import create_app
from archon.types import Completion, OnEvent, Request, TokenDelta

HELLO: dict[str, Any] = {"model": "stub", "messages": [{"role": "user", "content": "Say hello"}]}


def client(lm: LM) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app({"stub": lm, "org/other": lm}))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def post(http: httpx.AsyncClient, **values: object) -> httpx.Response:
    return await http.post("/v1/chat/completions", json={**HELLO, **values})


def events(response: httpx.Response) -> list[Any]:
    parser = EventParser()
    found = parser.feed(response.content) + parser.end()
    return [e.decode() if e == b"[DONE]" else json.loads(e) for e in found]


class Failing:
    """A fake LM that sends some deltas and then fails."""

    capabilities = frozenset({"chat", "stream"})

    def __init__(self, error: Exception, num_deltas: int = 0) -> None:
        self.error, self.num_deltas = error, num_deltas

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        if on_event is not None:
            for _ in range(self.num_deltas):
                on_event(TokenDelta(0, "x"))
        await asyncio.sleep(0)
        raise self.error


class Patient:
    """A fake LM that sends a first delta and never ends."""

    capabilities = frozenset({"chat", "stream"})

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        if on_event is not None:
            on_event(TokenDelta(0, "Well"))
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        return []
