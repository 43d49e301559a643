"""Functions, objects, clients and pipelines as language models."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

import archon
from archon import Completion, Message, Request, SamplingParams, Usage
from archon.errors import LMError, NodeError, UnsupportedError, UsageError
from archon.lm.base import LM
from archon.lm.custom.token_counts import INCOMPLETE_COST, UNKNOWN_TOKENS

ASK = Request((Message("system", "Be brief."), Message("user", "2 + 3?")), n=2, first_draw=4)
DICTS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 3?"}]
GRAPH = {
    "version": 1,
    "name": "vote",
    "models": {"solver": "scripted"},
    "nodes": {
        "draft": {"type": "generator", "model": "solver", "samples": 3},
        "answer": {"type": "vote", "inputs": ["draft"]},
    },
    "output": "answer",
}


async def test_a_function_of_messages_is_called_once_for_each_sample() -> None:
    seen = []

    def solve(messages: list[dict[str, str]]) -> str:
        seen.append((messages, threading.current_thread() is threading.main_thread()))
        return "5"

    lm = archon.lm(solve)
    assert isinstance(lm, LM)
    completions = await lm.generate(ASK)
    assert seen == [(DICTS, False)] * 2
    assert [(c.text, c.draw, c.finish_reason) for c in completions] == [
        ("5", 4, "stop"),
        ("5", 5, "stop"),
    ]
    assert [c.usage for c in completions] == [Usage(calls=1)] * 2
    assert all(UNKNOWN_TOKENS in c.notes for c in completions)
    assert completions[0].prompts.keys() == completions[1].prompts.keys()


async def test_functions_get_the_parameters_that_they_name() -> None:
    seeds = []

    async def sampled(
        messages: Any, *, seed: int, temperature: float, top_p: float = 0.5, **_: Any
    ) -> str:
        seeds.append(seed)
        return f"{temperature} {top_p}"

    request = archon.Request(ASK.messages, n=3, sampling=SamplingParams(temperature=0.2))
    texts = [c.text for c in await archon.lm(sampled).generate(request)]
    assert texts == ["0.2 0.5"] * 3
    assert len(set(seeds)) == 3
    again = list(seeds)
    await archon.lm(sampled).generate(request)
    assert sorted(seeds[3:]) == sorted(again)

    def all_at_once(messages: Any, n: int) -> list[str]:
        return ["a", "b"][:n]

    assert [c.text for c in await archon.lm(all_at_once).generate(ASK)] == ["a", "b"]

    def of_request(request: Request) -> list[Completion]:
        return [Completion(str(request.first_draw + i)) for i in range(request.n)]

    assert [c.draw for c in await archon.lm(of_request).generate(ASK)] == [4, 5]


async def test_parameters_that_a_function_does_not_get_are_noted_and_stops_are_applied() -> None:
    request = Request(
        ASK.messages, sampling=SamplingParams(temperature=0.2, max_tokens=9, stop=("END",))
    )
    (completion,) = await archon.lm(lambda messages: "five END six", name="f").generate(request)
    assert completion.text == "five "
    assert "the model f does not receive temperature, max_tokens" in completion.notes


async def test_an_asynchronous_generator_streams() -> None:
    async def pieces(messages: Any) -> AsyncIterator[str]:
        for piece in ("The answer ", "is 5."):
            yield piece

    lm = archon.lm(pieces)
    assert "stream" in lm.capabilities
    events: list[Any] = []
    (completion,) = await lm.generate(Request(ASK.messages), events.append)
    assert completion.text == "The answer is 5."
    assert [event.text for event in events] == ["The answer ", "is 5."]
    events.clear()
    stopped = Request(ASK.messages, sampling=SamplingParams(stop=("is",)))
    await lm.generate(stopped, events.append)
    assert [event.text for event in events] == ["The answer "]


async def test_known_counts_stay_and_are_no_reason_for_a_note() -> None:
    usage = Usage(prompt_tokens=7, completion_tokens=2, generated_tokens=2)

    async def counted(messages: Any) -> Completion:
        return Completion("5", usage=usage, finish_reason="length")

    (completion,) = await archon.lm(counted).generate(Request(ASK.messages))
    assert completion.finish_reason == "length"
    assert completion.usage == Usage(7, 0, 2, 2, 0, 1)
    assert list(completion.prompts.values()) == [7]
    assert not completion.notes


async def test_an_error_names_the_function() -> None:
    def broken(messages: Any) -> str:
        raise KeyError("key")

    with pytest.raises(LMError, match="broken failed: KeyError: 'key'"):
        await archon.lm(broken).generate(ASK)
    with pytest.raises(LMError, match="returned int; it must return a str"):
        await archon.lm(lambda messages: 5).generate(ASK)
    with pytest.raises(LMError, match="returned 1 texts instead of 2"):
        await archon.lm(lambda messages, n: ["5"]).generate(ASK)
    with pytest.raises(LMError, match="StopIteration"):
        await archon.lm(lambda messages: next(iter(()))).generate(ASK)
    with pytest.raises(UnsupportedError, match="logprobs"):
        await archon.lm(lambda messages: "").generate(Request(ASK.messages, logprobs=True))
    with pytest.raises(NodeError, match="broken failed"):
        archon.load(GRAPH, {"solver": broken}).run("?")


async def test_one_failed_sample_does_not_fail_the_others() -> None:
    calls = iter((0, 1))

    async def sometimes(messages: Any) -> str:
        if next(calls):
            raise ValueError("no")
        return "5"

    first, second = await archon.lm(sometimes).generate(ASK)
    assert (first.text, second.error) == (
        "5",
        "the model test_one_failed_sample_does_not_fail_the_others.<locals>.sometimes failed: "
        "ValueError: no",
    )


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: "5", "needs a positional parameter"),
        (lambda messages, client: "5", "parameter 'client' without a default"),
        (5, "int is no model"),
        (dict, "dict is a class"),
    ],
)
def test_what_is_no_model_is_refused(model: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        archon.lm(model)


def test_a_function_takes_a_role_or_all_roles_and_its_missing_counts_are_reported(
    tmp_path: Any,
) -> None:
    async def solve(messages: list[dict[str, str]]) -> str:
        return "The answer is 5."

    for models in ({"solver": solve}, solve):
        answer = archon.load(GRAPH, models).run("2 + 3?")
        assert answer.value == "5"
        assert answer.usage.calls == 3
        assert INCOMPLETE_COST in answer.notes
    report = archon.evaluate(archon.load(GRAPH, solve), "smoke", limit=2, output=tmp_path / "run")
    assert any("2 of 2 answers lack token counts" in warning for warning in report.warnings)
    counted = archon.evaluate(GRAPH, "smoke", limit=2, output=tmp_path / "counted")
    assert not any("token counts" in warning for warning in counted.warnings)
    assert "at least 0 tokens per answer" in repr(report)
    assert "at least" not in repr(counted)


def test_a_budget_keeps_what_an_unknown_count_may_have_used() -> None:
    spec = {**GRAPH, "budget": {"max_tokens": 1500}}
    answer = archon.load(spec, lambda messages: "The answer is 5.").run("2 + 3?")
    assert answer.limited_by == "tokens"
    assert answer.usage.calls < 3


def test_objects_with_generate() -> None:
    class Minimal:
        async def generate(self, request: Request) -> list[str]:
            return ["The answer is 5."] * request.n

    class Unnumbered:
        capabilities = frozenset({"chat"})

        async def generate(self, request: Request, on_event: Any = None) -> list[Completion]:
            return [Completion(f"The answer is {i}.") for i in range(request.n)]

    assert archon.load(GRAPH, {"solver": Minimal()}).run("2 + 3?").value == "5"
    answer = archon.load(GRAPH, {"solver": Unnumbered()}).run("2 + 3?")
    assert [c.id.draw for c in answer.trace.nodes["draft"].outputs] == [0, 1, 2]
    assert answer.usage.calls == 3


def test_an_architecture_takes_a_role() -> None:
    inner = archon.load(GRAPH)
    assert archon.load(GRAPH, {"solver": inner}).run("2 + 3?").text


# ------------------------------------------------------------------------------------- clients


def fake_client(*, is_async: bool, models: list[str]) -> Any:
    """A client with the methods of ``openai``'s; ``sent`` collects what its method gets."""
    sent: list[dict[str, Any]] = []

    def reply(**fields: Any) -> Any:
        sent.append(fields)
        message = {"role": "assistant", "content": "The answer is 5."}
        body = {
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 4},
        }
        return SimpleNamespace(model_dump_json=lambda: json.dumps(body))

    async def areply(**fields: Any) -> Any:
        await asyncio.sleep(0)
        return reply(**fields)

    def listed() -> Any:
        return SimpleNamespace(data=[SimpleNamespace(id=name) for name in models])

    return SimpleNamespace(
        chat=SimpleNamespace(completions=SimpleNamespace(create=areply if is_async else reply)),
        models=SimpleNamespace(list=listed),
        sent=sent,
    )


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_client_is_called_for_each_sample_with_its_own_seed(is_async: bool) -> None:
    client = fake_client(is_async=is_async, models=["small"])
    sampling = SamplingParams(temperature=0.5, max_tokens=20, top_k=5)
    request = Request(ASK.messages, n=2, sampling=sampling)
    completions = await archon.lm(client).generate(request)
    assert [c.text for c in completions] == ["The answer is 5."] * 2
    assert completions[0].usage == Usage(11, 0, 4, 4, 0, 1)
    assert not completions[0].notes
    first, second = client.sent
    assert first["seed"] != second["seed"]
    assert (first["model"], first["messages"]) == ("small", DICTS)
    assert (first["temperature"], first["max_tokens"]) == (0.5, 20)
    assert first["extra_body"] == {"top_k": 5}


async def test_a_client_s_model_is_named_or_the_only_one() -> None:
    client = fake_client(is_async=True, models=["small", "large"])
    await archon.lm(client, name="large").generate(Request(ASK.messages))
    assert client.sent[0]["model"] == "large"
    with pytest.raises(UsageError, match=r"has 2 models: small, large; name one"):
        await archon.lm(client).generate(Request(ASK.messages))


async def test_an_error_of_a_client_names_the_model() -> None:
    client = fake_client(is_async=True, models=[])

    async def create(**fields: Any) -> Any:
        raise ConnectionError("refused")

    client.chat.completions.create = create
    with pytest.raises(LMError, match="client of the model m failed: ConnectionError: refused"):
        await archon.lm(client, name="m").generate(ASK)
