"""Frequent cancellation leaks nothing."""

from cancel_soak import soak


async def test_a_thousand_cancelled_requests_leak_no_slot_and_no_socket() -> None:
    found = await soak(1000)
    assert found.num_cancelled > 500
    assert found.num_sockets <= 4
    assert found.most_open == 4
    assert (found.num_tasks, found.num_outstanding) == (0, 0)
