"""The semaphore that event loops share."""

from __future__ import annotations

import asyncio
import threading

import pytest

from archon.sandbox.semaphore import SharedSemaphore


async def test_waiters_are_served_in_order() -> None:
    slots, order = SharedSemaphore(1), []

    async def visit(number: int) -> None:
        async with slots:
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(visit(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4]


async def test_a_waiter_that_leaves_takes_no_slot() -> None:
    slots = SharedSemaphore(1)

    async def wait() -> None:
        async with slots:
            pass

    async with slots:
        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    await asyncio.wait_for(second, 10)
    await asyncio.wait_for(wait(), 10)


async def test_a_waiter_cancelled_at_its_turn_releases_the_slot() -> None:
    slots = SharedSemaphore(1)

    async def wait() -> None:
        async with slots:
            pass

    async with slots:
        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 10)
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(wait(), 10)


def test_loops_of_several_threads_never_exceed_the_limit() -> None:
    slots, lock = SharedSemaphore(2), threading.Lock()
    inside = most = visits = 0

    async def visit() -> None:
        nonlocal inside, most, visits
        async with slots:
            with lock:
                inside, visits = inside + 1, visits + 1
                most = max(most, inside)
            await asyncio.sleep(0.0005)
            with lock:
                inside -= 1

    async def visit_often() -> None:
        await asyncio.gather(*(visit() for _ in range(50)))

    threads = [threading.Thread(target=lambda: asyncio.run(visit_often())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (visits, most, inside) == (200, 2, 0)


def test_a_loop_that_ended_while_it_waited_is_passed_over() -> None:
    slots = SharedSemaphore(1)

    async def leave_waiting() -> asyncio.Task[None]:
        await slots.__aenter__()
        task = asyncio.ensure_future(slots.__aenter__())
        await asyncio.sleep(0)
        return task

    loop = asyncio.new_event_loop()
    waiting = loop.run_until_complete(leave_waiting())
    loop.close()
    slots._release()

    async def visit() -> None:
        async with slots:
            pass

    asyncio.run(asyncio.wait_for(visit(), 10))
    assert not waiting.done()
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]
