import asyncio
import json
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from starlette.types import Message as AsgiMessage

from archon.errors import (
    ArchonError,
    BudgetError,
    ContextLengthError,
    LMError,
    NodeError,
    UnsupportedError,
)
from archon.lm.base import LM
from archon.lm.openai.sse import EventParser
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve import asgi_io
from archon.serve.app import Application, create_app
from archon.serve.asgi_io import KEEP_ALIVE
from archon.serve.limits import LARGEST_BODY_BYTES, Limits
from archon.serve.requests import BadRequestError, read_chat_request
from archon.serve.responses import usage
from archon.types import Completion, NodeStarted, OnEvent, Request, TokenDelta, Usage

HELLO: dict[str, Any] = {"model": "double", "messages": [{"role": "user", "content": "Say hello"}]}
JSON = {"Content-Type": "application/json"}
TEXT = {"type": "text", "text": "What is this?"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FORMAT = "response_format.json_schema.schema"


def client(lm: LM) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app({"double": lm, "org/other": lm}))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.fixture
def lm() -> ScriptedLM:
    return ScriptedLM(in_turn(["Hello there", "Good day to you"]))


@pytest.fixture
async def http(lm: ScriptedLM) -> AsyncIterator[httpx.AsyncClient]:
    async with client(lm) as http:
        yield http


async def post(http: httpx.AsyncClient, **values: object) -> httpx.Response:
    return await http.post("/v1/chat/completions", json={**HELLO, **values})


def events(response: httpx.Response) -> list[Any]:
    parser = EventParser()
    found = parser.feed(response.content) + parser.end()
    return [e.decode() if e == b"[DONE]" else json.loads(e) for e in found]


class Failing:
    """An LM that sends so many deltas and then fails."""

    capabilities = frozenset({"chat", "stream"})

    def __init__(self, error: Exception, num_deltas: int = 0) -> None:
        self.error, self.num_deltas = error, num_deltas

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        if on_event is not None:
            for _ in range(self.num_deltas):
                on_event(TokenDelta(0, "x"))
        await asyncio.sleep(0)
        raise self.error


# --------------------------------------------------------------------------- good requests


async def test_a_completion_has_openai_s_shape(http: httpx.AsyncClient) -> None:
    reply = (await post(http)).json()
    assert reply.pop("id").startswith("chatcmpl-")
    assert isinstance(reply.pop("created"), int)
    assert reply == {
        "object": "chat.completion",
        "model": "double",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": 2,
            "completion_tokens": 2,
            "total_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


async def test_what_is_asked_reaches_the_model(http: httpx.AsyncClient, lm: ScriptedLM) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    await post(
        http,
        messages=[{"role": "developer", "content": "Be kind"}, {"role": "user", "content": parts}],
        n=2,
        seed=5,
        temperature=0.3,
        top_p=0.9,
        top_k=7,
        min_p=0.1,
        max_completion_tokens=9,
        stop="END",
        logprobs=True,
        user="somebody",
        frequency_penalty=0,
        response_format={"type": "text"},
    )
    [request] = lm.requests
    assert [(m.role, m.content) for m in request.messages] == [
        ("system", "Be kind"),
        ("user", "ab"),
    ]
    assert (request.n, request.seed, request.first_draw, request.logprobs) == (2, 5, 0, True)
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.3, 0.9, 7)
    assert (sampling.min_p, sampling.max_tokens, sampling.stop) == (0.1, 9, ("END",))


async def test_what_is_left_out_or_null_is_left_to_the_model(
    http: httpx.AsyncClient, lm: ScriptedLM
) -> None:
    await post(http, temperature=None, stop=None, n=None, seed=None)
    await post(http)
    first, second = lm.requests
    assert first.sampling == second.sampling == Request(()).sampling
    assert first.seed != second.seed


async def test_several_texts_count_their_prompt_once(http: httpx.AsyncClient) -> None:
    reply = (await post(http, n=3)).json()
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert reply["usage"]["prompt_tokens"] == 2
    assert reply["usage"]["completion_tokens"] == 2 + 4 + 2


def test_a_prompt_that_was_computed_for_the_first_of_several_texts_is_not_called_cached() -> None:
    cached = (16, 38, 38)
    completions = [
        Completion("", draw, "stop", Usage(prompt_tokens=38, cached_tokens=n, calls=1), {"p": 38})
        for draw, n in enumerate(cached)
    ]
    assert usage(completions).prompt_tokens == 38
    assert usage(completions).prompt_tokens_details.cached_tokens == 16


async def test_log_probabilities_come_one_a_token(http: httpx.AsyncClient) -> None:
    [choice] = (await post(http, logprobs=True)).json()["choices"]
    tokens = choice["logprobs"]["content"]
    assert len(tokens) == 2
    assert all(token["logprob"] < 0 for token in tokens)
    assert [token["token"] for token in tokens] == ["Hello", " there"]
    assert bytes(tokens[1]["bytes"]) == b" there"


async def test_models_are_listed_and_found_by_name(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["double", "org/other"]
    assert (await http.get("/v1/models/org/other")).json()["object"] == "model"
    assert (await http.get("/v1/models/none")).status_code == 404
    assert (await http.get("/health")).json() == {"status": "ok"}


# ---------------------------------------------------------------------------- streaming


async def test_a_stream_is_chunks_that_join_up_to_the_texts(http: httpx.AsyncClient) -> None:
    response = await post(http, stream=True, n=2, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events(response)
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 2 + 2 + 4
    texts = {0: "", 1: ""}
    for chunk in chunks:
        [choice] = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == {0: "Hello there", 1: "Good day to you"}
    assert [c["choices"][0]["finish_reason"] for c in chunks[-2:]] == ["stop", "stop"]
    assert len({chunk["id"] for chunk in [*chunks, usage]}) == 1


async def test_usage_is_streamed_only_where_asked(http: httpx.AsyncClient) -> None:
    *chunks, _ = events(await post(http, stream=True))
    assert all("usage" not in chunk for chunk in chunks)


async def test_a_model_that_cannot_stream_sends_its_text_at_the_end() -> None:
    lm = ScriptedLM(in_turn(["Hello"]), capabilities=frozenset({"chat"}))
    async with client(lm) as http:
        *chunks, _ = events(await post(http, stream=True))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {},
    ]


async def test_what_nodes_do_is_told_in_comments_and_what_they_say_is_not_streamed() -> None:
    class Graph(ScriptedLM):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            assert on_event is not None
            on_event(NodeStarted("draft"))
            on_event(TokenDelta(0, "inner", node="draft"))
            return await super().generate(request, on_event)

    async with client(Graph(in_turn(["Hello"]))) as http:
        response = await post(http, stream=True)
    assert "inner" not in response.text
    assert ': {"node":"draft","event":"started"}\n' in response.text
    assert len(events(response)) == 4  # begin, a word, end, [DONE]


async def test_a_stream_that_fails_at_once_has_its_own_status() -> None:
    async with client(Failing(LMError("busy", retryable=True))) as http:
        assert (await post(http, stream=True)).status_code == 503


async def test_a_stream_that_fails_under_way_ends_with_the_error() -> None:
    async with client(Failing(LMError("secret address"), num_deltas=2)) as http:
        response = await post(http, stream=True)
    assert response.status_code == 200
    last = events(response)[-1]
    assert last["error"]["type"] == "server_error"
    assert "secret" not in response.text


# -------------------------------------------------------------------------- bad requests


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": "2"}, "n"),
        ({"n": True}, "n"),
        ({"seed": 2**70}, "seed"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": "a" * 1001}, "stop"),
        ({"stop": ["a", ""]}, "stop.1"),
        ({"stop": 5}, "stop"),
        ({"presence_penalty": -2}, "presence_penalty"),
        ({"logit_bias": {"42": 1}}, "logit_bias"),
        ({"store": True}, "store"),
        ({"archon": {"trace": True}}, "archon.trace"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [TEXT, IMAGE]}]}, "messages.0.content.1.type"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages.0.role"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, FORMAT),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"architecture": {"nodes": {}}}, "architecture"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_key(
    http: httpx.AsyncClient, lm: ScriptedLM, values: dict[str, object], param: str | None
) -> None:
    response = await post(http, **values)
    assert response.status_code == 400
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert param is None or error["param"] == param
    assert lm.requests == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"model": "double", "model": "double"}',
        b'{"seed": NaN}',
        b"\xff",
        b"[" * 100_000,
        b'{"seed": ' + b"9" * 10_000 + b"}",
    ],
)
async def test_a_body_that_is_no_sound_json_is_refused(
    http: httpx.AsyncClient, content: bytes
) -> None:
    response = await http.post("/v1/chat/completions", content=content, headers=JSON)
    assert response.status_code == 400
    assert len(response.json()["error"]["message"]) < 500


async def test_what_is_wrong_is_told_of_every_type_that_a_value_may_have(
    http: httpx.AsyncClient,
) -> None:
    reply = await post(http, messages=[{"role": "user", "content": 5}])
    assert "valid string" in reply.json()["error"]["message"]
    assert "valid list" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [{}] * 100_000},
        {"messages": [{"role": "user", "content": [{}] * 100_000}]},
    ],
)
def test_a_body_full_of_errors_is_refused_for_the_first(values: dict[str, object]) -> None:
    content = json.dumps({**HELLO, **values}).encode()
    tracemalloc.start()
    try:
        with pytest.raises(BadRequestError, match="Field required"):
            read_chat_request(content)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


async def test_a_body_that_is_too_large_is_refused(http: httpx.AsyncClient) -> None:
    content = b" " * (Limits().max_body_bytes + 1)
    response = await http.post("/v1/chat/completions", content=content, headers=JSON)
    assert response.status_code == 413
    assert "--max-body-bytes" in response.json()["error"]["message"]


async def test_a_body_may_be_as_large_as_the_server_s_limit_says() -> None:
    long = json.dumps({**HELLO, "user": "u" * (Limits().max_body_bytes + 1)}).encode()
    app = create_app({"double": ScriptedLM(in_turn(["a"]))}, limits=Limits(LARGEST_BODY_BYTES))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        response = await http.post("/v1/chat/completions", content=long, headers=JSON)
    assert response.status_code == 200


async def test_a_body_that_a_web_page_may_send_unasked_is_refused(http: httpx.AsyncClient) -> None:
    content = json.dumps(HELLO)
    response = await http.post("/v1/chat/completions", content=content)
    assert response.status_code == 415


async def test_an_unknown_model_is_not_found(http: httpx.AsyncClient) -> None:
    for response in (await post(http, model="../double"), await http.get("/v1/models/doubel")):
        assert response.status_code == 404
        error = response.json()["error"]
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert "'double', 'org/other'" in error["message"], "those that are served"


async def test_other_pages_have_errors_of_the_same_shape(http: httpx.AsyncClient) -> None:
    for response in (
        await http.get("/v1/completions"),
        await http.get("/v1/chat/completions"),
        await http.post("/v1/chat/completions/", json=HELLO),
        await http.get("/health/"),
    ):
        assert response.status_code in (404, 405)
        error = response.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert response.request.url.path in error["message"]


async def test_a_missing_capability_is_refused() -> None:
    async with client(ScriptedLM(in_turn(["a"]), capabilities=frozenset({"chat"}))) as http:
        response = await post(http, logprobs=True)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "logprobs"


# ------------------------------------------------------------------------------- failures


def caused(error: Exception) -> NodeError:
    failure = NodeError("draft", error)
    failure.__cause__ = error
    return failure


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnsupportedError("no stop strings"), 400),
        (ContextLengthError("too long"), 400),
        (BudgetError("used up"), 422),
        (LMError("secret"), 502),
        (LMError("secret", retryable=True), 503),
        (ArchonError("secret"), 500),
        (RuntimeError("secret"), 500),
        (caused(LMError("secret", retryable=True)), 503),
        (caused(ContextLengthError("too long")), 400),
    ],
)
async def test_each_error_has_its_status_and_tells_no_secrets(
    error: Exception, status: int
) -> None:
    async with client(Failing(error)) as http:
        response = await post(http)
    assert response.status_code == status
    assert "secret" not in response.text
    assert response.json()["error"]["message"]


async def test_a_busy_model_says_when_to_come_back() -> None:
    error = LMError("busy", retryable=True, retry_after_seconds=6.6)
    async with client(Failing(error)) as http:
        assert (await post(http)).headers["retry-after"] == "7"


# ----------------------------------------------------------------------------- hanging up


SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "method": "POST",
    "path": "/v1/chat/completions",
    "query_string": b"",
    "headers": [(b"content-type", b"application/json")],
}


class Patient:
    """An LM that sends a first delta and then never ends."""

    capabilities = frozenset({"chat", "stream"})

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        if on_event is not None:
            on_event(TokenDelta(0, "Well"))
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        return []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_ends_the_call(stream: bool) -> None:
    lm = Patient()
    is_gone = asyncio.Event()
    has_text = asyncio.Event()
    body = json.dumps({**HELLO, "stream": stream}).encode()
    inbox: list[AsgiMessage] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> AsgiMessage:
        if inbox:
            return inbox.pop()
        await is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: AsgiMessage) -> None:
        if b"Well" in message.get("body", b""):
            has_text.set()

    before = asyncio.all_tasks()
    serving = asyncio.create_task(create_app({"double": lm})(SCOPE, receive, send))
    await lm.began.wait()
    if stream:
        await has_text.wait()
    assert not lm.ended.is_set()
    is_gone.set()
    await serving
    assert lm.ended.is_set()
    assert asyncio.all_tasks() <= before


async def test_a_client_that_reads_nothing_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_io, "STALL_SECONDS", 0.01)
    lm = Patient()
    body = json.dumps({**HELLO, "stream": True}).encode()
    inbox: list[AsgiMessage] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> AsgiMessage:
        if not inbox:
            await asyncio.Event().wait()
        return inbox.pop()

    async def send(message: AsgiMessage) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await create_app({"double": lm})(SCOPE, receive, send)
    assert lm.ended.is_set()


# ------------------------------------------------------------------------------ silent streams


async def stream_of(
    app: Application, is_gone: asyncio.Event, **values: object
) -> AsyncGenerator[bytes, None]:
    """What is sent to a client, piece by piece, until it hangs up or the reply ends."""
    body = json.dumps({**HELLO, "stream": True, **values}).encode()
    inbox: list[AsgiMessage] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: asyncio.Queue[AsgiMessage] = asyncio.Queue()

    async def receive() -> AsgiMessage:
        if inbox:
            return inbox.pop()
        await is_gone.wait()
        return {"type": "http.disconnect"}

    serving = asyncio.create_task(app(SCOPE, receive, sent.put))
    try:
        while True:
            message = await sent.get()
            if message["type"] == "http.response.start":
                assert message["status"] == 200
                continue
            yield message["body"]
            if not message.get("more_body", False):
                return
    finally:
        is_gone.set()
        await serving


async def test_a_silent_stream_sends_comments_until_there_is_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_io, "KEEP_ALIVE_SECONDS", 0.01)
    may_answer = asyncio.Event()

    class Slow(ScriptedLM):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            await may_answer.wait()
            return await super().generate(request, on_event)

    before = asyncio.all_tasks()
    pieces = []
    async for piece in stream_of(create_app({"double": Slow(in_turn(["Hello"]))}), asyncio.Event()):
        pieces.append(piece)
        if pieces.count(KEEP_ALIVE) == 3:
            may_answer.set()
    assert pieces[:3] == [b": keep-alive\n\n"] * 3
    found = EventParser().feed(b"".join(pieces))
    assert [json.loads(e)["choices"][0]["delta"] for e in found[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {},
    ]
    assert asyncio.all_tasks() <= before


async def test_comments_go_on_after_the_first_text_and_end_with_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_io, "KEEP_ALIVE_SECONDS", 0.01)
    lm, is_gone, pieces = Patient(), asyncio.Event(), list[bytes]()
    before = asyncio.all_tasks()
    async with aclosing(stream_of(create_app({"double": lm}), is_gone)) as sent:
        async for piece in sent:
            pieces.append(piece)
            if pieces.count(KEEP_ALIVE) == 2:
                break
    assert b"Well" in pieces[0]
    assert pieces[1:] == [KEEP_ALIVE] * 2
    assert lm.ended.is_set()
    assert asyncio.all_tasks() <= before


async def test_a_stream_that_waits_for_its_turn_is_kept_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_io, "KEEP_ALIVE_SECONDS", 0.01)
    lm = Patient()
    app = create_app({"double": lm}, limits=Limits(max_running=1))
    async with aclosing(stream_of(app, asyncio.Event())) as first:
        assert b"Well" in await anext(first)
        async with aclosing(stream_of(app, asyncio.Event())) as second:
            assert await anext(second) == KEEP_ALIVE
            assert await anext(second) == KEEP_ALIVE


async def test_a_stream_that_fails_after_a_comment_ends_with_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_io, "KEEP_ALIVE_SECONDS", 0.01)
    may_fail = asyncio.Event()

    class Failing(Patient):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            await may_fail.wait()
            raise LMError("secret address", retryable=True)

    pieces = []
    async for piece in stream_of(create_app({"double": Failing()}), asyncio.Event()):
        pieces.append(piece)
        may_fail.set()
    [error] = EventParser().feed(b"".join(pieces))
    assert json.loads(error)["error"]["type"] == "server_error"
    assert b"secret" not in error


async def test_a_stream_that_is_not_silent_sends_no_comment(http: httpx.AsyncClient) -> None:
    assert ":" not in {line[:1] for line in (await post(http, stream=True)).text.splitlines()}
