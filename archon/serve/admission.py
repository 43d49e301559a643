"""Admission control: requests run, wait in a queue, or are rejected."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

_WEIGHT = 0.2
"""Weight of the newest request in the moving average of the duration."""
_MAX_RETRY_SECONDS = 60


class FullError(Exception):
    """The queue is full; a slot is likely to be free after ``retry_after_seconds``."""

    def __init__(self, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__("too many requests are waiting")


class Admission:
    """Slots for ``max_running`` requests, and a first-in, first-out queue of ``max_waiting``.

    An object belongs to one event loop.
    """

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self.running = 0
        self.waiting = 0
        self._max_running, self._max_waiting = max_running, max_waiting
        self._slots = asyncio.Semaphore(max_running)
        self._mean_seconds = 1.0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot while the block runs, after waiting until one is free.

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
        """Estimate the seconds until a slot is free for the last request in the queue."""
        turns = (self.waiting + 1) / self._max_running
        return min(_MAX_RETRY_SECONDS, max(1, math.ceil(turns * self._mean_seconds)))
