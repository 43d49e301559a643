"""``/v1/embeddings``, ``/v1/rerank`` and ``/v1/score`` of encoders and reward models."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.embedding_create_params import EmbeddingCreateParams
from random_requests import assert_answered_or_rejected, mutated, plausible_request, random_value
from tiny_folders import write_cross_encoder

import archon
from archon.lm.compute import report_scored
from archon.lm.embedding import EmbeddingLM, Vector
from archon.lm.reward import RewardLM, ScriptedRewardModel
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve.app import create_app
from archon.serve.limits import Limits

USER = {"role": "user", "content": "question"}


class Letters:
    """A fake encoder: a vector has the share of ``a`` and of other letters; 8 letters fit."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.began = asyncio.Event()
        self.is_patient = False

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        self.batches.append(len(texts))
        self.began.set()
        if self.is_patient:
            await asyncio.Event().wait()
        for text in texts:
            report_scored(min(len(text), 8), 1, is_truncated=len(text) > 8)
        return [[1.0, 0.0] if "a" in text else [0.6, 0.8] for text in texts]


@pytest.fixture
def encoder() -> Letters:
    return Letters()


@pytest.fixture
async def http(encoder: Letters) -> AsyncIterator[httpx.AsyncClient]:
    reward = ScriptedRewardModel(lambda messages, text: len(text) / len(messages[-1].content))
    lms = {
        "encoder": EmbeddingLM(encoder),
        "reward": RewardLM(reward),
        "chat": ScriptedLM(in_turn(["x"])),
    }
    transport = httpx.ASGITransport(create_app(lms, limits=Limits(max_inputs=70)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


async def post(http: httpx.AsyncClient, route: str, **body: Any) -> dict[str, Any]:
    response = await http.post(f"/v1/{route}", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_openai_s_client_gets_vectors_in_both_formats(
    http: httpx.AsyncClient, encoder: Letters
) -> None:
    client = openai.AsyncOpenAI(base_url="http://test/v1", api_key="x", http_client=http)
    texts = ["a", "b"] * 35
    answer = await client.embeddings.create(model="encoder", input=texts)  # sends base64
    expected = [[1.0, 0.0], pytest.approx([0.6, 0.8], abs=1e-6)] * 35
    assert [one.embedding for one in answer.data] == expected
    assert [one.index for one in answer.data] == list(range(70))
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 70
    assert max(encoder.batches) <= 32  # the memory of a batch is bounded
    plain = await post(http, "embeddings", model="encoder", input="b", dimensions=2)
    assert plain["data"] == [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}]
    assert (
        'archon_tokens_total{kind="prompt",model="encoder"} 71.0'
        in (await http.get("/metrics")).text
    )


async def test_documents_are_ranked_by_cosine_or_reward(http: httpx.AsyncClient) -> None:
    documents = ["b", {"text": "a"}, "c"]
    body = {"query": "aa", "documents": documents}
    answer = await post(http, "rerank", model="encoder", **body, return_documents=True)
    assert [one["index"] for one in answer["results"]] == [1, 0, 2]
    assert [one["relevance_score"] for one in answer["results"]] == [1.0, 0.6, 0.6]
    assert answer["results"][0]["document"] == {"text": "a"}
    assert answer["usage"]["total_tokens"] == 5
    best = await post(http, "rerank", model="reward", query="four", documents=["a", "bbb"], top_n=1)
    assert best["results"] == [{"index": 1, "relevance_score": 0.75}]


async def test_pairs_and_replies_are_scored(http: httpx.AsyncClient) -> None:
    async def scores(**body: Any) -> list[float]:
        return [one["score"] for one in (await post(http, "score", **body))["data"]]

    assert await scores(model="encoder", text_1="a", text_2=["a", "b"]) == [1.0, 0.6]
    assert await scores(model="encoder", queries=["a", "b"], documents=["b", "b"]) == [0.6, 1.0]
    assert await scores(model="reward", text_1=["ab", "abcd"], text_2=["a", "a"]) == [0.5, 0.25]
    assert await scores(model="reward", messages=[USER], texts=["1234", ""]) == [0.5, 0.0]


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("embeddings", {}, "input"),
        ("embeddings", {"input": []}, "input"),
        ("embeddings", {"input": [1, 2]}, "input"),
        ("embeddings", {"input": [[1, 2]]}, "input"),
        ("embeddings", {"input": ["a", 1]}, "input.1"),
        ("embeddings", {"input": ["a"] * 71}, "input"),
        ("embeddings", {"input": "123456789"}, "input"),
        ("embeddings", {"input": "a", "dimensions": 3}, "dimensions"),
        ("embeddings", {"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ("embeddings", {"input": "a", "inputs": "b"}, "inputs"),
        ("embeddings", {"input": "a", "model": "chat"}, "model"),
        ("embeddings", {"input": "a", "model": "reward"}, "model"),
        ("embeddings", {"input": "a", "model": "no"}, "model"),
        ("rerank", {"query": "a", "documents": []}, "documents"),
        ("rerank", {"query": "a", "documents": [{"title": "b"}]}, "documents.0.text"),
        ("rerank", {"query": "a", "documents": ["123456789"]}, "documents"),
        ("rerank", {"documents": ["a"]}, "query"),
        ("rerank", {"query": "a", "documents": ["b"], "top_n": 0}, "top_n"),
        ("rerank", {"query": "a", "documents": ["b"], "model": "chat"}, "model"),
        ("score", {}, "text_1"),
        ("score", {"text_1": "a"}, "text_2"),
        ("score", {"text_1": ["a", "b"], "text_2": ["c"]}, "text_1"),
        ("score", {"text_1": "a", "queries": "a", "text_2": "c"}, "queries"),
        ("score", {"messages": [USER], "texts": "a"}, "messages"),
        ("score", {"messages": [USER], "model": "reward"}, "texts"),
        ("score", {"texts": "a", "model": "reward"}, "texts"),
        ("chat/completions", {"messages": [USER]}, "model"),
        ("completions", {"prompt": "a"}, "model"),
    ],
)
async def test_an_error_names_the_field(
    http: httpx.AsyncClient, route: str, body: dict[str, Any], param: str
) -> None:
    response = await http.post(f"/v1/{route}", json={"model": "encoder", **body})
    assert response.status_code in (400, 404)
    error = response.json()["error"]
    assert error["param"] == param
    assert param.split(".")[0] in error["message"]


async def test_the_wrong_route_s_error_names_the_right_ones(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/chat/completions", json={"model": "reward", "messages": [USER]})
    assert "only scores texts; use POST /v1/rerank or POST /v1/score" in response.text


async def test_long_texts_are_cut_only_on_request(http: httpx.AsyncClient) -> None:
    body = {"model": "encoder", "input": "123456789", "truncate_prompt_tokens": -1}
    assert (await post(http, "embeddings", **body))["usage"]["total_tokens"] == 8


async def test_a_disconnected_client_cancels_the_work(encoder: Letters) -> None:
    encoder.is_patient = True
    app = create_app({"encoder": EmbeddingLM(encoder)})
    messages = [{
        "type": "http.request", "body": b'{"model": "encoder", "input": "a"}', "more_body": False,
    }]  # fmt: skip

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await encoder.began.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("there is no client")

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/v1/embeddings", "query_string": b"",
        "root_path": "", "headers": [(b"content-type", b"application/json"), (b"host", b"test")],
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 5)  # type: ignore[arg-type]


async def test_a_cross_encoder_counts_its_tokens(tmp_path: Path) -> None:
    write_cross_encoder(tmp_path / "model")
    card = {
        "name": "ce", "backend": "local", "sources": [{"path": str(tmp_path / "model")}],
        "transformer": "cross-encoder", "precision": "float32",
    }  # fmt: skip
    lm = archon.lm(card)
    transport = httpx.ASGITransport(create_app({"ce": lm}))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answer = await post(http, "score", model="ce", text_1="a b", text_2=["c", "d"])
        scores = [one["score"] for one in answer["data"]]
        assert all(0 < score < 1 for score in scores)
        assert answer["usage"]["prompt_tokens"] > 6
        long = {"model": "ce", "text_1": "a b", "text_2": "c " * 5000}
        refused = await http.post("/v1/score", content=json.dumps(long),
                                  headers={"content-type": "application/json"})  # fmt: skip
        assert refused.json()["error"]["param"] == "text_2"
    await lm.aclose()


async def test_random_requests_for_embeddings_are_answered_or_rejected(
    http: httpx.AsyncClient,
) -> None:
    rng, statuses = random.Random(0), []
    for turn in range(1000):
        base = {"model": "encoder", "input": rng.choice(["a", ["a", "b"]])}
        body = plausible_request(EmbeddingCreateParams, base, rng)
        body = mutated(body, rng) if turn % 3 == 1 else body
        body = random_value(EmbeddingCreateParams, rng) if turn % 3 == 2 else body
        if not isinstance(body, dict):
            continue
        response = await http.post("/v1/embeddings", json=json.loads(json.dumps(body)))
        statuses.append(response.status_code)
        assert_answered_or_rejected(response, body)
    assert statuses.count(200) > 200
