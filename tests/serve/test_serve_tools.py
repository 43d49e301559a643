"""Tool calls in responses and streams, with OpenAI's client and a fake model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from serve_doubles import client as http_client

from archon.lm.tool_calls.formats import format_of
from archon.lm.tool_calls.parsing import with_tool_calls
from archon.lm.tool_calls.stream import ToolCallEvents
from archon.types import Completion, NamedTool, OnEvent, Request, TokenDelta, Usage

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ASK: Any = [{"role": "user", "content": "Weather in Paris?"}]
REPLY = 'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'


class Calling:
    """A fake LM that calls a tool as long as the conversation has no result."""

    capabilities = frozenset({"chat", "stream", "tools"})

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        self.requests.append(request)
        form = format_of("<tool_call>")
        text = "21 degrees" if request.messages[-1].role == "tool" else REPLY
        events = ToolCallEvents(on_event, form) if on_event else None
        plain = Completion(text, 0, "stop", Usage(9, 0, 4, 4, 0, 1), {"p": 9})
        done = [
            with_tool_calls(replace(plain, draw=index), form, request) for index in range(request.n)
        ]
        if events is not None:
            for index in range(request.n):
                for letter in text:
                    events(TokenDelta(index, letter))
            events.finish(done)
        return done


@pytest.fixture
def lm() -> Calling:
    return Calling()


@pytest.fixture
async def openai_client(lm: Calling) -> AsyncIterator[openai.AsyncOpenAI]:
    async with http_client(lm) as http:
        yield openai.AsyncOpenAI(api_key="x", base_url="http://test/v1", http_client=http)


async def test_a_call_and_its_result_make_a_conversation(
    openai_client: openai.AsyncOpenAI, lm: Calling
) -> None:
    create: Any = openai_client.chat.completions.create
    reply = await create(model="stub", messages=ASK, tools=[TOOL], tool_choice="required", n=2)
    assert [choice.finish_reason for choice in reply.choices] == ["tool_calls"] * 2
    assert lm.requests[0].tool_choice == "required"
    message = reply.choices[0].message
    [call] = message.tool_calls
    assert (message.content, call.type, call.function.name) == ("I look.", "function", "weather")
    assert call.function.arguments == '{"city": "Paris"}'
    result = {"role": "tool", "tool_call_id": call.id, "content": "21"}
    messages = [*ASK, message.model_dump(), result]
    reply = await create(model="stub", messages=messages, tools=[TOOL])
    assert reply.choices[0].message.content == "21 degrees"
    _, turn, last = lm.requests[1].messages
    assert turn.tool_calls[0].id == last.tool_call_id == call.id
    assert last.name == "weather"


async def test_a_stream_has_the_parts_of_calls(openai_client: openai.AsyncOpenAI) -> None:
    create: Any = openai_client.chat.completions.create
    stream = await create(model="stub", messages=ASK, tools=[TOOL], stream=True)
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks]
    parts = [part for delta in deltas for part in delta.tool_calls or ()]
    assert "".join(delta.content or "" for delta in deltas) == "I look."
    assert (parts[0].index, parts[0].function.name, parts[0].type) == (0, "weather", "function")
    assert parts[0].id
    assert parts[1].id is None
    assert "".join(part.function.arguments for part in parts) == '{"city": "Paris"}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_the_client_s_own_accumulation_of_a_stream(
    openai_client: openai.AsyncOpenAI,
) -> None:
    stream: Any = openai_client.chat.completions.stream
    async with stream(model="stub", messages=ASK, tools=[TOOL]) as events:
        final = await events.get_final_completion()
    [call] = final.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Paris"}')


async def test_functions_are_converted(openai_client: openai.AsyncOpenAI, lm: Calling) -> None:
    create: Any = openai_client.chat.completions.create
    named = {"functions": [TOOL["function"]], "function_call": {"name": "weather"}}
    reply = await create(model="stub", messages=ASK, **named)
    assert lm.requests[0].tool_choice == NamedTool("weather")
    [choice] = reply.choices
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call.name == "weather"
    result = {"role": "function", "name": "weather", "content": "21"}
    reply = await create(model="stub", messages=[*ASK, choice.message.model_dump(), result])
    assert reply.choices[0].message.content == "21 degrees"
    assert lm.requests[1].messages[-1].name == "weather"


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools.1.function.name"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
        ),
    ],
)
async def test_an_error_names_the_field(lm: Calling, values: Any, param: str) -> None:
    async with http_client(lm) as http:
        body = {"model": "stub", "messages": ASK, **values}
        response: httpx.Response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
