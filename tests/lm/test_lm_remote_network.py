"""The remote model over real connections that hang, break off, or are cancelled."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from archon.errors import LMError
from archon.lm.remote import RemoteLM
from archon.lm.retry import Backoff
from archon.spec.model import OpenAICard
from archon.types import Message, Request

REQUEST = Request((Message("user", "Hi"),))
BODY = json.dumps(
    {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
GOOD = HEAD % len(BODY) + BODY

Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Network:
    """A server that answers each request as ``serve`` does, and counts."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.tasks: set[asyncio.Task[None]] = set()
        self.writers: set[asyncio.StreamWriter] = set()
        self.num_connections = 0
        self.num_open = 0
        self.most_open = 0
        self.full_at = 1
        self.is_full = asyncio.Event()
        self.url = ""

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        self.tasks.add(asyncio.create_task(self._handle(reader, writer)))

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
                self.num_open += 1
                self.most_open = max(self.most_open, self.num_open)
                if self.num_open == self.full_at:
                    self.is_full.set()
                try:
                    await self.serve(writer)
                    await writer.drain()
                finally:
                    self.num_open -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def lm(self, **values: object) -> RemoteLM:
        card = {"name": "far", "backend": "openai", "base_urls": [self.url], "model": "m", **values}
        return RemoteLM(OpenAICard.model_validate(card), backoff=Backoff(2, base_seconds=0.001))


@asynccontextmanager
async def network(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Network]:
    made = Network(serve)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0, ssl=tls)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield made
    finally:
        # A connection that is being accepted while the server closes is never closed itself.
        for _ in range(10):
            await asyncio.sleep(0)
        server.close()
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        # A task that is cancelled before its first step closes nothing.
        for writer in made.writers:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def never(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def well(writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD)


async def test_a_server_that_never_answers_runs_into_the_deadline() -> None:
    async with network(never) as far:
        lm = far.lm(timeout_seconds=0.05)
        with pytest.raises(LMError, match=r"no answer within 0\.05 seconds") as caught:
            await lm.generate(REQUEST)
        assert caught.value.retryable
        await lm.aclose()


async def test_a_reply_that_never_ends_runs_into_the_deadline() -> None:
    async def stall(writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD[:-5])
        await writer.drain()
        await never(writer)

    async with network(stall) as far:
        lm = far.lm(timeout_seconds=0.05)
        with pytest.raises(LMError, match="no answer within"):
            await lm.generate(REQUEST)
        await lm.aclose()


@pytest.mark.parametrize("sent", [b"", GOOD[:30], GOOD[:-5], b"\x00\xff nonsense\r\n\r\n"])
async def test_a_connection_that_breaks_off_is_tried_again(sent: bytes) -> None:
    replies = [sent, GOOD]

    async def once(writer: asyncio.StreamWriter) -> None:
        reply = replies.pop(0)
        writer.write(reply)
        if reply != GOOD:
            writer.close()

    async with network(once) as far:
        lm = far.lm()
        [reply] = await lm.generate(REQUEST)
        assert reply.text == "Hello"
        await lm.aclose()


async def test_nobody_listening_is_an_error_after_the_retries() -> None:
    async with network(well) as far:
        lm = far.lm()
    with pytest.raises(LMError, match="cannot connect") as caught:
        await lm.generate(REQUEST)
    assert caught.value.retryable
    await lm.aclose()


async def test_no_more_requests_than_the_limit_are_in_flight() -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        writer.write(GOOD)

    async with network(slowly) as far:
        lm = far.lm(max_concurrency=3)
        await asyncio.gather(*(lm.generate(replace(REQUEST, n=4, seed=s)) for s in range(5)))
        assert far.most_open == 3
        assert far.num_connections == 3, "connections are kept open and used again"
        await lm.aclose()


async def test_cancelled_requests_lose_no_places() -> None:
    async with network(never) as far:
        far.full_at = 2
        lm = far.lm(max_concurrency=2)
        before = asyncio.all_tasks()
        calls = [asyncio.create_task(lm.generate(replace(REQUEST, n=3))) for _ in range(4)]
        await far.is_full.wait()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert asyncio.all_tasks() - far.tasks <= before
        far.serve = well
        assert len(await lm.generate(replace(REQUEST, n=4))) == 4
        await lm.aclose()
