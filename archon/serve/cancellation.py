"""Cancel calls when clients disconnect, and stream a call's events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.types import Receive

from archon.lm.base import LM
from archon.lm.reasoning import generate_answers
from archon.types import Completion, Event, Request, TokenDelta

T = TypeVar("T")


class DisconnectedError(Exception):
    """The client has disconnected."""


async def until_disconnect(receive: Receive, call: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``call``; cancel it as soon as the client disconnects.

    The request body must already have been read from ``receive``.

    Raises
    ------
    DisconnectedError
        The client disconnected first.
    """
    answer = asyncio.create_task(call)
    disconnect = asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait({answer, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise DisconnectedError
        return answer.result()
    finally:
        for task in (answer, disconnect):
            task.cancel()
        await asyncio.gather(answer, disconnect, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def stream(lm: LM, request: Request) -> AsyncGenerator[list[Event] | list[Completion], None]:
    """Yield a request's events in batches as they arrive, and finally all completions.

    Token deltas of individual nodes are omitted. Closing the generator cancels the request.
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

    return await generate_answers(lm, request, on_event)


async def with_timeouts(
    items: AsyncGenerator[T, None], seconds: float
) -> AsyncGenerator[T | None, None]:
    """Yield the items, and also None whenever no item has arrived for ``seconds``.

    Closing the generator closes ``items``.
    """
    async with aclosing(items):
        while True:
            pending = asyncio.ensure_future(anext(items))
            try:
                while not (await asyncio.wait({pending}, timeout=seconds))[0]:
                    yield None
                item = pending.result()
            except StopAsyncIteration:
                return
            finally:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)
            yield item
