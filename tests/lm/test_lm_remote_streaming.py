"""Streamed replies."""

from dataclasses import replace

import pytest
from remote_doubles import REQUEST, FakeServer, delta, remote, sse

from archon.errors import LMError
from archon.types import (
    Event,
    TokenDelta,
    Usage,
)


async def test_a_stream_is_forwarded_and_concatenated() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    server = FakeServer(
        sse(delta(None), delta("Hel"), delta("lo"), delta("", "length"), usage, "[DONE]")
    )
    events: list[Event] = []
    [reply] = await remote(server).generate(replace(REQUEST, first_draw=6), events.append)
    assert events == [TokenDelta(6, "Hel"), TokenDelta(6, "lo")]
    assert (reply.text, reply.finish_reason) == ("Hello", "length")
    assert reply.usage == Usage(5, 0, 2, 2, 0, 1)
    assert server.bodies[0]["stream_options"] == {"include_usage": True}


async def test_a_server_that_does_not_stream_sends_one_delta() -> None:
    events: list[Event] = []
    await remote(FakeServer()).generate(REQUEST, events.append)
    assert events == [TokenDelta(0, "Hello")]


async def test_a_stream_that_breaks_before_the_first_token_is_retried() -> None:
    events: list[Event] = []
    server = FakeServer(sse(delta(None)), sse(delta("x", "stop")))
    [reply] = await remote(server).generate(REQUEST, events.append)
    assert reply.text == "x"


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ([], "ended before its text"),
        (["{oops"], "not valid JSON"),
        ([{"error": {"message": "out of memory"}}], "out of memory"),
        ([delta(7)], "not text"),
        ([delta("x", index=1)], "was not requested"),
    ],
)
async def test_a_stream_that_breaks_after_the_first_token_is_not_retried(
    tail: list[object], words: str
) -> None:
    server = FakeServer(sse(delta("Hel"), *tail))
    with pytest.raises(LMError, match=words) as caught:
        await remote(server).generate(REQUEST, lambda event: None)
    assert not caught.value.retryable
    assert len(server.requests) == 1
