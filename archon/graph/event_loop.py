"""Run coroutines from synchronous code, even if the caller runs in an event loop.

All coroutines run in one event loop. Its thread runs until the process ends, because a language
model's connections can be used only in the loop in which they were opened.
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
    """An event loop in a daemon thread, which the first ``run`` starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._loops_of_parents: list[asyncio.AbstractEventLoop | None] = []

    def reset(self) -> None:
        """Drop the thread and the lock in a forked child process.

        A child does not have the parent's thread, and the copied lock may be locked forever. The
        parent's loop is not deleted, because asyncio would warn about its unfinished tasks.
        """
        self._loops_of_parents.append(self._loop)
        self._lock = threading.Lock()
        self._loop = self._thread = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and return its result; an interrupt (Ctrl-C) cancels it.

        Raises
        ------
        UsageError
            The method was called from the loop's own thread, which would wait for itself forever.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise UsageError("run() cannot be called inside a model or node; await arun() instead")
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

    asyncio raises ``SystemExit`` in two places: where the task is awaited, and here.
    """
    while True:
        try:
            return loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue


_shared = LoopThread()
reset_in_child(_shared.reset)


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the process-wide loop and return its result; see ``LoopThread.run``."""
    return _shared.run(coroutine)
