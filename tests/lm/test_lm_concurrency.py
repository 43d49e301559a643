"""asyncio helpers: values per event loop, and calls that run concurrently."""

import asyncio

import pytest

from archon.errors import LMError
from archon.lm.concurrency import PerLoop, run_all


async def test_the_first_failure_cancels_the_other_calls_and_is_raised_directly() -> None:
    num_waiting, both_wait = 0, asyncio.Event()

    async def wait_forever() -> None:
        nonlocal num_waiting
        num_waiting += 1
        if num_waiting == 2:
            both_wait.set()
        try:
            await asyncio.Event().wait()
        finally:
            num_waiting -= 1

    async def fail() -> None:
        await both_wait.wait()
        raise LMError("no")

    with pytest.raises(LMError, match="no"):
        await run_all([wait_forever(), fail(), wait_forever()])
    assert num_waiting == 0


def test_each_event_loop_has_its_own_value() -> None:
    values = PerLoop(object)

    async def twice() -> tuple[object, object]:
        return values.get(), values.get()

    first, again = asyncio.run(twice())
    assert first is again
    assert asyncio.run(twice())[0] is not first
