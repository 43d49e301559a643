"""Running a language model's call for as long as its client stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.types import Receive

from archon.lm import LM
from archon.lm.reasoning import answered
from archon.types import Completion, Event, Request, TokenDelta

T = TypeVar("T")


class HungUpError(Exception):
    """The client is gone."""


async def unless_hung_up(receive: Receive, call: Coroutine[Any, Any, T]) -> T:
    """The result of a call, which is cancelled as soon as the client hangs up.

    The body of the request must have been read.

    Raises
    ------
    HungUpError : the client hung up first.
    """
    answer = asyncio.create_task(call)
    hang_up = asyncio.create_task(_hang_up(receive))
    try:
        await asyncio.wait({answer, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise HungUpError
        return answer.result()
    finally:
        for task in (answer, hang_up):
            task.cancel()
        await asyncio.gather(answer, hang_up, return_exceptions=True)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def stream(lm: LM, request: Request) -> AsyncGenerator[list[Event] | list[Completion], None]:
    """The events as they come, those together that are there together; then all completions.

    Tokens of inner nodes, which no client is sent, are left out. Closing it cancels the call.
    """
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    call = asyncio.create_task(_generate(lm, request, queue))
    call.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        event = await queue.get()
        while event is not None:
            events = [event]
            while not queue.empty() and (event := queue.get_nowait()) is not None:
                events.append(event)
            yield events
            if event is not None:
                event = await queue.get()
        yield call.result()
    finally:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


async def _generate(
    lm: LM, request: Request, queue: asyncio.Queue[Event | None]
) -> list[Completion]:
    def on_event(event: Event) -> None:
        if not (isinstance(event, TokenDelta) and event.node):
            queue.put_nowait(event)

    return await answered(lm, request, on_event)


async def with_silences(
    parts: AsyncGenerator[T, None], seconds: float
) -> AsyncGenerator[T | None, None]:
    """The parts as they come, and None whenever none came for so long.

    Closing it closes ``parts``.
    """
    async with aclosing(parts):
        while True:
            coming = asyncio.ensure_future(anext(parts))
            try:
                while not (await asyncio.wait({coming}, timeout=seconds))[0]:
                    yield None
                part = coming.result()
            except StopAsyncIteration:
                return
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
            yield part
