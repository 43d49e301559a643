"""``RemoteLM`` over real connections that hang, break or are cancelled."""

import asyncio
from dataclasses import replace

import pytest
from network_doubles import GOOD, REQUEST, network, never, well

from archon.errors import LMError


async def test_a_server_that_never_answers_ends_at_the_deadline() -> None:
    async with network(never) as far:
        lm = far.lm(timeout_seconds=0.05)
        with pytest.raises(LMError, match=r"no answer within 0\.05 seconds") as caught:
            await lm.generate(REQUEST)
        assert caught.value.retryable
        await lm.aclose()


async def test_an_endless_reply_ends_at_the_deadline() -> None:
    async def stall(writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD[:-5])
        await writer.drain()
        await never(writer)

    async with network(stall) as far:
        lm = far.lm(timeout_seconds=0.05)
        with pytest.raises(LMError, match="no answer within"):
            await lm.generate(REQUEST)
        await lm.aclose()


@pytest.mark.parametrize("sent", [b"", GOOD[:30], GOOD[:-5], b"\x00\xff nonsense\r\n\r\n"])
async def test_a_connection_that_breaks_is_retried(sent: bytes) -> None:
    replies = [sent, GOOD]

    async def once(writer: asyncio.StreamWriter) -> None:
        reply = replies.pop(0)
        writer.write(reply)
        if reply != GOOD:
            writer.close()

    async with network(once) as far:
        lm = far.lm()
        [reply] = await lm.generate(REQUEST)
        assert reply.text == "Hello"
        await lm.aclose()


async def test_an_unused_port_is_an_error_after_the_retries() -> None:
    async with network(well) as far:
        lm = far.lm()
    with pytest.raises(LMError, match="cannot connect") as caught:
        await lm.generate(REQUEST)
    assert caught.value.retryable
    await lm.aclose()


async def test_no_more_requests_than_the_limit_are_in_flight() -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        writer.write(GOOD)

    async with network(slowly) as far:
        lm = far.lm(max_concurrency=3)
        await asyncio.gather(*(lm.generate(replace(REQUEST, n=4, seed=s)) for s in range(5)))
        assert far.most_open == 3
        assert far.num_connections == 3, "connections are kept open and used again"
        await lm.aclose()


async def test_cancelled_requests_release_their_slots() -> None:
    async with network(never) as far:
        far.full_at = 2
        lm = far.lm(max_concurrency=2)
        before = asyncio.all_tasks()
        calls = [asyncio.create_task(lm.generate(replace(REQUEST, n=3))) for _ in range(4)]
        await far.is_full.wait()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert asyncio.all_tasks() - far.tasks <= before
        far.serve = well
        assert len(await lm.generate(replace(REQUEST, n=4))) == 4
        await lm.aclose()
