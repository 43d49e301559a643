"""Reasoning of served models, separate from their answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from archon.graph.architecture import Architecture
from archon.graph.lm import ArchitectureLM
from archon.graph.validation.build import build
from archon.lm.base import LM
from archon.lm.openai.sse import EventParser
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve.app import create_app
from archon.spec.architecture import ArchitectureSpec
from archon.types import Completion, OnEvent, Request, Thinking, Usage

REASONING, ANSWER = "<think>\nThe answer is 4? No.\n</think>\n\n", "The answer is 5."
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "2 + 3?"}]}


def scripted() -> ScriptedLM:
    return ScriptedLM(in_turn([REASONING + ANSWER]))


def graph(output: str) -> ArchitectureLM:
    data = {
        "version": 1,
        "name": "tested",
        "models": {"solver": "scripted"},
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 2},
            "answer": {"type": "vote", "inputs": ["draft"]},
        },
        "output": output,
    }
    if output == "draft":
        del data["nodes"]["answer"]  # type: ignore[attr-defined]
    spec = ArchitectureSpec.model_validate(data)
    return ArchitectureLM(Architecture(build(spec, {}), {"solver": scripted()}, {}))


class Silent:
    """A custom model, which sends no deltas."""

    capabilities = frozenset({"chat"})

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        return [Completion(REASONING + ANSWER, 0, "stop", Usage(calls=1), {"p": 1})]


MODELS = {"plain": scripted, "writes": lambda: graph("draft"), "chooses": lambda: graph("answer")}


async def post(lm: LM, **values: object) -> httpx.Response:
    transport = httpx.ASGITransport(create_app({"m": lm}))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        return await http.post("/v1/chat/completions", json=ASKED | values)


@pytest.mark.parametrize("model", [*MODELS, "silent"])
async def test_a_message_has_content_and_reasoning_content(model: str) -> None:
    lm: LM = MODELS[model]() if model in MODELS else Silent()
    message = (await post(lm)).json()["choices"][0]["message"]
    assert message["content"] == ANSWER
    assert message["reasoning_content"] == REASONING


@pytest.mark.parametrize("model", [*MODELS, "silent"])
async def test_a_delta_has_either_content_or_reasoning(model: str) -> None:
    lm: LM = MODELS[model]() if model in MODELS else Silent()
    response = await post(lm, stream=True)
    parser = EventParser()
    found = parser.feed(response.content) + parser.end()
    deltas = [json.loads(e)["choices"][0]["delta"] for e in found if e != b"[DONE]"]
    assert "".join(d.get("content") or "" for d in deltas) == ANSWER
    assert "".join(d.get("reasoning_content", "") for d in deltas) == REASONING


async def test_a_model_that_does_not_reason_has_no_reasoning_content() -> None:
    reply = await post(ScriptedLM(in_turn([ANSWER])))
    assert "reasoning_content" not in reply.json()["choices"][0]["message"]


async def test_reasoning_that_was_cut_off_leaves_the_content_empty() -> None:
    choice = (await post(scripted(), max_tokens=4)).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")
    assert choice["message"]["reasoning_content"].startswith("<think>")


@pytest.mark.parametrize(
    ("values", "thinking"),
    [
        ({}, Thinking()),
        ({"chat_template_kwargs": {}}, Thinking()),
        ({"chat_template_kwargs": {"enable_thinking": False}}, Thinking(False)),
        (
            {"chat_template_kwargs": {"enable_thinking": True, "a": 1}},
            Thinking(True, {"a": 1}),
        ),
        ({"reasoning_effort": "none"}, Thinking(False)),
        ({"reasoning_effort": "high"}, Thinking(True)),
    ],
)
async def test_reasoning_settings_reach_the_model(
    values: dict[str, Any], thinking: Thinking
) -> None:
    lm = scripted()
    assert (await post(lm, **values)).status_code == 200
    assert lm.requests[0].thinking == thinking


async def test_template_variables_for_a_model_without_any_are_rejected() -> None:
    reply = await post(graph("answer"), chat_template_kwargs={"enable_thinking": False})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "chat_template_kwargs")
    reply = await post(scripted(), chat_template_kwargs={"messages": []})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "chat_template_kwargs")


async def test_an_effort_is_a_hint() -> None:
    assert (await post(graph("answer"), reasoning_effort="low")).status_code == 200
