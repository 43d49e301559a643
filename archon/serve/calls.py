"""Running a language model's call for as long as its client stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from archon.lm import LM
from archon.types import Completion, Event, Request, TokenDelta

T = TypeVar("T")


async def unless_disconnected(http: HttpRequest, call: Awaitable[T]) -> T:
    """The result of a call, which is cancelled as soon as the client hangs up.

    The body of the request must have been read.

    Raises
    ------
    ClientDisconnect : the client hung up first.
    """
    answer = asyncio.ensure_future(call)
    hang_up = asyncio.create_task(_disconnected(http))
    try:
        await asyncio.wait({answer, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        for task in (answer, hang_up):
            task.cancel()
        await asyncio.gather(answer, hang_up, return_exceptions=True)


async def _disconnected(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


async def stream(lm: LM, request: Request) -> AsyncGenerator[TokenDelta | list[Completion], None]:
    """Token deltas as they come, then all completions. Closing it cancels the call."""
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    call = asyncio.create_task(_generate(lm, request, queue))
    call.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (event := await queue.get()) is not None:
            if isinstance(event, TokenDelta) and not event.node:
                yield event
        yield call.result()
    finally:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


async def _generate(
    lm: LM, request: Request, queue: asyncio.Queue[Event | None]
) -> list[Completion]:
    return await lm.generate(request, queue.put_nowait)
