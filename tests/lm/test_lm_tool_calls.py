"""Tool calls in the notations of published models, read from texts and while texts grow."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from archon.lm.tool_calls.formats import FORMATS, JSON, ToolFormat, format_of
from archon.lm.tool_calls.parsing import ONE_CALL, split_calls, with_tool_calls
from archon.lm.tool_calls.stream import ToolCallEvents
from archon.types import (
    Completion,
    Event,
    Message,
    Request,
    TokenDelta,
    Tool,
    ToolCallDelta,
    Usage,
)

WEATHER = Tool(
    "weather",
    "Weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
)
TOOLS = (WEATHER, Tool("now"))
REQUEST = Request((Message("user", "Paris?"),), tools=TOOLS)
_CALL = '{"name": "weather", "arguments": {"city": "Paris", "days": 2}}'
_ARGUMENTS = '{"city": "Paris", "days": 2}'
REPLIES = {
    "hermes": f"<tool_call>\n{_CALL}\n</tool_call>",
    "function_tags": "<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n"
    "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
    "key_value_tags": "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>",
    "mistral": f"[TOOL_CALLS] [{_CALL}]",
    "mistral_arguments": f"[TOOL_CALLS]weather[ARGS]{_ARGUMENTS}",
    "deepseek_code": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
    f"```json\n{_ARGUMENTS}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "deepseek": f"<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{_ARGUMENTS}<｜tool▁call▁end｜>",
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0"
    f"<|tool_call_argument_begin|>{_ARGUMENTS}<|tool_call_end|><|tool_calls_section_end|>",
    "function_gemma": "<start_function_call>call:weather{city:<escape>Paris<escape>,days:2}"
    "<end_function_call>",
    "gemma4": '<|tool_call>call:weather{city:<|"|>Paris<|"|>,days:2}<tool_call|>',
    "command": '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "weather", "parameters": '
    f"{_ARGUMENTS}}}]<|END_ACTION|>",
    "lfm2": '<|tool_call_start|>[weather(city="Paris", days=2)]<|tool_call_end|>',
    "granite": f"<|tool_call|>[{_CALL}]",
    "llama": f'<|python_tag|>{{"name": "weather", "parameters": {_ARGUMENTS}}}',
}


def named(name: str) -> ToolFormat:
    return next(format for format in FORMATS if format.name == name)


@pytest.mark.parametrize("name", [format.name for format in FORMATS])
def test_a_call_is_read_in_the_notation_of_each_format(name: str) -> None:
    format = named(name)
    assert format_of(" ".join(format.signs)) is format
    text, [call] = split_calls(f"Let me look.\n{REPLIES[name]}", format, TOOLS)
    assert (text, call.name) == ("Let me look.", "weather")
    assert json.loads(call.arguments) == {"city": "Paris", "days": 2}


@pytest.mark.parametrize("name", [format.name for format in FORMATS])
def test_nothing_of_a_reply_is_lost(name: str) -> None:
    format, whole = named(name), REPLIES[name]
    unknown = whole.replace("weather", "forecast")
    assert split_calls(unknown, format, TOOLS) == (unknown, ())
    for length in range(len(whole)):
        text, calls = split_calls(whole[:length], format, TOOLS)
        assert calls or text == whole[:length]


def test_several_calls_have_ids_of_their_own() -> None:
    reply = f"{REPLIES['hermes']}\n" + REPLIES["hermes"].replace("Paris", "Rome")
    sample = Completion(reply, 0, "stop", Usage(), {"p": 1})
    called = with_tool_calls(sample, named("hermes"), REQUEST)
    assert (called.text, called.finish_reason) == ("", "tool_calls")
    first, second = called.tool_calls
    assert first.id != second.id
    assert "Rome" in second.arguments
    one = with_tool_calls(sample, named("hermes"), replace(REQUEST, parallel_tool_calls=False))
    assert (one.tool_calls, one.notes) == ((first,), (ONE_CALL,))


@pytest.mark.parametrize(
    "reply",
    [
        _CALL,
        f"```json\n{_CALL}\n```",
        f"<tools>\n{_CALL}\n</tools>",
        f"[{_CALL}]",
        '{"type": "function", "function": {"name": "now", "arguments": "{}"}}',
        f'{_CALL}; {{"name": "now", "parameters": {{}}}}',
    ],
)
def test_a_reply_that_is_only_a_call_needs_no_markers(reply: str) -> None:
    for format in (JSON, named("hermes"), named("llama")):
        text, calls = split_calls(reply, format, TOOLS)
        assert text == ""
        assert calls


@pytest.mark.parametrize(
    "reply",
    [
        'An example: {"name": "now", "arguments": {}}',
        '{"name": "Ann", "age": 3}',
        "<tool_call>" * 50,
        '<tool_call>{"name": "now", "arguments": NaN}</tool_call>',
        "[" * 100_000,
    ],
)
def test_text_that_is_no_call_stays_text(reply: str) -> None:
    assert split_calls(reply, named("hermes"), TOOLS) == (reply, ())


def streamed(reply: str, format: ToolFormat, size: int) -> tuple[str, list[Any]]:
    events: list[Event] = []
    listener = ToolCallEvents(events.append, format)
    for at in range(0, len(reply), size):
        listener(TokenDelta(0, reply[at : at + size]))
    done = with_tool_calls(Completion(reply, 0, "stop", Usage(), {}), format, REQUEST)
    listener.finish([done])
    text = "".join(e.text for e in events if isinstance(e, TokenDelta))
    assert text == done.text
    return text, [e for e in events if isinstance(e, ToolCallDelta)]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("name", [format.name for format in FORMATS])
def test_a_stream_has_the_text_and_the_calls_of_the_reply(name: str, size: int) -> None:
    text, parts = streamed(f"I look.\n\n{REPLIES[name]}", named(name), size)
    assert text == "I look."
    assert [(p.index, p.name) for p in parts] == [(0, "weather"), (0, "")]
    assert json.loads(parts[1].arguments)["city"] == "Paris"
    for plain in ("1 < 2 and {x}", "  a <tool_cat> [TOOL \n", '{"name": 1}', "```json\n[1]\n```"):
        assert streamed(plain, named(name), size) == (plain, [])


def test_text_is_sent_as_soon_as_it_cannot_be_a_call() -> None:
    events: list[Event] = []
    listener = ToolCallEvents(events.append, named("hermes"))
    listener(TokenDelta(0, "It is 3 <"))
    listener(TokenDelta(0, "4."))
    assert events == [TokenDelta(0, "It is 3"), TokenDelta(0, " <4.")]
