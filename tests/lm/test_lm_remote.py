"""The remote model over servers that behave in every way that servers do."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from archon.errors import LMError
from archon.lm.openai import transport
from archon.lm.openai.response import GarbledError
from archon.lm.remote import RemoteLM
from archon.lm.retry import Backoff, Clock
from archon.spec.model import OpenAICard
from archon.types import (
    Completion,
    Event,
    Message,
    ModelStatus,
    Request,
    SamplingParams,
    TokenDelta,
    Usage,
)

KEY = "sk-very/secret-42"
REQUEST = Request((Message("user", "Hi"),), seed=3)
Handler = Callable[[httpx.Request], httpx.Response]


def completion(text: object = "Hello", reason: object = "stop", **more: object) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    return {"choices": [{**choice, "finish_reason": reason}], "usage": usage, **more}


def good(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=completion())


class Server:
    """Answers with each of the given replies in turn, then well; keeps what it was sent."""

    def __init__(self, *replies: httpx.Response | Exception) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if self.replies else good(request)
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]


class Wire(httpx.AsyncBaseTransport):
    """Brings a handler's reply as a network would: its body has yet to be read."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        reply = self._handler(request)
        if not reply.is_stream_consumed:
            return reply
        body = chunks(reply.content)
        return httpx.Response(reply.status_code, headers=reply.headers, content=body)


async def chunks(content: bytes, size: int = 4096) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


class Waits:
    """A clock that does not wait, and remembers how long it should have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.clock = Clock(sleep=self._sleep, uniform=lambda low, high: high)

    async def _sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


def remote(handler: Handler, waits: Waits | None = None, **values: object) -> RemoteLM:
    card = {
        "name": "far",
        "backend": "openai",
        "base_urls": ["http://one.test/v1"],
        "model": "m",
        **values,
    }
    return RemoteLM(
        OpenAICard.model_validate(card),
        api_key=KEY,
        clock=(waits or Waits()).clock,
        backoff=Backoff(max_attempts=3, base_seconds=1),
        http=Wire(handler),
    )


async def failure(reply: httpx.Response | Exception, on_event: Any = None) -> LMError:
    """The error that one bad reply leads to, where no retry helps."""
    lm = remote(Server(*[reply] * 3))
    with pytest.raises(LMError) as caught:
        await lm.generate(REQUEST, on_event)
    return caught.value


def sse(*events: object) -> httpx.Response:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    content = "".join(f"data: {line}\n\n" for line in lines).encode()
    return httpx.Response(200, content=content, headers={"content-type": "text/event-stream"})


def delta(text: object, reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}


# ---------------------------------------------------------------------------- what is sent


async def test_the_request_says_what_was_asked_and_no_more() -> None:
    server = Server()
    lm = remote(server, sampling={"temperature": 0.5, "stop": ["END"]})
    await lm.generate(replace(REQUEST, sampling=SamplingParams(max_tokens=9, top_k=0)))
    [body] = server.bodies
    assert body.pop("seed") in range(2**31)
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["END"],
    }
    assert str(server.requests[0].url) == "http://one.test/v1/chat/completions"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_sampling_beyond_openai_s_is_sent_where_it_changes_something() -> None:
    server = Server()
    sampling = SamplingParams(top_k=40, top_p=0.9, min_p=0.05)
    await remote(server).generate(replace(REQUEST, sampling=sampling))
    [body] = server.bodies
    assert (body["top_k"], body["top_p"], body["min_p"]) == (40, 0.9, 0.05)


async def test_each_draw_has_its_own_seed_that_prompt_seed_and_number_decide() -> None:
    server = Server()
    lm = remote(server, max_concurrency=1)
    await lm.generate(replace(REQUEST, n=3))
    await lm.generate(replace(REQUEST, first_draw=1, n=2))
    await lm.generate(replace(REQUEST, seed=4))
    await lm.generate(replace(REQUEST, messages=(Message("user", "Ho"),)))
    seeds = [body["seed"] for body in server.bodies]
    assert seeds[3:5] == seeds[1:3]
    assert len({*seeds}) == 5


async def test_its_status_counts_the_calls_under_way_and_those_that_wait() -> None:
    seen: list[ModelStatus] = []

    class Slow(Wire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(0.001)  # the other calls go as far as they can
            seen.append(lm.status())
            return await super().handle_async_request(request)

    card = {"name": "far", "backend": "openai", "base_urls": ["http://one.test/v1"], "model": "m"}
    lm = RemoteLM(OpenAICard.model_validate(card | {"max_concurrency": 1}), http=Slow(good))
    await lm.generate(replace(REQUEST, n=3))
    assert [(s.num_running, s.num_waiting) for s in seen] == [(1, 2), (1, 1), (1, 0)]
    assert lm.status() == ModelStatus("calling", generated_tokens=6)


async def test_a_call_that_fails_or_is_cancelled_is_under_way_no_more() -> None:
    lm = remote(Server(*[httpx.Response(400)] * 3), max_concurrency=1)
    with pytest.raises(LMError):
        await lm.generate(replace(REQUEST, n=3))
    assert lm.status() == ModelStatus("calling")
    assert (await lm.generate(REQUEST))[0].text == "Hello"  # the place is free again


async def test_native_n_is_one_request_whose_usage_is_divided() -> None:
    reply = completion()
    reply["choices"] = [
        {"index": i, "message": {"content": text}, "finish_reason": "stop"}
        for i, text in [(1, "b"), (0, "a"), (2, "c")]
    ]
    reply["usage"] = {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    server = Server(httpx.Response(200, json=reply))
    completions = await remote(server, native_n=True).generate(replace(REQUEST, n=3, first_draw=2))
    assert [body["n"] for body in server.bodies] == [3]
    assert [(c.draw, c.text) for c in completions] == [(2, "a"), (3, "b"), (4, "c")]
    assert [c.usage.completion_tokens for c in completions] == [3, 2, 2]
    assert all(c.usage.prompt_tokens == 5 and c.usage.cached_tokens == 4 for c in completions)


async def test_unicode_goes_out_and_comes_back_unchanged() -> None:
    text = "数学 🧮 naïve \u2028 \x00 \\u0041"

    def said(request: httpx.Request) -> httpx.Response:
        [message] = json.loads(request.content)["messages"]
        return httpx.Response(200, json=completion(message["content"]))

    [reply] = await remote(said).generate(replace(REQUEST, messages=(Message("user", text),)))
    assert reply.text == text


# ---------------------------------------------------------------------- trying again


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again(status: int) -> None:
    waits = Waits()
    server = Server(httpx.Response(status), httpx.Response(status))
    [reply] = await remote(server, waits).generate(REQUEST)
    assert reply.text == "Hello"
    assert waits.seconds == [1, 2]
    assert server.bodies[0] == server.bodies[2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refusal_is_not_tried_again(status: int) -> None:
    server = Server(httpx.Response(status, json={"error": {"message": "too bad"}}))
    with pytest.raises(LMError, match=rf"one\.test.*status {status}: too bad") as caught:
        await remote(server).generate(REQUEST)
    assert not caught.value.retryable
    assert len(server.requests) == 1


async def test_a_server_that_asks_to_wait_is_obeyed() -> None:
    waits = Waits()
    server = Server(httpx.Response(429, headers={"retry-after": "17"}))
    await remote(server, waits).generate(REQUEST)
    assert waits.seconds == [18]


async def test_waiting_longer_than_the_deadline_is_an_error_now() -> None:
    waits = Waits()
    server = Server(httpx.Response(429, headers={"retry-after": "400"}))
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
async def test_a_broken_connection_is_tried_again(error: Exception) -> None:
    server = Server(error)
    await remote(server).generate(REQUEST)
    assert len(server.requests) == 2


async def test_a_connection_that_stays_broken_is_a_retryable_error() -> None:
    error = await failure(httpx.ReadError("reset by peer"))
    assert error.retryable
    assert "reset by peer" in str(error)


async def test_an_unreachable_server_is_passed_over_at_once_and_from_then_on() -> None:
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


# ------------------------------------------------------------------------- strict reading


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (httpx.Response(200, html="<html>login</html>"), "text/html"),
        (httpx.Response(200, content=b"Hello"), "of the type ''"),
        (httpx.Response(200, content=b"{}"), "no list of choices"),
        (httpx.Response(200, text="Hello"), "of the type 'text/plain'"),
        (httpx.Response(307, headers={"location": "http://two.test/"}), "redirect to http://two"),
        (httpx.Response(200, content=b'{"a', headers={"content-type": "application/json"}), "JSON"),
        (httpx.Response(200, json=[1]), "not a JSON object"),
        (httpx.Response(200, json={}), "no list of choices"),
        (httpx.Response(200, json={"choices": []}), "1 texts were asked for, 0 came"),
        (httpx.Response(200, json={"choices": [7]}), "no object"),
        (httpx.Response(200, json={"choices": [{"index": 4}]}), "nobody asked for"),
        (httpx.Response(200, json={"choices": [{"finish_reason": "stop"}]}), "without a message"),
        (httpx.Response(200, json=completion(7)), "no text"),
        (httpx.Response(200, json=completion("x", "what")), "unknown finish_reason 'what'"),
        (httpx.Response(200, json=completion("x", 3)), "unknown finish_reason '3'"),
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
async def test_a_reply_that_is_none_is_a_clear_error(reply: httpx.Response, words: str) -> None:
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
async def test_a_garbled_reply_is_a_fault_of_the_server_and_tried_again(
    reply: httpx.Response, streams: bool
) -> None:
    server, waits = Server(reply, reply), Waits()
    events: list[Event] = []
    [answer] = await remote(server, waits).generate(REQUEST, events.append if streams else None)
    assert answer.text == "Hello"
    assert len(server.requests) == 3
    assert waits.seconds == [1, 2]
    assert events == ([TokenDelta(0, "Hello")] if streams else [])


@pytest.mark.parametrize("reply", GARBLED)
async def test_what_stays_garbled_is_told_as_such_within_the_deadline(
    reply: httpx.Response,
) -> None:
    with pytest.raises(GarbledError, match=r"http://one\.test/v1/chat/completions: .+"):
        await remote(Server(*[reply] * 3)).generate(REQUEST)
    server = Server(*[reply] * 3)
    with pytest.raises(LMError, match=r"far: no answer within 1 seconds; the last failure: .+"):
        await remote(server, timeout_seconds=1).generate(REQUEST)
    assert len(server.requests) == 1


async def test_another_replica_is_asked_where_one_is_garbled() -> None:
    def half_garbled(request: httpx.Request) -> httpx.Response:
        return GARBLED[0] if request.url.host == "one.test" else good(request)

    waits = Waits()
    lm = remote(half_garbled, waits, base_urls=["http://one.test/v1", "http://two.test/v1"])
    [answer] = await lm.generate(REQUEST)
    assert (answer.text, waits.seconds) == ("Hello", [])


async def test_texts_that_are_missing_are_failed_samples_and_not_asked_for_again() -> None:
    server = Server()
    one, two = await remote(server, native_n=True).generate(replace(REQUEST, n=2))
    assert (one.text, one.error, one.usage.completion_tokens) == ("Hello", None, 2)
    assert (two.text, two.finish_reason, two.usage) == ("", "error", Usage())
    assert "2 texts were asked for, 1 came; does the server know n" in (two.error or "")
    assert len(server.requests) == 1


async def test_deep_nesting_is_a_clear_error() -> None:
    content = b'{"choices":' + b"[" * 500_000
    headers = {"content-type": "application/json"}
    assert "JSON" in str(await failure(httpx.Response(200, content=content, headers=headers)))


async def test_a_huge_reply_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_other_servers_words_for_a_stop_are_known(name: str) -> None:
    [reply] = await remote(Server(httpx.Response(200, json=completion("x", name)))).generate(
        REQUEST
    )
    assert reply.finish_reason == "stop"


async def one(**usage: object) -> Completion:
    server = Server(httpx.Response(200, json=completion(usage=usage)))
    [reply] = await remote(server).generate(REQUEST)
    return reply


async def test_usage_is_the_server_s_count() -> None:
    reply = await one(
        prompt_tokens=9, completion_tokens=4, prompt_tokens_details={"cached_tokens": 8}
    )
    assert reply.usage == Usage(9, 8, 4, 4, 0, 1)
    assert list(reply.prompts.values()) == [9]


@pytest.mark.parametrize("count", [None, -1, "seven", 7.5, 1e99, True, 10**30])
async def test_absurd_usage_counts_as_0(count: object) -> None:
    reply = await one(prompt_tokens=count, completion_tokens=count, prompt_tokens_details=count)
    assert reply.usage == Usage(calls=1)


async def test_log_probabilities_are_read_where_the_card_promises_them() -> None:
    reply = completion()
    reply["choices"][0]["logprobs"] = {"content": [{"logprob": -0.5}, {"logprob": -1}]}
    server = Server(httpx.Response(200, json=reply))
    lm = remote(server, logprobs=True)
    [got] = await lm.generate(replace(REQUEST, logprobs=True))
    assert got.logprobs == (-0.5, -1.0)
    assert server.bodies[0]["logprobs"] is True
    with pytest.raises(LMError, match="promises"):
        await lm.generate(replace(REQUEST, logprobs=True))


async def test_half_of_a_surrogate_pair_becomes_a_replacement_character() -> None:
    content = json.dumps(completion("x")).replace('"x"', '"a\\ud83eb"').encode()
    reply = httpx.Response(200, content=content, headers={"content-type": "application/json"})
    [got] = await remote(Server(reply)).generate(REQUEST)
    assert got.text == "a\ufffdb"


# ------------------------------------------------------------------------------- streaming


async def test_a_stream_is_joined_and_passed_on() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    server = Server(
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
    await remote(Server()).generate(REQUEST, events.append)
    assert events == [TokenDelta(0, "Hello")]


async def test_a_stream_that_breaks_before_the_first_token_is_tried_again() -> None:
    events: list[Event] = []
    server = Server(sse(delta(None)), sse(delta("x", "stop")))
    [reply] = await remote(server).generate(REQUEST, events.append)
    assert reply.text == "x"


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ([], "ended before its text"),
        (["{oops"], "not valid JSON"),
        ([{"error": {"message": "out of memory"}}], "out of memory"),
        ([delta(7)], "not text"),
        ([delta("x", index=1)], "nobody asked for"),
    ],
)
async def test_a_stream_that_breaks_after_it_is_not_tried_again(
    tail: list[object], words: str
) -> None:
    server = Server(sse(delta("Hel"), *tail))
    with pytest.raises(LMError, match=words) as caught:
        await remote(server).generate(REQUEST, lambda event: None)
    assert not caught.value.retryable
    assert len(server.requests) == 1


# -------------------------------------------------------------------------------- the key


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(401, json={"error": {"message": f"bad key: {KEY}"}}),
        httpx.Response(401, text=f"bad key {KEY}"),
        httpx.Response(401, text="x" * 490 + KEY),
        httpx.Response(
            200, content=f'{{"a": "{KEY}'.encode(), headers={"content-type": "application/json"}
        ),
        httpx.Response(
            200,
            content=f'{{"a": "{KEY}'.replace("/", "\\/").encode(),
            headers={"content-type": "application/json"},
        ),
        httpx.Response(200, json={"error": {"message": KEY}}),
        httpx.Response(302, headers={"location": f"http://two.test/?key={KEY}"}),
        httpx.Response(200, text="", headers={"content-type": KEY}),
        httpx.ReadError(f"lost {KEY}"),
    ],
)
async def test_the_key_is_in_no_error(reply: httpx.Response | Exception) -> None:
    error = await failure(reply)
    seen: BaseException | None = error
    while seen is not None:
        assert KEY not in f"{seen!r} {seen}"
        seen = seen.__cause__
    assert "secret" not in str(error)


async def test_the_key_is_in_no_repr_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lm = remote(Server(httpx.Response(500, text=KEY)))
    await lm.generate(REQUEST)
    assert KEY not in repr(lm)
    assert KEY not in caplog.text
    assert caplog.records
