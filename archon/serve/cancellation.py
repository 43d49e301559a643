"""Cancel calls when clients disconnect, and stream a call's events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

from starlette.types import Receive

from archon.lm.base import LM
from archon.lm.reasoning import generate_answers
from archon.types import Completion, Event, NodeDelta, Request

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


async def stream(
    lm: LM, request: Request, *, node_deltas: bool = False
) -> AsyncGenerator[list[Event] | list[Completion], None]:
    """Yield a request's events in batches as they arrive, and finally all completions.

    Closing the generator cancels the request.

    Parameters
    ----------
    node_deltas
        Whether to yield the text of individual nodes. What a sample writes between two batches is
        one delta, so that a slow client's queue does not grow with each token.
    """
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    joined = _JoinedDeltas()

    def on_event(event: Event) -> None:
        if not isinstance(event, NodeDelta) or (node_deltas and joined.is_first(event)):
            queue.put_nowait(event)

    call = asyncio.create_task(generate_answers(lm, request, on_event))
    call.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        event = await queue.get()
        while event is not None:
            events = [event]
            while not queue.empty() and (event := queue.get_nowait()) is not None:
                events.append(event)
            yield [joined.take(one) if isinstance(one, NodeDelta) else one for one in events]
            if event is not None:
                event = await queue.get()
        yield call.result()
    finally:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


class _JoinedDeltas:
    """The texts of samples that wait to be sent."""

    def __init__(self) -> None:
        self._texts: dict[tuple[int, str, int, bool], list[str]] = {}

    def is_first(self, event: NodeDelta) -> bool:
        """Add a delta; return True if no other delta of its sample is waiting."""
        texts = self._texts.setdefault(_sample(event), [])
        texts.append(event.text)
        return len(texts) == 1

    def take(self, event: NodeDelta) -> NodeDelta:
        """Return a delta that was the first one of its sample, with the text of all."""
        return replace(event, text="".join(self._texts.pop(_sample(event))))


def _sample(event: NodeDelta) -> tuple[int, str, int, bool]:
    return event.run, event.node, event.draw, event.is_reasoning


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
