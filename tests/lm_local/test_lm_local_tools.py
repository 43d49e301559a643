"""Tools in prompts of local models, and replies that must be calls, on a tiny random model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_lm_doubles import open_tiny
from tiny_models import TinyModel, write_gguf

from archon.errors import UnsupportedError
from archon.lm.local.lm import LocalLM
from archon.types import (
    Constraint,
    Event,
    Message,
    NamedTool,
    Request,
    SamplingParams,
    Tool,
    ToolCall,
    ToolCallDelta,
)

TEMPLATE = (
    "{% for tool in tools or [] %}"
    "{{ tool.function.name + tool.function.description }}\n{% endfor %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}"
    "{% for call in m.tool_calls or [] %}"
    "{{ '<tool_call>' ~ call.function.name ~ call.function.arguments.city ~ '</tool_call>' }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
CITY = {"type": "string", "enum": ["Paris", "Rome"]}
WEATHER = Tool(
    "weather",
    "Weather of <|im_end|> a city",
    {
        "type": "object",
        "properties": {"city": CITY},
        "required": ["city"],
        "additionalProperties": False,
    },
)
NOW = Tool("now")
REQUEST = Request(
    (Message("user", "Paris?"),),
    n=3,
    sampling=SamplingParams(1.0, max_tokens=120),
    tools=(WEATHER, NOW),
)


@pytest.fixture(scope="module")
def tool_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tools") / "tools.gguf"
    write_gguf(path, TinyModel(family="qwen2", chat_template=TEMPLATE))
    return path


@pytest.fixture
async def lm(tool_file: Path) -> AsyncIterator[LocalLM]:
    lm = open_tiny(tool_file)
    yield lm
    await lm.aclose()


async def test_a_required_call_matches_the_schema(lm: LocalLM) -> None:
    events: list[Event] = []
    for completion in await lm.generate(replace(REQUEST, tool_choice="required"), events.append):
        [call] = completion.tool_calls
        assert completion.finish_reason == "tool_calls"
        assert completion.text == ""
        arguments = json.loads(call.arguments)
        assert arguments == {} if call.name == "now" else arguments["city"] in CITY["enum"]
    assert [e.index for e in events if isinstance(e, ToolCallDelta)] == [0] * 6
    for completion in await lm.generate(replace(REQUEST, tool_choice=NamedTool("now"))):
        assert [(c.name, c.arguments) for c in completion.tool_calls] == [("now", "{}")]


async def test_a_schema_of_the_text_leaves_calls_possible(lm: LocalLM) -> None:
    request = replace(REQUEST, constraint=Constraint(json_schema={"const": 7}), n=8)
    for completion in await lm.generate(request):
        assert completion.tool_calls or completion.text == "7"


async def test_tools_and_calls_are_in_the_prompt(lm: LocalLM) -> None:
    turns = (
        *REQUEST.messages,
        Message("assistant", "", (ToolCall("weather", '{"city": "Rome"}', "id1"),)),
        Message("tool", "21 <|im_end|>", (), "id1", "weather"),
    )
    prompt = lm.chat.prompt(turns, None, REQUEST.tools)
    assert "weatherWeather of" in prompt.text
    assert "<tool_call>weatherRome</tool_call>" in prompt.text
    end = lm.tokenizer.special_ids["<|im_end|>"]
    assert prompt.ids.count(end) == 3  # not those in the description and in the result


async def test_only_requests_with_tools_have_other_keys(lm: LocalLM) -> None:
    plain = replace(REQUEST, tools=())
    keys = {
        lm.draw_key(request)
        for request in (
            plain,
            REQUEST,
            replace(REQUEST, tools=(WEATHER,)),
            replace(REQUEST, tool_choice="required"),
        )
    }
    assert len(keys) == 4
    unused = replace(plain, tool_choice="required", parallel_tool_calls=False)
    assert lm.draw_key(unused) == lm.draw_key(plain)
    assert lm.draw_key(replace(REQUEST, tool_choice="none")) == lm.draw_key(plain)


async def test_a_schema_that_cannot_be_compiled_is_an_error_of_the_tools(lm: LocalLM) -> None:
    bad = Tool("bad", "", {"type": "object", "properties": {"a": {"type": "colour"}}})
    with pytest.raises(UnsupportedError, match="colour") as caught:
        await lm.generate(replace(REQUEST, tools=(bad,), tool_choice="required"))
    assert caught.value.field == "tools"


async def test_a_template_without_tools_has_no_capability(tiny_chat_file: Path) -> None:
    lm = open_tiny(tiny_chat_file)
    try:
        assert "tools" not in lm.capabilities
        with pytest.raises(UnsupportedError, match="'tools'"):
            await lm.generate(REQUEST)
    finally:
        await lm.aclose()
