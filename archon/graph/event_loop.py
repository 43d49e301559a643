"""Coroutines run to their end from synchronous code, also where an event loop is running.

All share one loop in a thread of its own, which lives as long as the process: language models may
hold connections that belong to the loop in which they were first used.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from archon.errors import UsageError
from archon.forks import reset_in_child

T = TypeVar("T")


class LoopThread:
    """An event loop in a daemon thread, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._left_behind: list[asyncio.AbstractEventLoop | None] = []

    def forget(self) -> None:
        """Start anew in a forked child, where the thread is missing and the lock may be held.

        The loop that was left behind is kept: to drop it would warn of its unfinished tasks.
        """
        self._left_behind.append(self._loop)
        self._lock = threading.Lock()
        self._loop = self._thread = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for the coroutine's result; an interrupt of the waiting thread cancels it.

        Raises
        ------
        UsageError
            The calling thread is the loop's own, which would wait for itself for ever.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise UsageError("a model cannot wait for an answer here; await arun instead of run")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        try:
            return future.result()
        finally:
            future.cancel()  # does nothing to what has ended

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="archon-loop", daemon=True
                )
                self._thread.start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop for ever: a task that exits, such as a user's function, ends itself alone.

    asyncio gives the exception to whoever waits for the task, and raises it here as well.
    """
    while True:
        try:
            return loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue


_shared = LoopThread()
reset_in_child(_shared.forget)


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result, from the shared loop; see ``LoopThread.run``."""
    return _shared.run(coroutine)
