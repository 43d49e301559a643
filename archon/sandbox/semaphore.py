"""A semaphore for tasks in different event loops."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import TracebackType


class SharedSemaphore:
    """A first-come, first-served semaphore that tasks in different event loops can share.

    An ``asyncio.Semaphore`` can be used only in the first event loop that waits for it.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not self._stop_waiting(turn):
                self._release()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _stop_waiting(self, turn: asyncio.Future[None]) -> bool:
        """Leave the queue; return False if this waiter has already been given a slot."""
        with self._lock:
            if turn not in self._waiting:
                return False
            self._waiting.remove(turn)
            return True

    def _release(self) -> None:
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                try:
                    turn.get_loop().call_soon_threadsafe(_wake, turn)
                except RuntimeError:  # its loop is closed, so nobody waits
                    continue
                return
            self._free += 1


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
