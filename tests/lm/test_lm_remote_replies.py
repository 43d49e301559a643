"""Replies that are invalid, unusual or too large, and their usage."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from remote_doubles import REQUEST, FakeServer, Waits, completion, failure, good, remote

from archon.errors import LMError
from archon.lm.openai import transport
from archon.lm.openai.response import GarbledError
from archon.types import (
    Completion,
    Event,
    TokenDelta,
    Usage,
)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (httpx.Response(200, html="<html>login</html>"), "text/html"),
        (httpx.Response(200, content=b"Hello"), "content type application/json, not ''"),
        (httpx.Response(200, content=b"{}"), "lacks a list of choices"),
        (httpx.Response(200, text="Hello"), "content type application/json, not 'text/plain'"),
        (httpx.Response(307, headers={"location": "http://two.test/"}), "redirect to http://two"),
        (httpx.Response(200, content=b'{"a', headers={"content-type": "application/json"}), "JSON"),
        (httpx.Response(200, json=[1]), "not a JSON object"),
        (httpx.Response(200, json={}), "lacks a list of choices"),
        (httpx.Response(200, json={"choices": []}), "0 of 1 requested texts"),
        (httpx.Response(200, json={"choices": [7]}), "not an object"),
        (httpx.Response(200, json={"choices": [{"index": 4}]}), "was not requested"),
        (httpx.Response(200, json={"choices": [{"finish_reason": "stop"}]}), "without a message"),
        (httpx.Response(200, json=completion(7)), "no text"),
        (httpx.Response(200, json=completion("x", "what")), "unknown finish_reason: 'what'"),
        (httpx.Response(200, json=completion("x", 3)), "unknown finish_reason: '3'"),
        (httpx.Response(200, json=completion("x", "error")), "did not finish"),
        (httpx.Response(200, json=completion([7])), "no text"),
        (httpx.Response(200, json=completion("x", "content_filter")), "withheld"),
        (httpx.Response(200, json=completion("x", "tool_calls")), "tool_calls"),
        (httpx.Response(200, json=completion("x", None)), "finish_reason"),
        (httpx.Response(200, json={"error": {"message": "overloaded"}}), "overloaded"),
        (httpx.Response(200, json=completion(), headers={"content-encoding": "br"}), "compressed"),
        (httpx.Response(500, html="<html>oops"), "an HTML page"),
        (httpx.Response(404, text="nothing\nhere"), "nothing here"),
        (httpx.Response(404, json={"error": "no such model"}), "no such model"),
        (httpx.Response(404, json=[]), r"\[\]"),
    ],
)
async def test_an_invalid_reply_is_a_clear_error(reply: httpx.Response, words: str) -> None:
    with pytest.raises(LMError, match=words):
        raise await failure(reply)


JSON_HEAD = {"content-type": "application/json"}
GARBLED = [
    httpx.Response(200, content=json.dumps(completion()).encode()[:-9], headers=JSON_HEAD),
    httpx.Response(200, content=b"", headers=JSON_HEAD),
    httpx.Response(200, html="<html>one moment, please</html>"),
    httpx.Response(200, content=b"one moment, please"),
    httpx.Response(200, json=[completion()]),
    httpx.Response(200, json={"id": "x"}),
    httpx.Response(200, json={"choices": []}),
    httpx.Response(200, json={"choices": [None]}),
    httpx.Response(200, json={"choices": [{"index": 0, "finish_reason": "stop"}]}),
]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("reply", GARBLED)
async def test_a_garbled_reply_is_retried(reply: httpx.Response, streams: bool) -> None:
    server, waits = FakeServer(reply, reply), Waits()
    events: list[Event] = []
    [answer] = await remote(server, waits).generate(REQUEST, events.append if streams else None)
    assert answer.text == "Hello"
    assert len(server.requests) == 3
    assert waits.seconds == [1, 2]
    assert events == ([TokenDelta(0, "Hello")] if streams else [])


@pytest.mark.parametrize("reply", GARBLED)
async def test_a_permanently_garbled_reply_is_reported_within_the_deadline(
    reply: httpx.Response,
) -> None:
    with pytest.raises(GarbledError, match=r"http://one\.test/v1/chat/completions: .+"):
        await remote(FakeServer(*[reply] * 3)).generate(REQUEST)
    server = FakeServer(*[reply] * 3)
    with pytest.raises(LMError, match=r"far: no answer within 1 seconds; last failure: .+"):
        await remote(server, timeout_seconds=1).generate(REQUEST)
    assert len(server.requests) == 1


async def test_another_replica_is_asked_after_a_garbled_reply() -> None:
    def half_garbled(request: httpx.Request) -> httpx.Response:
        return GARBLED[0] if request.url.host == "one.test" else good(request)

    waits = Waits()
    lm = remote(half_garbled, waits, base_urls=["http://one.test/v1", "http://two.test/v1"])
    [answer] = await lm.generate(REQUEST)
    assert (answer.text, waits.seconds) == ("Hello", [])


async def test_missing_texts_are_failed_samples_and_not_requested_again() -> None:
    server = FakeServer()
    one, two = await remote(server, native_n=True).generate(replace(REQUEST, n=2))
    assert (one.text, one.error, one.usage.completion_tokens) == ("Hello", None, 2)
    assert (two.text, two.finish_reason, two.usage) == ("", "error", Usage())
    assert "1 of 2 requested texts; if the server does not support n" in (two.error or "")
    assert len(server.requests) == 1


async def test_deep_nesting_is_a_clear_error() -> None:
    content = b'{"choices":' + b"[" * 500_000
    headers = {"content-type": "application/json"}
    assert "JSON" in str(await failure(httpx.Response(200, content=content, headers=headers)))


async def test_a_huge_reply_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_REPLY_BYTES", 2**20)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 65536

    headers = {"content-type": "application/json"}
    reply = httpx.Response(200, content=endless(), headers=headers)
    assert "larger than 1 MiB" in str(await failure(reply))
    assert sent <= 18


@pytest.mark.parametrize("name", ["eos", "end_turn", "stop_sequence"])
async def test_finish_reasons_of_other_servers_are_known(name: str) -> None:
    [reply] = await remote(FakeServer(httpx.Response(200, json=completion("x", name)))).generate(
        REQUEST
    )
    assert reply.finish_reason == "stop"


async def one(**usage: object) -> Completion:
    server = FakeServer(httpx.Response(200, json=completion(usage=usage)))
    [reply] = await remote(server).generate(REQUEST)
    return reply


async def test_usage_is_counted_by_the_server() -> None:
    reply = await one(
        prompt_tokens=9, completion_tokens=4, prompt_tokens_details={"cached_tokens": 8}
    )
    assert reply.usage == Usage(9, 8, 4, 4, 0, 1)
    assert list(reply.prompts.values()) == [9]


@pytest.mark.parametrize("count", [None, -1, "seven", 7.5, 1e99, True, 10**30])
async def test_absurd_usage_counts_as_0(count: object) -> None:
    reply = await one(prompt_tokens=count, completion_tokens=count, prompt_tokens_details=count)
    assert reply.usage == Usage(calls=1)


async def test_log_probabilities_are_read_if_the_card_promises_them() -> None:
    reply = completion()
    reply["choices"][0]["logprobs"] = {"content": [{"logprob": -0.5}, {"logprob": -1}]}
    server = FakeServer(httpx.Response(200, json=reply))
    lm = remote(server, logprobs=True)
    [got] = await lm.generate(replace(REQUEST, logprobs=True))
    assert got.logprobs == (-0.5, -1.0)
    assert server.bodies[0]["logprobs"] is True
    with pytest.raises(LMError, match="sent no log-probabilities"):
        await lm.generate(replace(REQUEST, logprobs=True))


async def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    content = json.dumps(completion("x")).replace('"x"', '"a\\ud83eb"').encode()
    reply = httpx.Response(200, content=content, headers={"content-type": "application/json"})
    [got] = await remote(FakeServer(reply)).generate(REQUEST)
    assert got.text == "a\ufffdb"
