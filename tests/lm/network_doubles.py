"""A fake server on a real socket that can hang, disconnect and count connections."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from archon.lm.openai.client import RemoteLM
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
    """A server that answers each request with ``serve``, and counts connections."""

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
