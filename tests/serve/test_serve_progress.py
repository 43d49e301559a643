"""What clients can see of an architecture's work: readable progress, and events of nodes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from serve_doubles import client, events, post

from archon.graph.lm import ArchitectureLM
from archon.graph.loading import Loader
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve.cancellation import stream
from archon.types import Completion, NodeDelta, Request

ARCHITECTURE: dict[str, Any] = {
    "version": 1,
    "name": "votes",
    "models": {"solver": {"name": "solver", "backend": "scripted"}},
    "nodes": {
        "draft": {"type": "generator", "model": "solver", "samples": 3},
        "answer": {"type": "vote", "inputs": ["draft"]},
    },
    "output": "answer",
}


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> ArchitectureLM:
    path = tmp_path_factory.mktemp("votes") / "votes.json"
    path.write_text(json.dumps(ARCHITECTURE))
    return ArchitectureLM(next(iter(Loader().architectures([str(path)], {}))))


def deltas(response: httpx.Response, name: str, index: int = 0) -> str:
    return "".join(
        choice["delta"].get(name, "")
        for chunk in events(response)[:-1]
        for choice in chunk["choices"]
        if choice["index"] == index
    )


def without_times(text: str) -> list[str]:
    return [line.rpartition("; ")[0] or line for line in text.splitlines()]


async def test_progress_is_reasoning_before_the_answer(votes: ArchitectureLM) -> None:
    async with client(votes) as http:
        whole = await post(http, seed=5, archon={"progress": True}, n=2)
        streamed = await post(http, seed=5, archon={"progress": True}, n=2, stream=True)
        plain = await post(http, seed=5, n=2)
    for index in range(2):
        message = whole.json()["choices"][index]["message"]
        lines = without_times(message["reasoning_content"])
        assert lines[0] == "draft (generator, 3 samples) …"
        assert lines[1].startswith("draft: 3 candidates: ")
        assert lines[3].startswith("answer: ")
        assert without_times(deltas(streamed, "reasoning_content", index)) == lines
        assert deltas(streamed, "content", index) == message["content"]
        assert plain.json()["choices"][index]["message"]["content"] == message["content"]
        assert "reasoning_content" not in plain.json()["choices"][index]["message"]


async def test_events_have_the_texts_and_results_of_nodes(votes: ArchitectureLM) -> None:
    async with client(votes) as http:
        response = await post(http, seed=5, archon={"events": True}, stream=True)
    found = [
        event
        for chunk in events(response)[:-1]
        for choice in chunk["choices"]
        for event in choice.get("archon", {}).get("events", [])
    ]
    assert [e["node"] for e in found if e["type"] == "node.started"] == ["draft", "answer"]
    draft, answer = (e["result"] for e in found if e["type"] == "node.finished")
    for candidate in draft["outputs"]:
        draw = candidate["id"]["draw"]
        written = [e["delta"] for e in found if e["type"] == "node.delta" and e["draw"] == draw]
        assert "".join(written) == candidate["text"]
    assert draft["calls"][0]["messages"][-1]["content"]
    assert len(answer["outputs"]) + len(answer["drops"]) == 3
    assert all(drop["why"] for drop in answer["drops"])


async def test_a_request_without_options_has_no_events(votes: ArchitectureLM) -> None:
    async with client(votes) as http:
        response = await post(http, stream=True)
    choices = [choice for chunk in events(response)[:-1] for choice in chunk["choices"]]
    assert not any("archon" in choice for choice in choices)
    assert deltas(response, "reasoning_content") == ""


async def test_options_without_an_effect_are_reported() -> None:
    async with client(ScriptedLM(in_turn(["Hello"]))) as http:
        response = await post(http, archon={"progress": True, "events": True})
    assert response.headers["x-archon-ignored"] == "archon.progress, archon.events"


async def test_a_slow_reader_gets_one_delta_for_what_a_sample_wrote() -> None:
    class Busy:
        capabilities = frozenset({"chat", "stream"})

        async def generate(self, request: Request, on_event: Any = None) -> list[Completion]:
            for number in range(1000):
                on_event(NodeDelta("a", number % 2, "x"))
            return []

    batches = [b async for b in stream(Busy(), Request(messages=()), node_deltas=True)]
    assert batches[0] == [NodeDelta("a", draw, "x" * 500) for draw in range(2)]


async def test_the_page_has_a_policy_and_no_data(votes: ArchitectureLM) -> None:
    async with client(votes) as http:
        page = await http.get("/")
        again = await http.get("/", headers={"if-none-match": page.headers["etag"]})
        graphs = (await http.get("/v1/architectures")).json()["data"]
    assert "default-src 'none'; connect-src 'self'" in page.text
    assert page.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert again.status_code == 304
    assert [graph["id"] for graph in graphs] == ["stub", "org/other"]
    assert graphs[0]["nodes"]["answer"]["inputs"] == ["draft"]
    assert graphs[0]["sampled_nodes"] == ["draft"]
