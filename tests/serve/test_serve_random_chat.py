"""Random chat requests of the client's own types are answered, or rejected by the field's name."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParams
from random_requests import mutated, named, plausible_request, random_value

import archon
from archon.lm.base import LM
from archon.serve.app import create_app
from archon.serve.limits import Limits

PLAUSIBLE = {"messages": [{"role": "user", "content": "What is 17 * 23?"}], "max_tokens": 20}


@pytest.fixture(scope="module")
def models(tiny_chat_file: Path) -> Mapping[str, LM]:
    names = ("single", "self-consistency", "rank-fuse")
    architectures = {n: archon.lm(archon.load(n, models="scripted")) for n in names}
    sources = [{"path": str(tiny_chat_file)}]
    card = {"name": "tiny", "backend": "local", "sources": sources, "precision": "float32"}
    return {**architectures, "scripted": archon.lm("scripted"), "tiny": archon.lm(card)}


@pytest.fixture
async def http(models: Mapping[str, LM]) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(models, limits=Limits(max_request_tokens=5_000))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as opened:
        yield opened


async def check(http: httpx.AsyncClient, body: dict[str, Any]) -> int:
    """Send a request and check the response; return its status."""
    response = await http.post("/v1/chat/completions", json=body)
    if response.status_code == 200:
        if response.headers["content-type"] == "text/event-stream":
            assert response.text.endswith("data: [DONE]\n\n"), body
        else:
            assert len(response.json()["choices"]) == (body.get("n") or 1), body
        return 200
    error = response.json()["error"]
    assert response.status_code in (400, 404), (error, body)
    assert error["param"], (error, body)
    assert error["param"].split(".")[0] in error["message"], (error, body)
    assert named(error["param"], body), (error, body)
    return response.status_code


@pytest.mark.parametrize("seed", range(10))
async def test_a_plausible_request_is_answered_or_rejected(
    http: httpx.AsyncClient, models: Mapping[str, LM], seed: int
) -> None:
    rng = random.Random(seed)
    statuses = []
    for _ in range(70):
        base = {"model": rng.choice(list(models)), **PLAUSIBLE}
        body = plausible_request(CompletionCreateParams, base, rng)
        statuses.append(await check(http, json.loads(json.dumps(body))))
    assert statuses.count(200) > 10


async def test_an_arbitrary_request_is_answered_or_rejected(http: httpx.AsyncClient) -> None:
    rng = random.Random(1)
    for _ in range(150):
        body = random_value(CompletionCreateParams, rng)
        body["model"] = rng.choice([body["model"], "single", "self-consistency"])
        await check(http, json.loads(json.dumps(body)))


async def test_a_request_with_an_arbitrary_value_is_answered_or_rejected(
    http: httpx.AsyncClient,
) -> None:
    rng = random.Random(2)
    for _ in range(150):
        body = plausible_request(CompletionCreateParams, {"model": "single", **PLAUSIBLE}, rng)
        body = mutated(body, rng)
        if isinstance(body, dict):
            await check(http, json.loads(json.dumps(body)))
