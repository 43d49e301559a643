from __future__ import annotations

import asyncio
import signal
import sys
import threading

import pytest

from archon.errors import UsageError
from archon.graph.event_loop import LoopThread


def test_all_calls_share_one_loop() -> None:
    thread = LoopThread()

    async def loop_id() -> int:
        return id(asyncio.get_running_loop())

    assert thread.run(loop_id()) == thread.run(loop_id())


def test_errors_are_raised_in_the_caller() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        LoopThread().run(fail())


def test_a_call_from_the_loop_s_own_thread_is_refused() -> None:
    thread = LoopThread()

    async def inner() -> int:
        return 1

    async def outer() -> int:
        return thread.run(inner())

    with pytest.raises(UsageError, match="arun"):
        thread.run(outer())


def test_an_interrupt_cancels_the_coroutine() -> None:
    main = threading.main_thread().ident
    assert main is not None
    cancelled = threading.Event()

    async def interrupt() -> None:
        while sys._current_frames()[main].f_code.co_name != "wait":  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(KeyboardInterrupt):
        LoopThread().run(interrupt())
    assert cancelled.wait(timeout=10)


def test_a_function_that_exits_ends_its_call_and_not_the_loop() -> None:
    async def leaves() -> None:
        await asyncio.create_task(exits())

    async def exits() -> None:
        raise SystemExit(3)

    async def stays() -> int:
        return 1

    loop = LoopThread()
    with pytest.raises(SystemExit):
        loop.run(leaves())
    assert loop.run(stays()) == 1
