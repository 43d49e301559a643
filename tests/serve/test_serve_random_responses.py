"""Random requests of the client's own types to ``/v1/responses`` are answered, or rejected by the
field's name."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import TypeAdapter
from random_requests import mutated, named, plausible_request, random_value
from serve_doubles import events

import archon
from archon.lm.base import LM
from archon.serve.app import create_app
from archon.serve.limits import Limits

PLAUSIBLE = {"input": "What is 17 * 23?", "max_output_tokens": 20}
REJECTED_PARTS = ("tools", "tool_choice", "prompt", "conversation", "background", "moderation")
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


@pytest.fixture(scope="module")
def models() -> Mapping[str, LM]:
    names = ("single", "self-consistency")
    architectures = {n: archon.lm(archon.load(n, models="scripted")) for n in names}
    return {**architectures, "scripted": archon.lm("scripted")}


@pytest.fixture
async def http(models: Mapping[str, LM]) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(models, limits=Limits(max_request_tokens=5_000))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


async def check(http: httpx.AsyncClient, body: Any) -> int:
    """Send a request and check the response; return its status."""
    content = json.dumps(body)
    body = json.loads(content)
    headers = {"content-type": "application/json"}
    response = await http.post("/v1/responses", content=content, headers=headers)
    if response.status_code == 200:
        if response.headers["content-type"] == "text/event-stream":
            for event in events(response):
                EVENT.validate_python(event)
            reply = event["response"]
        else:
            reply = response.json()
        Response.model_validate(reply)
        if reply["status"] == "failed":  # after the stream began with a node of the graph
            assert reply["error"]["code"] == "invalid_prompt", (body, reply)
            assert reply["error"]["message"].startswith("text.format: "), (body, reply)
            return 400
        assert reply["status"] in ("completed", "incomplete"), body
        return 200
    error = response.json()["error"]
    assert response.status_code in (400, 404), (error, body)
    if isinstance(body, dict):
        assert error["param"], (error, body)
        assert error["param"].split(".")[0] in error["message"], (error, body)
        assert named(error["param"], body), (error, body)
    return response.status_code


@pytest.mark.parametrize("seed", range(7))
async def test_a_plausible_request_is_answered_or_rejected(
    http: httpx.AsyncClient, models: Mapping[str, LM], seed: int
) -> None:
    rng = random.Random(seed)
    statuses = Counter[int]()
    for number in range(100):
        base = {"model": rng.choice(list(models)), **PLAUSIBLE}
        leave_out = REJECTED_PARTS if number % 2 else ()
        request = plausible_request(ResponseCreateParams, base, rng, leave_out=leave_out)
        statuses[await check(http, request)] += 1
    assert statuses[200] > 30
    assert statuses[400] > 5


async def test_an_arbitrary_request_is_answered_or_rejected(http: httpx.AsyncClient) -> None:
    rng = random.Random(1)
    for number in range(150):
        body = random_value(ResponseCreateParams, rng, fill=0.1 if number % 2 else 0.4)
        body["model"] = rng.choice([body.get("model"), "single", "scripted"])
        await check(http, body)


async def test_a_request_with_an_arbitrary_value_is_answered_or_rejected(
    http: httpx.AsyncClient,
) -> None:
    rng = random.Random(2)
    for _ in range(150):
        body = plausible_request(ResponseCreateParams, {"model": "single", **PLAUSIBLE}, rng)
        await check(http, mutated(body, rng))
