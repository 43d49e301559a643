"""``POST /v1/completions``: prompts, echo, log-probabilities, streams, and rejected fields."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.completion_create_params import CompletionCreateParams
from random_requests import assert_answered_or_rejected, mutated, plausible_request, random_value
from serve_doubles import Patient, events

import archon
from archon.lm.base import LM
from archon.lm.openai.client import RemoteLM
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve.app import create_app
from archon.serve.completion_request import CompletionRequest, read_completion_request
from archon.serve.limits import Limits
from archon.spec.model import OpenAICard

PATH = "/v1/completions"


@pytest.fixture(scope="module")
def models(tiny_chat_file: Path) -> Mapping[str, LM]:
    card = {
        "name": "tiny",
        "backend": "local",
        "sources": [{"path": str(tiny_chat_file)}],
        "precision": "float32",
    }
    return {
        "tiny": archon.lm(card),
        "scripted": ScriptedLM(in_turn(["one two three", "four five"])),
        "single": archon.lm(archon.load("single", models="scripted")),
        "chat-only": ScriptedLM(in_turn(["x"]), capabilities=frozenset({"chat"})),
    }


@pytest.fixture
async def http(models: Mapping[str, LM]) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(models, limits=Limits(max_request_tokens=3000, max_inputs=5))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


async def complete(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await http.post(PATH, json={"model": "tiny", **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_openai_s_client_reads_the_answers(http: httpx.AsyncClient) -> None:
    client = openai.AsyncOpenAI(base_url="http://test/v1", api_key="x", http_client=http)
    answer = await client.completions.create(
        model="tiny", prompt=["a b", "c"], n=2, max_tokens=4, seed=3, logprobs=2, echo=True
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [choice.text[:1] for choice in answer.choices] == ["a", "a", "c", "c"]
    assert answer.usage is not None
    for choice in answer.choices:
        found = choice.logprobs
        assert found is not None
        assert found.tokens is not None
        assert found.token_logprobs is not None
        assert found.top_logprobs is not None
        assert found.text_offset is not None
        assert found.token_logprobs[0] is None
        assert "".join(found.tokens).startswith(choice.text[:2])
        for at, token in enumerate(found.tokens[1:], 1):
            top = found.top_logprobs[at]
            assert top[token] == found.token_logprobs[at]
            assert 2 <= len(top) <= 3
            assert choice.text[found.text_offset[at] :].startswith(token[:1])


async def test_a_prompt_of_token_ids_is_echoed_as_text(http: httpx.AsyncClient) -> None:
    text = await complete(http, prompt="a b", max_tokens=0, echo=True, logprobs=0)
    [choice] = text["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("a b", "length")
    assert text["usage"]["completion_tokens"] == 0
    count = len(choice["logprobs"]["tokens"])
    assert text["usage"]["prompt_tokens"] == text["usage"]["total_tokens"] == count
    lm_ids = [5, 6, 7]
    of_ids = await complete(http, prompt=lm_ids, max_tokens=2, echo=True, temperature=0)
    streamed = await http.post(
        PATH,
        json={
            "model": "tiny", "prompt": lm_ids, "max_tokens": 2, "echo": True, "temperature": 0,
            "stream": True,
        },
    )  # fmt: skip
    chunks = events(streamed)
    assert chunks.pop() == "[DONE]"
    parts = [chunk["choices"][0]["text"] for chunk in chunks]
    assert "".join(parts) == of_ids["choices"][0]["text"]


async def test_a_stream_has_the_texts_and_the_usage_of_the_answer(http: httpx.AsyncClient) -> None:
    body = {"prompt": ["a b", "a b"], "n": 2, "max_tokens": 4, "seed": 3, "echo": True}
    plain = await complete(http, **body, logprobs=1)
    options = {"stream": True, "stream_options": {"include_usage": True}, "logprobs": 1}
    chunks = events(await http.post(PATH, json={"model": "tiny", **body, **options}))
    assert chunks.pop() == "[DONE]"
    used = chunks.pop()
    assert used["choices"] == []
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert used["usage"][name] == plain["usage"][name]
    texts = [""] * 4
    for chunk in chunks:
        assert chunk["usage"] is None
        [choice] = chunk["choices"]
        texts[choice["index"]] += choice["text"]
        if choice["finish_reason"]:
            of_plain = plain["choices"][choice["index"]]
            assert choice["logprobs"]["tokens"] == of_plain["logprobs"]["tokens"]
    assert texts == [choice["text"] for choice in plain["choices"]]
    one = await complete(http, prompt="a b", max_tokens=4)
    assert plain["usage"]["prompt_tokens"] == 2 * one["usage"]["prompt_tokens"]


async def test_the_default_of_max_tokens_is_openai_s(http: httpx.AsyncClient) -> None:
    scripted = create_app({"m": ScriptedLM(in_turn(["word " * 40]))})
    transport = httpx.ASGITransport(scripted)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for asked, expected in (({}, 16), ({"max_tokens": -1}, 40), ({"max_tokens": None}, 16)):
            response = await client.post(PATH, json={"model": "m", "prompt": "x", **asked})
            assert response.json()["usage"]["completion_tokens"] == expected


async def test_an_architecture_gets_the_prompt_as_its_question(http: httpx.AsyncClient) -> None:
    answer = await complete(http, model="single", prompt=["What is 2 + 3?", "What is 4 + 5?"])
    assert len(answer["choices"]) == 2
    assert all("answer is" in choice["text"] for choice in answer["choices"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": [[]]}, "prompt.0"),
        ({"prompt": [1, "a"]}, "prompt.1"),
        ({"prompt": [True]}, "prompt.0"),
        ({"prompt": [-1]}, "prompt.0"),
        ({"prompt": [10**30]}, "prompt.0"),
        ({"prompt": [1.5]}, "prompt.0"),
        ({"prompt": [100_000_000]}, "prompt"),
        ({"prompt": ["a"] * 6}, "prompt"),
        ({"prompt": "a " * 3000}, "prompt"),
        ({"prompt": "", "add_special_tokens": False}, "prompt"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
        ({"prompt": "a", "logprobs": 21}, "logprobs"),
        ({"prompt": "a", "logprobs": True}, "logprobs"),
        ({"prompt": "a", "echo": "yes"}, "echo"),
        ({"prompt": "a", "max_tokens": -2}, "max_tokens"),
        ({"prompt": "a", "messages": []}, "messages"),
        ({"prompt": "a", "response_format": {"type": "json_object"}}, "response_format"),
        ({"prompt": "a", "promt": 1}, "promt"),
        ({"prompt": ["a"] * 5, "max_tokens": 1000}, "n"),
        ({"prompt": "a", "stream_options": {"include_usage": True}}, "stream_options"),
        ({"prompt": "a", "model": "single", "echo": True}, "echo"),
        ({"prompt": "a", "model": "single", "logprobs": 1}, "logprobs"),
        ({"prompt": [1], "model": "single"}, "prompt"),
        ({"prompt": "a", "model": "single", "max_tokens": 0}, "max_tokens"),
        ({"prompt": [1], "model": "scripted"}, "prompt"),
        ({"prompt": "a", "model": "chat-only"}, "model"),
        ({"prompt": "a", "model": "missing"}, "model"),
    ],
)
async def test_an_error_names_the_field(
    http: httpx.AsyncClient, body: dict[str, Any], param: str
) -> None:
    response = await http.post(PATH, json={"model": "tiny", **body})
    assert response.status_code in (400, 404)
    error = response.json()["error"]
    assert error["param"] == param
    assert param.split(".")[0] in error["message"]


def test_neutral_fields_are_accepted_and_hints_are_reported() -> None:
    neutral = {"best_of": 2, "n": 2, "suffix": "", "user": "u", "logprobs": False, "echo": False}
    body = {"model": "m", "prompt": "a", **neutral}
    assert read_completion_request(json.dumps(body).encode(), is_strict=True).n == 2
    read = read_completion_request(json.dumps({**body, "verbosity": "low"}).encode())
    assert read.ignored.names == ["verbosity"]


def test_every_parameter_of_openai_s_client_is_known() -> None:
    names = {
        name for kind in CompletionCreateParams.__args__ for name in kind.__annotations__  # type: ignore[attr-defined]
    }  # fmt: skip
    assert names - {"best_of"} <= CompletionRequest.model_fields.keys() | CompletionRequest.rules


async def test_random_requests_are_answered_or_rejected(
    http: httpx.AsyncClient, models: Mapping[str, LM]
) -> None:
    rng, statuses = random.Random(0), []
    for turn in range(1000):
        base = {"model": rng.choice(list(models)), "prompt": "a b", "max_tokens": 5}
        body = plausible_request(CompletionCreateParams, base, rng)
        body = mutated(body, rng) if turn % 3 == 1 else body
        body = random_value(CompletionCreateParams, rng) if turn % 3 == 2 else body
        if not isinstance(body, dict):
            continue
        response = await http.post(PATH, json=json.loads(json.dumps(body)))
        statuses.append(response.status_code)
        assert_answered_or_rejected(response, body)
    assert statuses.count(200) > 200


async def test_a_disconnected_client_cancels_all_prompts() -> None:
    lm = Patient()
    lm.capabilities = frozenset({"chat", "completion"})
    app = create_app({"m": lm})
    body = json.dumps({"model": "m", "prompt": ["a", "b"]}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await lm.began.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("there is no client")

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": PATH, "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"host", b"test")],
    }  # fmt: skip
    await app(scope, receive, send)  # type: ignore[arg-type]
    await asyncio.wait_for(lm.ended.wait(), 5)


async def test_a_server_of_completions_gets_the_raw_prompt() -> None:
    sent: list[dict[str, Any]] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        choice = {"index": 0, "text": " b", "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        content = json.dumps({"choices": [choice], "usage": usage}).encode()

        async def body() -> AsyncIterator[bytes]:  # the client reads the connection itself
            yield content

        return httpx.Response(200, headers={"content-type": "application/json"}, content=body())

    card = OpenAICard.model_validate({
        "name": "remote", "backend": "openai", "base_urls": ["http://server/v1"], "model": "m",
        "endpoint": "completions",
    })  # fmt: skip
    lm = RemoteLM(card, http=httpx.MockTransport(reply))
    transport = httpx.ASGITransport(create_app({"remote": lm}))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        for prompt in (["<|im_start|>a"], [[4, 5]]):
            response = await http.post(
                PATH, json={"model": "remote", "prompt": prompt, "max_tokens": 7}
            )
            assert response.status_code == 200, response.text
            assert response.json()["choices"][0]["text"] == " b"
        assert [one["prompt"] for one in sent] == ["<|im_start|>a", [4, 5]]
        assert {one["max_tokens"] for one in sent} == {7}
        body = {"model": "remote", "prompt": "a"}
        refused = await http.post(PATH, json={**body, "echo": True, "logprobs": 1})
        assert refused.json()["error"]["param"] == "echo"
    await lm.aclose()
