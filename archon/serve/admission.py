"""Admission control: run requests, queue them, or reject them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

_WEIGHT = 0.2
"""Weight of the latest request in the moving average of request durations."""
_MAX_RETRY_SECONDS = 60


class FullError(Exception):
    """The queue is full. A slot will probably be free after ``retry_after_seconds``."""

    def __init__(self, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__("too many requests are waiting")


class Admission:
    """Slots for ``max_running`` requests, and a FIFO queue for ``max_waiting`` further requests.

    An instance must be used in a single event loop.
    """

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self.running = 0
        self.waiting = 0
        self._max_running, self._max_waiting = max_running, max_waiting
        self._slots = asyncio.Semaphore(max_running)
        self._mean_seconds = 1.0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a free slot, and occupy it while the ``async with`` block runs.

        Raises
        ------
        FullError
            The queue is full.
        """
        if self._slots.locked() and self.waiting >= self._max_waiting:
            raise FullError(self._retry_after())
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        start = monotonic()
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()
            self._mean_seconds += _WEIGHT * (monotonic() - start - self._mean_seconds)

    def _retry_after(self) -> int:
        """Estimate the number of seconds until a slot would be free for a new request."""
        turns = (self.waiting + 1) / self._max_running
        return min(_MAX_RETRY_SECONDS, max(1, math.ceil(turns * self._mean_seconds)))
