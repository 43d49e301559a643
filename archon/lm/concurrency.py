"""Helpers for asyncio: one value per event loop, a thread-safe gauge, and concurrent calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """A separate value for each event loop, created by ``make`` on first use.

    Semaphores and connections work only in the event loop that first used them. A language model
    may be called from several loops, since each ``asyncio.run`` creates a new one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self) -> T:
        """Return the running loop's value."""
        loop = asyncio.get_running_loop()
        if loop not in self._values:
            self._values[loop] = self._make()
        return self._values[loop]

    def pop(self) -> T | None:
        """Remove and return the running loop's value, or return None if it has none."""
        return self._values.pop(asyncio.get_running_loop(), None)


class Gauge:
    """A thread-safe counter that can be increased and decreased."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self, amount: int) -> None:
        """Add ``amount``, which may be negative."""
        with self._lock:
            self.value += amount

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Increase the counter by one while the ``with`` block runs."""
        self.add(1)
        try:
            yield
        finally:
            self.add(-1)


async def run_all(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run calls concurrently and return their results in order.

    The first error cancels the remaining calls, and is raised without an exception group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures.exceptions[0].__cause__
    return [task.result() for task in tasks]
