"""Tools that are sent to servers, and calls in their replies and streams."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
from remote_doubles import REQUEST, FakeServer, remote

from archon.types import Event, Message, NamedTool, Tool, ToolCall, ToolCallDelta

WEATHER = Tool("weather", "Weather", {"type": "object", "properties": {}}, strict=True)
ASK = replace(REQUEST, tools=(WEATHER,), tool_choice=NamedTool("weather"))


def _reply(choice: dict[str, Any]) -> httpx.Response:
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    return httpx.Response(200, json={"choices": [{"index": 0, **choice}], "usage": usage})


def _call(**function: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "weather", **function}}


async def test_tools_are_sent_and_calls_are_read() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [_call(arguments="{}")]}
    server = FakeServer(_reply({"message": message, "finish_reason": "tool_calls"}))
    [completion] = await remote(server).generate(ASK)
    assert completion.tool_calls == (ToolCall("weather", "{}", "c1"),)
    assert (completion.text, completion.finish_reason) == ("", "tool_calls")
    [body] = server.bodies
    function = {"name": "weather", "description": "Weather", "strict": True}
    assert body["tools"][0]["function"] == function | {"parameters": WEATHER.parameters}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


async def test_earlier_calls_and_results_are_sent() -> None:
    server = FakeServer()
    turns = (
        Message("assistant", "", (ToolCall("weather", "{}", "c1"),)),
        Message("tool", "21", (), "c1", "weather"),
    )
    await remote(server).generate(replace(ASK, messages=(*ASK.messages, *turns)))
    _, turn, result = server.bodies[0]["messages"]
    assert turn == {"role": "assistant", "content": None, "tool_calls": [_call(arguments="{}")]}
    assert result == {"role": "tool", "content": "21", "tool_call_id": "c1", "name": "weather"}


async def test_fragments_of_a_stream_are_joined_and_sent_on() -> None:
    deltas: list[dict[str, Any]] = [
        {"tool_calls": [{"index": 0, **_call(arguments="")}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]},
    ]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    content = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    headers = {"content-type": "text/event-stream"}
    server = FakeServer(httpx.Response(200, content=content.encode(), headers=headers))
    events: list[Event] = []
    [completion] = await remote(server).generate(ASK, events.append)
    assert completion.tool_calls == (ToolCall("weather", '{"a": 1}', "c1"),)
    assert completion.finish_reason == "tool_calls"
    assert events == [
        ToolCallDelta(0, 0, id="c1", name="weather"),
        ToolCallDelta(0, 0, '{"a":'),
        ToolCallDelta(0, 0, " 1}"),
    ]
