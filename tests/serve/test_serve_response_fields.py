"""Fields of requests to the Responses API: rejected by name, accepted, or reported as ignored."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve.app import create_app

ROUTE = "/v1/responses"
ASKED: dict[str, Any] = {"model": "stub", "input": "Say hello"}


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [3]}, "input.0"),
        ({"input": [{"type": "function_call_output", "output": "1"}]}, "input.0.call_id"),
        ({"input": [{"type": "web_search_call"}]}, "input.0"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, None),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.0.id"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
        ({"tools": [{"type": "function", "name": "f"}]}, "tools"),
        ({"tools": [{"type": "function", "name": "f"}] * 2}, "tools.1.name"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        (
            {"input": [{"type": "function_call", "call_id": "1", "name": "f", "arguments": ""}]},
            "input",
        ),
        ({"include": ["everything"]}, "include.0"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 3, "max_output_tokens": 4}, "max_tokens"),
        ({"max_output_token": 3}, "max_output_token"),
        ({"max_output_tokens": 500_000}, "max_output_tokens"),
        ({"archon": {"trace": True}}, "archon.trace"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
    ],
)
async def test_a_rejection_names_the_field(
    http: httpx.AsyncClient, values: dict[str, Any], param: str | None
) -> None:
    response = await http.post(ROUTE, json=ASKED | values)
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["param"] == (param or "input.0.content.0.type")
    assert error["param"].split(".")[0] in error["message"]


async def test_fields_without_effect_are_accepted_and_hints_are_reported(
    http: httpx.AsyncClient,
) -> None:
    nothing = {
        "tools": [],
        "tool_choice": "auto",
        "background": False,
        "truncation": "disabled",
        "service_tier": "auto",
        "store": True,
        "n": 1,
        "max_output_tokens": -1,
        "include": ["file_search_call.results"],
        "max_tool_calls": 3,
        "instructions": None,
        "metadata": {"number": 7},
        "user": 3,
    }
    response = await http.post(ROUTE, json=ASKED | nothing)
    assert response.status_code == 200, response.text
    assert "x-archon-ignored" not in response.headers
    assert response.json()["metadata"] == {"number": "7"}
    assert response.json()["user"] == "3"
    hints = {
        "truncation": "auto",
        "service_tier": "flex",
        "include": ["reasoning.encrypted_content"],
        "text": {"verbosity": "low"},
        "top_logprobs": 3,
        "tools": [{"type": "function"}],
        "tool_choice": "none",
        "mood": "good",
    }
    response = await http.post(ROUTE, json=ASKED | hints)
    names = set(response.headers["x-archon-ignored"].split(", "))
    assert names == hints.keys() - {"text", "tool_choice"} | {"text.verbosity"}
    app = create_app({"stub": ScriptedLM(in_turn(["x"]))}, is_strict=True)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as strict:
        assert (await strict.post(ROUTE, json=ASKED | nothing)).status_code == 200
        for name in hints.keys() - {"tool_choice", "tools"}:
            response = await strict.post(ROUTE, json=ASKED | {name: hints[name]})
            assert response.status_code == 400
            assert name in response.json()["error"]["message"]
