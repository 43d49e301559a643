"""Requests that ``RemoteLM`` sends: body, seeds, concurrency."""

import asyncio
import json
from dataclasses import replace

import httpx
import pytest
from remote_doubles import (
    KEY,
    REQUEST,
    FakeServer,
    Wire,
    completion,
    good,
    remote,
)

from archon.errors import LMError
from archon.lm.openai.client import RemoteLM
from archon.spec.model import OpenAICard
from archon.types import (
    Message,
    ModelStatus,
    SamplingParams,
)


async def test_the_request_contains_only_what_was_asked() -> None:
    server = FakeServer()
    lm = remote(server, sampling={"temperature": 0.5, "stop": ["END"]})
    await lm.generate(replace(REQUEST, sampling=SamplingParams(max_tokens=9, top_k=0)))
    [body] = server.bodies
    assert body.pop("seed") in range(2**31)
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["END"],
    }
    assert str(server.requests[0].url) == "http://one.test/v1/chat/completions"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_additional_sampling_parameters_are_sent_only_where_they_matter() -> None:
    server = FakeServer()
    sampling = SamplingParams(top_k=40, top_p=0.9, min_p=0.05)
    await remote(server).generate(replace(REQUEST, sampling=sampling))
    [body] = server.bodies
    assert (body["top_k"], body["top_p"], body["min_p"]) == (40, 0.9, 0.05)


async def test_the_seed_of_a_sample_depends_on_prompt_seed_and_number() -> None:
    server = FakeServer()
    lm = remote(server, max_concurrency=1)
    await lm.generate(replace(REQUEST, n=3))
    await lm.generate(replace(REQUEST, first_draw=1, n=2))
    await lm.generate(replace(REQUEST, seed=4))
    await lm.generate(replace(REQUEST, messages=(Message("user", "Ho"),)))
    seeds = [body["seed"] for body in server.bodies]
    assert seeds[3:5] == seeds[1:3]
    assert len({*seeds}) == 5


async def test_the_status_counts_running_and_waiting_calls() -> None:
    seen: list[ModelStatus] = []

    class Slow(Wire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(0.001)  # the other calls go as far as they can
            seen.append(lm.status())
            return await super().handle_async_request(request)

    card = {"name": "far", "backend": "openai", "base_urls": ["http://one.test/v1"], "model": "m"}
    lm = RemoteLM(OpenAICard.model_validate(card | {"max_concurrency": 1}), http=Slow(good))
    await lm.generate(replace(REQUEST, n=3))
    assert [(s.num_running, s.num_waiting) for s in seen] == [(1, 2), (1, 1), (1, 0)]
    assert lm.status() == ModelStatus("calling", generated_tokens=6)


async def test_a_failed_call_is_no_longer_counted_as_running() -> None:
    lm = remote(FakeServer(*[httpx.Response(400)] * 3), max_concurrency=1)
    with pytest.raises(LMError):
        await lm.generate(replace(REQUEST, n=3))
    assert lm.status() == ModelStatus("calling")
    assert (await lm.generate(REQUEST))[0].text == "Hello"  # the place is free again


async def test_native_n_is_one_request_whose_usage_is_divided() -> None:
    reply = completion()
    reply["choices"] = [
        {"index": i, "message": {"content": text}, "finish_reason": "stop"}
        for i, text in [(1, "b"), (0, "a"), (2, "c")]
    ]
    reply["usage"] = {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    server = FakeServer(httpx.Response(200, json=reply))
    completions = await remote(server, native_n=True).generate(replace(REQUEST, n=3, first_draw=2))
    assert [body["n"] for body in server.bodies] == [3]
    assert [(c.draw, c.text) for c in completions] == [(2, "a"), (3, "b"), (4, "c")]
    assert [c.usage.completion_tokens for c in completions] == [3, 2, 2]
    assert all(c.usage.prompt_tokens == 5 and c.usage.cached_tokens == 4 for c in completions)


async def test_unicode_is_preserved_in_both_directions() -> None:
    text = "数学 🧮 naïve \u2028 \x00 \\u0041"

    def said(request: httpx.Request) -> httpx.Response:
        [message] = json.loads(request.content)["messages"]
        return httpx.Response(200, json=completion(message["content"]))

    [reply] = await remote(said).generate(replace(REQUEST, messages=(Message("user", text),)))
    assert reply.text == text
