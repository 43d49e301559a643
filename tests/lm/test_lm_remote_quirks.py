"""Deviations of servers' replies: accepted, refused, or a failure of one sample."""

import asyncio
import gzip
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from remote_doubles import REQUEST, FakeServer, chunks, completion, delta, good, remote, sse

from archon.errors import LMError, RefusedError
from archon.lm.openai import transport
from archon.lm.openai.client import RemoteLM
from archon.lm.openai.finish_reasons import FAILED, LENGTH, STOP, TOOL, WITHHELD, has_ended
from archon.lm.openai.response import GarbledError
from archon.types import Completion, Event, TokenDelta, Usage


def replied(data: object) -> FakeServer:
    return FakeServer(*[httpx.Response(200, json=data)] * 3)


def message(finish: object = "stop", **values: object) -> dict[str, Any]:
    reply = completion("", finish)
    reply["choices"][0]["message"] = {"role": "assistant", **values}
    return reply


async def one(data: object) -> Completion:
    [sample] = await remote(replied(data)).generate(REQUEST)
    return sample


# -------------------------------------------------------------------------- complete replies


@pytest.mark.parametrize("values", [{"content": None}, {}, {"content": ""}, {"content": []}])
async def test_no_content_with_a_normal_end_is_an_empty_text(values: dict[str, Any]) -> None:
    sample = await one(message(**values))
    assert (sample.text, sample.finish_reason, sample.error) == ("", "stop", None)


@pytest.mark.parametrize("word", sorted(STOP | {"STOP", "end turn", "Eos-Token"}))
async def test_finish_reasons_for_a_complete_text(word: str) -> None:
    assert (await one(completion("x", word))).finish_reason == "stop"


@pytest.mark.parametrize("word", sorted(LENGTH | {"MAX_TOKENS"}))
async def test_finish_reasons_for_a_truncated_text(word: str) -> None:
    assert (await one(completion("x", word))).finish_reason == "length"


@pytest.mark.parametrize("word", sorted(WITHHELD | TOOL | FAILED | {"whatever"}))
async def test_finish_reasons_without_a_usable_text(word: str) -> None:
    with pytest.raises(LMError, match=word):
        await one(completion("x", word))


@pytest.mark.parametrize("value", [None, "", " ", "null", "NULL", "None"])
def test_finish_reasons_of_an_unfinished_text(value: object) -> None:
    assert not has_ended(value)


@pytest.mark.parametrize(("tokens", "reason"), [(2, "stop"), (512, "length")])
async def test_a_reply_with_an_empty_finish_reason_is_complete_with_a_note(
    tokens: int, reason: str
) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": tokens}
    sample = await one(completion("x", "", usage=usage))
    assert (sample.text, sample.finish_reason) == ("x", reason)
    assert sample.notes == ("the server sent no finish_reason; 'stop' is assumed",)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"content": None, "refusal": "I cannot"}, r"the model refused \(I cannot\)"),
        ({"content": [{"type": "refusal", "refusal": "No"}]}, r"the model refused \(No\)"),
        ({"content": None, "tool_calls": [{"id": "1"}]}, "called a tool"),
        ({"content": [{"type": "image_url"}]}, "a part of the type 'image_url'"),
        ({"content": [{"type": ["text"], "text": "x"}]}, "a part of the type"),
        ({"content": {"text": "x"}}, "must be a string or a list"),
    ],
)
async def test_a_message_without_text_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(LMError, match=words):
        await one(message(**values))


async def test_texts_with_equal_indices_are_distinguished() -> None:
    choice = completion()["choices"][0]
    texts = [{**choice, "message": {"content": text}} for text in "ab"]
    lm = remote(replied(completion() | {"choices": texts}), native_n=True)
    assert [c.text for c in await lm.generate(replace(REQUEST, n=2))] == ["a", "b"]
    with pytest.raises(LMError, match="was not requested"):
        await one(completion() | {"choices": texts})


# -------------------------------------------------------------------------------- reasoning

REASONINGS: list[dict[str, object]] = [
    {"reasoning_content": "2 + 3"},
    {"reasoning": "2 + 3"},
    {"reasoning_content": "2 + 3", "reasoning": "2 + 3"},
    {"reasoning_content": None, "reasoning": "2 + 3"},
    {"reasoning_details": [{"type": "reasoning.text", "text": "2 + 3"}]},
    {"reasoning_details": [{"type": "reasoning.summary", "summary": "2 + 3"}]},
]


@pytest.mark.parametrize("reasoning", REASONINGS)
@pytest.mark.parametrize("streams", [False, True])
async def test_reasoning_is_not_part_of_the_text(
    reasoning: dict[str, object], streams: bool
) -> None:
    parts = [{"content": None, **reasoning}, {"content": "5"}]
    sent = [{"choices": [{"index": 0, "delta": part}]} for part in parts]
    server = (
        FakeServer(sse(*sent, delta("", "stop"), "[DONE]"))
        if streams
        else replied(message(content="5", **reasoning))
    )
    heard: list[Event] = []
    [sample] = await remote(server).generate(REQUEST, heard.append)
    assert (sample.text, sample.reasoning) == ("5", "2 + 3")
    assert heard == [TokenDelta(0, "2 + 3", is_reasoning=True), TokenDelta(0, "5")]


@pytest.mark.parametrize("values", [{"content": None}, {}, {"content": ""}])
async def test_truncated_reasoning_is_not_an_answer(values: dict[str, Any]) -> None:
    sample = await one(message("length", reasoning="2 + ", **values))
    assert (sample.text, sample.reasoning, sample.is_reasoning_cut_off) == ("", "2 + ", True)
    sample = await one(message("stop", reasoning="2 + 3", **values))
    assert (sample.text, sample.reasoning, sample.is_reasoning_cut_off) == ("", "2 + 3", True)
    assert sample.notes == ("the reply contains reasoning but no answer",)


# --------------------------------------------------------------- texts in unusual places


@pytest.mark.parametrize(
    "content",
    [["Hel", "lo"], [{"text": "Hel"}, {"type": "text", "text": "lo"}], "\ufeffHello"],
)
async def test_unusual_content_is_read_as_text(content: Any) -> None:
    assert (await one(message(content=content))).text == "Hello"
    heard: list[Event] = []
    [sample] = await remote(FakeServer(sse(delta(content), delta("!", "stop")))).generate(
        REQUEST, heard.append
    )
    assert sample.text == "Hello!"
    assert heard == [TokenDelta(0, "Hello"), TokenDelta(0, "!")]


async def test_a_chat_choice_with_only_a_text_is_read() -> None:
    choice = {"index": 0, "text": "Hello", "finish_reason": "stop"}
    assert (await one(completion() | {"choices": [choice]})).text == "Hello"
    heard: list[Event] = []
    parts = [{"index": 0, "text": "Hel"}, {"index": 0, "text": "lo", "delta": None}]
    server = FakeServer(sse(*({"choices": [part]} for part in parts), delta("", "stop")))
    [sample] = await remote(server).generate(REQUEST, heard.append)
    assert sample.text == "Hello"
    assert heard == [TokenDelta(0, "Hel"), TokenDelta(0, "lo")]


@pytest.mark.parametrize(
    "error", [{"message": "upstream is down", "code": 502}, "upstream is down"]
)
async def test_an_error_of_a_choice_is_an_error_of_the_sample(error: object) -> None:
    bad = {"index": 1, "message": {"content": ""}, "finish_reason": "stop", "error": error}
    reply = completion("a") | {"choices": [completion("a")["choices"][0], bad]}
    samples = await remote(replied(reply), native_n=True).generate(replace(REQUEST, n=2))
    assert samples[0].text == "a"
    assert "upstream is down" in (samples[1].error or "")
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "error": error}]}
    with pytest.raises(LMError, match="upstream is down"):
        await remote(FakeServer(sse(delta("a"), last))).generate(REQUEST, lambda event: None)


@pytest.mark.parametrize("index", ["0", 0.0])
@pytest.mark.parametrize("streams", [False, True])
async def test_indices_of_other_types_are_read(index: object, streams: bool) -> None:
    reply = completion()
    reply["choices"][0]["index"] = index
    last = {"choices": [{"index": index, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}
    server = FakeServer(sse(last)) if streams else replied(reply)
    [sample] = await remote(server).generate(REQUEST, (lambda event: None) if streams else None)
    assert sample.text == "Hello"


# ------------------------------------------------------------------------- unusual envelopes

WHOLE = json.dumps(completion()).encode()
STREAM = b": hello\n\n" + sse(delta("Hel"), delta("lo", "stop"), "[DONE]").content


@pytest.mark.parametrize("content", [WHOLE, b"\n " + WHOLE, STREAM, STREAM[9:]])
@pytest.mark.parametrize("kind", [None, "text/plain; charset=utf-8"])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_reply_with_an_uninformative_media_type_is_read(
    content: bytes, kind: str | None, streams: bool
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    server = FakeServer(httpx.Response(200, content=content, headers=headers))
    [sample] = await remote(server).generate(REQUEST, (lambda event: None) if streams else None)
    assert sample.text == "Hello"
    assert len(server.requests) == 1


def zipped(status: int, body: bytes, kind: str = "application/json") -> httpx.Response:
    """A reply with a compressed body."""
    headers = {"content-type": kind, "content-encoding": "gzip"}
    return httpx.Response(status, headers=headers, content=chunks(body, 7))


async def test_a_reply_may_be_compressed_with_gzip() -> None:
    [sample] = await remote(FakeServer(zipped(200, gzip.compress(WHOLE)))).generate(REQUEST)
    assert sample.text == "Hello"
    server = FakeServer(zipped(200, gzip.compress(STREAM), "text/event-stream"))
    [sample] = await remote(server).generate(REQUEST, lambda event: None)
    assert sample.text == "Hello"
    with pytest.raises(LMError, match="too bad"):
        await remote(FakeServer(zipped(400, gzip.compress(b'{"error": "too bad"}')))).generate(
            REQUEST
        )


async def test_a_compressed_reply_must_be_complete_and_within_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for body, words in ((gzip.compress(WHOLE)[:-9], "ends too early"), (WHOLE, "not valid gzip")):
        with pytest.raises(LMError, match=words):
            await remote(FakeServer(*[zipped(200, body) for _ in range(3)])).generate(REQUEST)
    monkeypatch.setattr(transport, "MAX_REPLY_BYTES", 2**20)
    bomb = zipped(200, gzip.compress(b'"' + b"x" * 2**22))
    with pytest.raises(LMError, match="larger than 1 MiB"):
        await remote(FakeServer(bomb)).generate(REQUEST)


async def test_status_201_is_a_success() -> None:
    [sample] = await remote(FakeServer(httpx.Response(201, json=completion()))).generate(REQUEST)
    assert sample.text == "Hello"


# ------------------------------------------------------------------------------------ usage


@pytest.mark.parametrize("later", [{}, {"prompt_tokens": 0, "completion_tokens": 0}])
async def test_a_later_chunk_without_counts_keeps_them(later: object) -> None:
    counted = delta("lo", "stop") | {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    server = FakeServer(sse(delta("Hel"), counted, {"choices": [], "usage": later}, "[DONE]"))
    [sample] = await remote(server).generate(REQUEST, lambda event: None)
    assert (sample.usage.prompt_tokens, sample.usage.completion_tokens) == (5, 2)
    assert sample.notes == ()


@pytest.mark.parametrize("five", ["5", 5.0])
async def test_counts_of_other_types_are_read(five: object) -> None:
    sample = await one(completion(usage={"prompt_tokens": five, "completion_tokens": five}))
    assert (sample.usage.prompt_tokens, sample.usage.completion_tokens) == (5, 5)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 5}, {"completion_tokens": 2}])
async def test_an_unknown_cost_is_noted_and_logged_once(
    usage: object, caplog: pytest.LogCaptureFixture
) -> None:
    lm = remote(replied(completion(usage=usage)))
    for _ in range(2):
        [sample] = await lm.generate(REQUEST)
        assert any("no token counts" in note for note in sample.notes)
    assert [record.levelno for record in caplog.records if record.name == "archon.lm"] == [
        logging.WARNING
    ]


async def test_separately_counted_reasoning_tokens_are_added() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 30}}
    apart = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 37, **details}
    within = {"prompt_tokens": 5, "completion_tokens": 32, "total_tokens": 37, **details}
    for usage in (apart, within):
        assert (await one(completion(usage=usage))).usage.completion_tokens == 32


# ---------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("tail", [[], ["[DONE]"], [delta("", "null")], [delta("", "")]])
async def test_a_stream_without_an_end_is_refused(tail: list[object]) -> None:
    server = FakeServer(sse(delta("Hel"), *tail))
    with pytest.raises(LMError, match="ended before its text"):
        await remote(server).generate(REQUEST, lambda event: None)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{oops", "not valid JSON"),
        ([1], "not a JSON object"),
        ({"error": {"message": "out of memory"}}, "out of memory"),
        ({"object": "error", "message": "too long"}, "too long"),
        ({"detail": "gone"}, "gone"),
        ({"choices": {}}, "must be a list"),
        ({"choices": [None]}, "not an object"),
        (delta("x", index=1), "was not requested"),
        (delta(7), "not text"),
        ({"choices": [{"index": 0, "delta": "x"}]}, "must be an object"),
        (delta("", "content_filter"), "withheld"),
        (delta("", "error"), "did not finish"),
    ],
)
async def test_damage_anywhere_in_a_stream_is_refused(bad: object, words: str, place: int) -> None:
    events: list[object] = [delta("Hel"), delta("lo", "stop")]
    events.insert(place, bad)
    server = FakeServer(*[sse(*events, "[DONE]")] * 3)
    with pytest.raises(LMError, match=words):
        await remote(server).generate(REQUEST, lambda event: None)


async def test_an_unrequested_stream_is_read() -> None:
    [sample] = await remote(FakeServer(sse(delta("Hel"), delta("lo", "stop")))).generate(REQUEST)
    assert sample.text == "Hello"


async def test_a_message_that_repeats_another_text_than_was_streamed_is_refused() -> None:
    last = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Help"}}]}
    server = FakeServer(sse(delta("Hello"), last))
    with pytest.raises(GarbledError, match="differs from the streamed text"):
        await remote(server).generate(REQUEST, lambda event: None)


# ------------------------------------------------------ one bad reply fails one sample


def failing(numbers: set[int], reply: Callable[[], httpx.Response]) -> Callable[..., Any]:
    """Answers successfully except for requests with these numbers, counted by their seeds."""
    seeds: list[int] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seed = json.loads(request.content)["seed"]
        if seed not in seeds:
            seeds.append(seed)
        return reply() if seeds.index(seed) in numbers else good(request)

    return handle


BAD: list[Callable[[], httpx.Response]] = [
    lambda: httpx.Response(500, text="oops"),
    lambda: httpx.Response(400, json={"error": {"message": "bad luck"}}),
    lambda: httpx.Response(429),
    lambda: httpx.Response(403, json={"error": {"message": "moderation: flagged input"}}),
    lambda: httpx.Response(404, json={"error": {"message": "worker not found"}}),
    lambda: httpx.Response(200, html="<html>"),
    lambda: httpx.Response(200, json={}),
    lambda: httpx.Response(200, json=completion("x", "content_filter")),
    lambda: httpx.Response(200, json=completion("x", "what")),
    lambda: httpx.Response(200, json=message(content=None, refusal="no")),
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize("streams", [False, True])
async def test_one_bad_reply_fails_one_sample(
    bad: Callable[[], httpx.Response], number: int, streams: bool
) -> None:
    lm = remote(failing({number}, bad), max_concurrency=1)
    heard: list[Event] = []
    request = replace(REQUEST, n=4, first_draw=2)
    samples = await lm.generate(request, heard.append if streams else None)
    assert [c.draw for c in samples] == [2, 3, 4, 5]
    assert [c.error is not None for c in samples] == [k == number for k in range(4)]
    lost = samples[number]
    assert (lost.text, lost.finish_reason, lost.usage, dict(lost.prompts)) == (
        "", "error", Usage(), {},
    )  # fmt: skip
    assert "one.test" in (lost.error or "")
    assert {c.text for c in samples if c.error is None} == {"Hello"}


async def test_the_first_error_is_raised_if_every_sample_fails() -> None:
    lm = remote(failing({0, 1, 2}, BAD[0]), max_concurrency=1)
    with pytest.raises(LMError, match="status 500") as caught:
        await lm.generate(replace(REQUEST, n=3))
    assert caught.value.retryable


class Refusing(httpx.AsyncBaseTransport):
    """Refuses the second request and never answers the others."""

    def __init__(self, status: int) -> None:
        self.status, self.count = status, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        if self.count == 2:
            return httpx.Response(self.status, content=chunks(b"no"))
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("status", [307, 401, 402, 405, 407])
async def test_a_refusal_of_every_request_is_an_immediate_error(status: int) -> None:
    lm = RemoteLM(remote(good).card, http=Refusing(status))
    with pytest.raises(RefusedError, match=str(status)):
        await lm.generate(replace(REQUEST, n=9))
    assert lm.status().num_running == 0


@pytest.mark.parametrize("status", [403, 404])
async def test_a_refusal_of_every_sample_is_a_refusal(status: int) -> None:
    lm = remote(failing({0, 1, 2}, lambda: httpx.Response(status, text="no")))
    with pytest.raises(RefusedError, match=str(status)):
        await lm.generate(replace(REQUEST, n=3))


async def test_one_of_several_texts_in_a_reply_may_fail() -> None:
    choices = [
        {"index": i, "message": {"content": text}, "finish_reason": reason}
        for i, (text, reason) in enumerate([("a", "stop"), ("b", "content_filter"), (7, "stop")])
    ]
    reply = {"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 7}}
    samples = await remote(replied(reply), native_n=True).generate(replace(REQUEST, n=3))
    assert [c.text for c in samples] == ["a", "", ""]
    assert [c.usage.completion_tokens for c in samples] == [7, 0, 0]
    assert "withheld" in (samples[1].error or "")
    assert "no text" in (samples[2].error or "")


async def test_one_of_several_streamed_texts_may_fail() -> None:
    server = FakeServer(
        sse(
            delta("a"), delta("b", index=1), delta("", "content_filter", 1), delta("c", index=1),
            delta("a", "stop"), "[DONE]",
        )
    )  # fmt: skip
    heard: list[Event] = []
    lm = remote(server, native_n=True)
    samples = await lm.generate(replace(REQUEST, n=3), heard.append)
    assert [c.text for c in samples] == ["aa", "", ""]
    assert "withheld" in (samples[1].error or "")
    assert "2 of 3 requested texts" in (samples[2].error or "")
