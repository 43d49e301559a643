"""Retries of ``RemoteLM``: which errors, how long, and other replicas."""

import httpx
import pytest
from remote_doubles import REQUEST, FakeServer, Waits, failure, good, remote

from archon.errors import LMError


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_a_temporary_failure_is_retried(status: int) -> None:
    waits = Waits()
    server = FakeServer(httpx.Response(status), httpx.Response(status))
    [reply] = await remote(server, waits).generate(REQUEST)
    assert reply.text == "Hello"
    assert waits.seconds == [1, 2]
    assert server.bodies[0] == server.bodies[2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refusal_is_not_retried(status: int) -> None:
    server = FakeServer(httpx.Response(status, json={"error": {"message": "too bad"}}))
    with pytest.raises(LMError, match=rf"one\.test.*status {status}: too bad") as caught:
        await remote(server).generate(REQUEST)
    assert not caught.value.retryable
    assert len(server.requests) == 1


async def test_retry_after_is_respected() -> None:
    waits = Waits()
    server = FakeServer(httpx.Response(429, headers={"retry-after": "17"}))
    await remote(server, waits).generate(REQUEST)
    assert waits.seconds == [18]


async def test_a_wait_beyond_the_deadline_is_an_immediate_error() -> None:
    waits = Waits()
    server = FakeServer(httpx.Response(429, headers={"retry-after": "400"}))
    with pytest.raises(LMError, match="far: no answer within 20 seconds") as caught:
        await remote(server, waits, timeout_seconds=20).generate(REQUEST)
    assert caught.value.retry_after_seconds == 400
    assert waits.seconds == []


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut off"),
        httpx.WriteError(""),
        httpx.ConnectTimeout("slow"),
    ],
)
async def test_a_broken_connection_is_retried(error: Exception) -> None:
    server = FakeServer(error)
    await remote(server).generate(REQUEST)
    assert len(server.requests) == 2


async def test_a_permanently_broken_connection_is_a_retryable_error() -> None:
    error = await failure(httpx.ReadError("reset by peer"))
    assert error.retryable
    assert "reset by peer" in str(error)


async def test_an_unreachable_server_is_skipped_at_once() -> None:
    waits = Waits()
    hosts: list[str] = []

    def half_dead(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        if request.url.host == "one.test":
            raise httpx.ConnectError("refused")
        return good(request)

    lm = remote(half_dead, waits, base_urls=["http://one.test/v1", "http://two.test/v1/"])
    await lm.generate(REQUEST)
    await lm.generate(REQUEST)
    assert hosts == ["one.test", "two.test", "two.test"]
    assert waits.seconds == []
