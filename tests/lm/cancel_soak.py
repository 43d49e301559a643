"""Cancels many requests at random moments; no slot, connection or task may leak.

``python tests/lm/cancel_soak.py 10000`` takes half a minute.
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass
from typing import Any

from network_doubles import GOOD, REQUEST, network

_AT_ONCE, _PLACES = 20, 4


@dataclass(frozen=True)
class Found:
    """The state after all cancellations and one successful request per slot."""

    num_cancelled: int
    num_sockets: int
    """Open connections of the server."""
    most_open: int
    """Concurrent successful requests at the end."""
    num_tasks: int
    num_outstanding: int


async def soak(num_requests: int) -> Found:
    """Send requests in batches, and cancel each at a random moment."""
    rng = random.Random(0)
    num_cancelled = 0
    is_over = False

    async def slowly(writer: asyncio.StreamWriter) -> None:
        if is_over:  # answer once all places are taken, however slow the machine is
            for _ in range(500):
                if far.most_open >= _PLACES:
                    break
                await asyncio.sleep(0.01)
        else:
            await asyncio.sleep(0.004)
        writer.write(GOOD)

    async with network(slowly) as far:
        lm = far.lm(max_concurrency=_PLACES)
        before = asyncio.all_tasks()
        for _ in range(num_requests // _AT_ONCE):
            calls = [asyncio.create_task(lm.generate(REQUEST)) for _ in range(_AT_ONCE)]
            for call in rng.sample(calls, len(calls)):
                for _ in range(rng.randrange(8)):
                    await asyncio.sleep(0)
                if rng.random() < 0.2:
                    await asyncio.sleep(0.002)
                num_cancelled += call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        is_over, far.most_open = True, 0
        await asyncio.gather(*(lm.generate(REQUEST) for _ in range(2 * _PLACES)))
        num_sockets = await _settled(far.tasks)
        found = Found(
            num_cancelled,
            num_sockets,
            far.most_open,
            len(asyncio.all_tasks() - before - far.tasks),
            sum(replica.outstanding for replica in lm._load_balancer.replicas),
        )
        await lm.aclose()
        return found


async def _settled(tasks: set[asyncio.Task[Any]]) -> int:
    """The server's open connections after it has noticed those that the client closed."""
    for _ in range(100):
        if sum(not task.done() for task in tasks) <= _PLACES:
            break
        await asyncio.sleep(0.01)
    return sum(not task.done() for task in tasks)


if __name__ == "__main__":
    print(asyncio.run(soak(int(sys.argv[1]))))
