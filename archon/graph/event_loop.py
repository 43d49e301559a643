"""Execution of coroutines from synchronous code, even inside a running event loop.

All coroutines run in one loop in a dedicated thread, which lives as long as the process, because
connections of language models belong to the loop in which they were first used.
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
        self._loops_of_parents: list[asyncio.AbstractEventLoop | None] = []

    def reset(self) -> None:
        """Reset the state in a forked child, where the thread is missing and the lock may be held.

        The parent's loop is kept, because deleting it would warn about its unfinished tasks.
        """
        self._loops_of_parents.append(self._loop)
        self._lock = threading.Lock()
        self._loop = self._thread = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for the coroutine's result. An interrupt of the waiting thread cancels it.

        Raises
        ------
        UsageError
            The calling thread is the loop's thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise UsageError("run cannot be called from a model or a node; await arun instead")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        try:
            return future.result()
        finally:
            future.cancel()  # no effect on a finished one

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
    """Run the loop forever, even if a task, such as a user's function, calls ``sys.exit``.

    asyncio raises the exception in the code that awaits the task, and here as well.
    """
    while True:
        try:
            return loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue


_shared = LoopThread()
reset_in_child(_shared.reset)


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the shared loop and return its result; see ``LoopThread.run``."""
    return _shared.run(coroutine)
