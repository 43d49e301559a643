"""Connections without a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from archon.serve import header_timeout
from archon.serve.asgi_io import ResponseWriter
from archon.serve.header_timeout import TimedConnection
from archon.serve.responses import Health

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Client]]
HEAD = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n"


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading the body; for ``/slow``, after a while."""
    if scope["path"] == "/slow":
        await asyncio.sleep(5 * header_timeout.HEAD_SECONDS)
    await ResponseWriter(send).send_json(Health(status="ok"))


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_timeout, "HEAD_SECONDS", 0.1)


@pytest.fixture
async def connect(short_wait: None) -> Any:
    """Connects to a server."""
    config = uvicorn.Config(
        deaf, http=TimedConnection, lifespan="off", log_config=None, port=0, timeout_keep_alive=75
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]

    async def client() -> Client:
        return await asyncio.open_connection("127.0.0.1", port)

    yield client
    await server.shutdown()


async def is_dropped(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(5):
            return await reader.read() == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("said", [b"", b"POST / HT"])
async def test_a_silent_connection_is_closed(connect: Connect, said: bytes) -> None:
    reader, writer = await connect()
    writer.write(said)
    assert await is_dropped(reader)
    writer.close()


@pytest.mark.parametrize("said", [HEAD.replace(b"5", b"500"), HEAD + b"hello" + HEAD[:10]])
async def test_a_connection_that_sends_slowly_is_closed(connect: Connect, said: bytes) -> None:
    reader, writer = await connect()
    writer.write(said)
    assert await reader.readuntil(b"}")

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    drips = asyncio.create_task(drip())
    assert await is_dropped(reader)
    drips.cancel()
    writer.close()


async def test_a_connection_that_waits_for_an_answer_or_is_idle_stays_open(
    connect: Connect,
) -> None:
    reader, writer = await connect()
    for path in (b"/slow", b"/", b"/slow"):
        writer.write(HEAD.replace(b"/", path, 1) + b"hello")
        assert await reader.readuntil(b"}")
        await asyncio.sleep(3 * header_timeout.HEAD_SECONDS)
    writer.close()
