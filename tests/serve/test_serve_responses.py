"""The Responses API: response objects, events, conversations in memory, and rejected fields."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_item_list import ResponseItemList
from pydantic import BaseModel, TypeAdapter
from serve_doubles import Failing, Patient, client, events

import archon
from archon.errors import LMError
from archon.lm.base import LM
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve import asgi_io
from archon.serve.app import create_app
from archon.serve.fields import BadRequestError
from archon.serve.limits import Limits
from archon.serve.responses_api.builder import num_reasoning_tokens
from archon.serve.responses_api.store import ResponseStore, StoredResponse
from archon.types import (
    Completion,
    Message,
    NamedTool,
    OnEvent,
    Request,
    TokenDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
)

ROUTE = "/v1/responses"
ASKED: dict[str, Any] = {"model": "stub", "input": "Say hello"}
REASONING, ANSWER = "<think>\nThe answer is 4? No.\n</think>\n\n", "The answer is 5."
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


class Thought(BaseModel):
    right: bool


@asynccontextmanager
async def openai_client(lm: LM) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client(lm) as http:
        http.base_url = "http://test/v1"
        options: dict[str, Any] = {"max_retries": 0, "http_client": http}
        yield openai.AsyncOpenAI(base_url="http://test/v1", api_key="none", **options)


async def ask(http: httpx.AsyncClient, **values: object) -> dict[str, Any]:
    response = await http.post(ROUTE, json={**ASKED, **values})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    Response.model_validate(reply, strict=True)
    return reply


async def streamed(http: httpx.AsyncClient, **values: object) -> list[dict[str, Any]]:
    """Return a stream's events, after checks of their names, numbers and types."""
    response = await http.post(ROUTE, json={**ASKED, "stream": True, **values})
    assert response.status_code == 200, response.text
    found = events(response)
    names = [line[7:] for line in response.text.splitlines() if line.startswith("event: ")]
    assert names == [one["type"] for one in found]
    assert [one["sequence_number"] for one in found] == list(range(len(found)))
    for one in found:
        EVENT.validate_python(one, strict=True)
    return found


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [one["type"].removeprefix("response.") for one in found]


def without_ids(body: dict[str, Any]) -> dict[str, Any]:
    """Return a response without its ids and times."""
    output = [{k: v for k, v in item.items() if k != "id"} for item in body["output"]]
    times = {"id", "created_at", "completed_at"}
    return {k: v for k, v in body.items() if k not in times} | {"output": output}


# ------------------------------------------------------------------------------------ responses


async def test_a_response_has_the_answer_usage_and_settings(
    http: httpx.AsyncClient, lm: ScriptedLM
) -> None:
    settings = {
        "instructions": "Be brief",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 50,
        "metadata": {"run": "7"},
        "user": "someone",
        "reasoning": {"effort": "low", "summary": "auto"},
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "truncation": "disabled",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
    }
    reply = await ask(http, **settings)
    assert {key: reply[key] for key in settings} == settings
    assert reply["status"] == "completed"
    assert reply["output"][0]["content"][0]["text"] == "Hello there"
    assert reply["usage"]["total_tokens"] == 4 + 2
    [request] = lm.requests
    assert request.messages == (Message("system", "Be brief"), Message("user", "Say hello"))
    assert request.sampling.temperature == 0.5
    assert request.sampling.max_tokens == 50
    assert request.thinking.enabled is True


async def test_openai_clients_create_parse_and_stream() -> None:
    async with openai_client(ScriptedLM(in_turn(['{"right": true}']))) as opened:
        created = await opened.responses.create(model="stub", input="Say hello")
        assert created.output_text == '{"right": true}'
        parsed = await opened.responses.parse(model="stub", input="x", text_format=Thought)
        assert isinstance(parsed.output_parsed, Thought)
        async with opened.responses.stream(model="stub", input="x") as stream:
            texts = [one.delta async for one in stream if one.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        assert "".join(texts) == final.output_text == '{"right": true}'
        retrieved = await opened.responses.retrieve(created.id)
        assert retrieved.output_text == created.output_text
        items = await opened.responses.input_items.list(created.id)
        assert [item.type async for item in items] == ["message"]
        await opened.responses.delete(created.id)
        with pytest.raises(openai.NotFoundError, match="memory"):
            await opened.responses.retrieve(created.id)


async def test_an_answer_that_reaches_its_limit_is_incomplete(http: httpx.AsyncClient) -> None:
    reply = await ask(http, max_output_tokens=1)
    assert reply["status"] == "incomplete"
    assert reply["incomplete_details"] == {"reason": "max_output_tokens"}
    assert reply["output"][0]["status"] == "incomplete"
    assert (await streamed(http, max_output_tokens=1))[-1]["type"] == "response.incomplete"


async def test_log_probabilities_are_included_on_request(http: httpx.AsyncClient) -> None:
    include = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    [message] = (await ask(http, **include))["output"]
    logprobs = message["content"][0]["logprobs"]
    assert "".join(one["token"] for one in logprobs) == "Hello there"
    assert all(one["top_logprobs"] for one in logprobs)
    [done] = [one for one in await streamed(http, **include) if one["type"].endswith("text.done")]
    assert [one["token"] for one in done["logprobs"]] == [one["token"] for one in logprobs]


async def test_an_answer_has_the_requested_format(http: httpx.AsyncClient, lm: ScriptedLM) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "name": "numbers", "schema": schema, "strict": True}
    reply = await ask(http, text={"format": wanted})
    assert reply["text"]["format"] == wanted
    await ask(http, text={"format": {"type": "json_object"}, "verbosity": "medium"})
    constraints = [request.constraint for request in lm.requests]
    assert [c and c.json_schema for c in constraints] == [schema, {"type": "object"}]


# --------------------------------------------------------------------------------------- events


async def test_a_stream_reports_each_step_and_ends_with_the_response(
    http: httpx.AsyncClient,
) -> None:
    found = await streamed(http)
    assert kinds(found) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta", "output_text.done"),
        *("content_part.done", "output_item.done", "completed"),
    ]
    assert found[0]["response"]["status"] == "in_progress"
    assert "".join(one["delta"] for one in found if "delta" in one) == "Hello there"
    assert without_ids(found[-1]["response"]) == without_ids(await ask(http))


@pytest.mark.parametrize("summary", [None, "auto"])
async def test_reasoning_is_an_item_before_the_answer(summary: str | None) -> None:
    reasoning = {"reasoning": {"summary": summary}}
    part, text = (
        ("content_part", "reasoning_text")
        if summary is None
        else ("reasoning_summary_part", "reasoning_summary_text")
    )
    async with client(ScriptedLM(in_turn([REASONING + ANSWER]))) as http:
        found = await streamed(http, **reasoning)
        complete = await ask(http, **reasoning)
    first, second = complete["output"]
    [shown] = first["content"] if summary is None else first["summary"]
    assert shown["text"] == REASONING
    assert second["content"][0]["text"] == ANSWER
    assert complete["usage"]["output_tokens_details"]["reasoning_tokens"] > 0
    assert without_ids(found[-1]["response"]) == without_ids(complete)
    named = kinds(found)
    assert list(dict.fromkeys(named))[2:6] == [
        *("output_item.added", f"{part}.added", f"{text}.delta", f"{text}.done")
    ]
    done = [one["item"]["type"] for one in found if one["type"].endswith("output_item.done")]
    assert done == ["reasoning", "message"]


async def test_a_model_that_cannot_stream_sends_its_text_at_the_end() -> None:
    lm = ScriptedLM(in_turn([REASONING + ANSWER]), capabilities=frozenset({"chat"}))
    async with client(lm) as http:
        found = await streamed(http)
    deltas = [one["delta"] for one in found if one["type"].endswith(".delta")]
    assert deltas == [REASONING, ANSWER]


async def test_a_failure_before_the_first_event_is_an_error_status() -> None:
    async with client(Failing(LMError("busy", retryable=True))) as http:
        response = await http.post(ROUTE, json=ASKED | {"stream": True})
    assert response.status_code == 503


async def test_a_later_failure_ends_the_response() -> None:
    async with client(Failing(LMError("secret address"), num_deltas=2)) as http:
        last = (await streamed(http))[-1]
        found = await http.get(f"{ROUTE}/{last['response']['id']}")
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"]["code"] == "server_error"
    assert "secret" not in json.dumps(last)
    assert found.status_code == 404


async def test_a_failure_after_a_comment_is_an_error_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_io, "KEEP_ALIVE_SECONDS", 0.01)

    class Slow(Failing):
        async def generate(self, *arguments: Any) -> Any:
            await asyncio.sleep(0.1)
            return await super().generate(*arguments)

    async with client(Slow(LMError("no"))) as http:
        [only] = await streamed(http)
    assert only["type"] == "error"


async def test_a_client_that_hangs_up_ends_the_call() -> None:
    lm = Patient()
    body = json.dumps({**ASKED, "stream": True}).encode()
    inbox = [{"type": "http.request", "body": body, "more_body": False}]
    is_gone = asyncio.Event()

    async def receive() -> Any:
        if inbox:
            return inbox.pop()
        await is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if b"Well" in message.get("body", b""):
            is_gone.set()

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": ROUTE, "query_string": b""}
    await create_app({"stub": lm})({**scope, "headers": headers}, receive, send)
    assert lm.ended.is_set()


# -------------------------------------------------------------------------------- conversations


async def test_a_response_continues_an_earlier_one(http: httpx.AsyncClient, lm: ScriptedLM) -> None:
    first = await ask(http, instructions="Be brief")
    second = (await streamed(http, input="And you?", previous_response_id=first["id"]))[-1]
    third = await ask(http, input="Bye", previous_response_id=second["response"]["id"])
    assert third["previous_response_id"] == second["response"]["id"]
    texts = [(message.role, message.content) for message in lm.requests[-1].messages]
    assert texts == [
        *(("user", "Say hello"), ("assistant", "Hello there")),
        *(("user", "And you?"), ("assistant", "Hello there"), ("user", "Bye")),
    ]


async def test_items_of_earlier_responses_are_input(
    http: httpx.AsyncClient, lm: ScriptedLM
) -> None:
    first = await ask(http)
    listed = (await http.get(f"{ROUTE}/{first['id']}/input_items")).json()["data"]
    await ask(
        http,
        input=[
            {"role": "developer", "content": "Be kind", "phase": None},
            *listed,
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "x"}]},
            *first["output"],
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
            {"type": "item_reference", "id": listed[0]["id"]},
            {"id": first["output"][0]["id"]},
            {"role": "user", "content": [{"type": "input_text", "text": "Go on"}]},
        ],
    )
    texts = [(message.role, message.content) for message in lm.requests[-1].messages]
    assert texts == [
        *(("system", "Be kind"), ("user", "Say hello"), ("assistant", "Hello there")),
        *(("assistant", "No"), ("user", "Say hello"), ("assistant", "Hello there")),
        ("user", "Go on"),
    ]


async def test_an_architecture_gets_the_history_and_returns_its_trace() -> None:
    architecture = archon.lm(archon.load("self-consistency", models="scripted"))
    async with client(architecture) as http:
        first = await ask(http, input="What is 2 + 3?", seed=1)
        options = {"previous_response_id": first["id"], "archon": {"trace": True}}
        found = (await streamed(http, input="What is 17 * 23?", **options))[-1]["response"]
        refused = await http.post(ROUTE, json=ASKED | {"input": first["output"]})
    history = found["archon"]["trace"]["question"]["history"]
    assert history[1]["content"] == first["output"][0]["content"][0]["text"]
    assert found["usage"]["output_tokens"] > 0
    assert refused.json()["error"]["param"] == "input"


async def test_what_is_not_stored_is_not_found(http: httpx.AsyncClient) -> None:
    reply = await ask(http, store=False)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items")):
        response = await http.request(method, f"{ROUTE}/{reply['id']}{path}")
        assert response.status_code == 404
        assert "memory" in response.json()["error"]["message"]
    response = await http.post(ROUTE, json=ASKED | {"previous_response_id": reply["id"]})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "previous_response_not_found"


async def test_input_items_are_listed_in_pages(http: httpx.AsyncClient) -> None:
    messages = [{"role": "user", "content": str(n)} for n in range(5)]
    path = f"{ROUTE}/{(await ask(http, input=messages))['id']}/input_items"
    first = (await http.get(path, params={"order": "asc", "limit": 2})).json()
    ResponseItemList.model_validate(first)
    assert [item["content"][0]["text"] for item in first["data"]] == ["0", "1"]
    assert first["has_more"]
    rest = (await http.get(path, params={"order": "asc", "after": first["last_id"]})).json()
    assert [item["content"][0]["text"] for item in rest["data"]] == ["2", "3", "4"]
    assert not rest["has_more"]
    newest = (await http.get(path)).json()["data"][0]
    assert newest["content"][0]["text"] == "4"
    for name, value in (("order", "up"), ("limit", "0"), ("limit", "x"), ("after", "msg_0")):
        response = await http.get(path, params={name: value})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == name


def stored(number: int, text: str = "x") -> StoredResponse:
    message = Message("user", text)
    return StoredResponse({"id": f"resp_{number}"}, [], (message,), {f"msg_{number}": message})


def test_the_oldest_responses_are_dropped() -> None:
    store = ResponseStore(max_responses=2)
    for number in range(3):
        store.add(stored(number))
    assert store.find("resp_1")
    for find in (lambda: store.find("resp_0"), lambda: store.find_item("msg_0", param="input")):
        with pytest.raises(BadRequestError, match="not stored"):
            find()
    store = ResponseStore(max_bytes=1000)
    for number in range(2):
        store.add(stored(number, "long" * 150))
    assert store.find("resp_1")
    with pytest.raises(BadRequestError):
        store.find("resp_0")
    store.add(stored(2, "too long" * 200))
    with pytest.raises(BadRequestError):
        store.find("resp_2")


# -------------------------------------------------------------------------------------- functions


FUNCTION: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
    "description": None,
}


class Calling:
    """A fake LM that calls a function as long as the conversation has no result."""

    capabilities = frozenset({"chat", "stream", "tools"})

    def __init__(self, *, streams: bool) -> None:
        self.requests: list[Request] = []
        self.streams = streams

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        self.requests.append(request)
        if request.messages[-1].role == "tool":
            return [Completion("21 degrees", 0, "stop", Usage(calls=1), {"p": 9})]
        calls = tuple(
            ToolCall("weather", f'{{"city": "{c}"}}', f"call_{c}") for c in ("Ulm", "Bern")
        )
        if on_event is not None and self.streams:
            on_event(TokenDelta(0, "I look."))
            for index, call in enumerate(calls):
                on_event(ToolCallDelta(0, index, id=call.id, name=call.name))
                for letter in call.arguments:
                    on_event(ToolCallDelta(0, index, letter))
        done = Completion("I look.", 0, "tool_calls", Usage(calls=1), {"p": 9}, tool_calls=calls)
        return [done]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_function_is_called_and_its_result_continues_the_response(streams: bool) -> None:
    lm = Calling(streams=streams)
    offered = {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "weather"}}
    async with client(lm) as http:
        complete = await ask(http, **offered)
        found = await streamed(http, **offered)
        first = found[-1]["response"]
        assert without_ids(first) == without_ids(complete)
        assert (first["tools"], first["tool_choice"]) == ([FUNCTION], offered["tool_choice"])
        message, ulm, bern = first["output"]
        assert [ulm["arguments"], bern["arguments"]] == ['{"city": "Ulm"}', '{"city": "Bern"}']
        results = [
            {"type": "function_call_output", "call_id": one["call_id"], "output": "21"}
            for one in (ulm, bern)
        ]
        second = await ask(http, input=results, previous_response_id=first["id"])
        listed = (await http.get(f"{ROUTE}/{second['id']}/input_items")).json()["data"]
        reference = {"type": "item_reference", "id": bern["id"]}
        await ask(http, input=[{"role": "user", "content": "x"}, message, ulm, reference, *results])
    assert second["output"][0]["content"][0]["text"] == "21 degrees"
    assert [item["type"] for item in listed] == ["function_call_output"] * 2
    assert lm.requests[0].tools == (Tool("weather", "", FUNCTION["parameters"], strict=False),)
    assert lm.requests[0].tool_choice == NamedTool("weather")
    for request in lm.requests[2:]:
        _, assistant, *answers = request.messages
        assert [call.id for call in assistant.tool_calls] == ["call_Ulm", "call_Bern"]
        assert assistant.content == "I look."
        assert [one.name for one in answers] == ["weather", "weather"]
    deltas = [one["delta"] for one in found if one["type"].endswith("arguments.delta")]
    assert "".join(deltas) == '{"city": "Ulm"}{"city": "Bern"}'


# --------------------------------------------------------------------------------------- limits


async def test_limits_apply(lm: ScriptedLM) -> None:
    app = create_app({"stub": lm}, limits=Limits(max_messages=3))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        first = await ask(http)
        second = await ask(http, previous_response_id=first["id"])
        response = await http.post(ROUTE, json=ASKED | {"previous_response_id": second["id"]})
        metrics = (await http.get("/metrics")).text
    assert response.json()["error"]["code"] == "too_many_messages"
    assert 'archon_requests_total{model="stub",status="200"} 2.0' in metrics


def test_reasoning_tokens_are_counted_by_bytes_if_they_are_known() -> None:
    known = Completion(
        "b", 0, "stop", Usage(completion_tokens=4), {}, reasoning="aaa", tokens=(b"aa", b"a", b"b")
    )
    assert num_reasoning_tokens(known) == 2
    one_call = Usage(completion_tokens=8, calls=1)
    assert num_reasoning_tokens(Completion("b", 0, "stop", one_call, {}, reasoning="aaa")) == 6
    assert num_reasoning_tokens(Completion("b", 0, "stop", one_call, {})) == 0
