"""Uses of encoders: a translator, a vote by meaning, a cross-encoder that ranks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_folders import write_cross_encoder

import archon
from archon.errors import ArchonError, GraphError, SpecError
from archon.graph.nodes.vote import first_alike
from archon.lm.embedding import EmbeddingLM, Vector
from archon.lm.scripted.lm import ScriptedLM
from archon.types import Message, Request, SamplingParams

NUMBERS = {
    "seventy-one": "soixante et onze",
    "ninety-two": "quatre-vingt-douze",
    "two hundred thousand, three hundred and eighty": "deux cent mille trois cent quatre-vingts",
}


@pytest.mark.parametrize("english", NUMBERS)
def test_translate_numbers_translates(english: str) -> None:
    answer = archon.load("translate-numbers").run(english)
    assert answer.text == NUMBERS[english]
    assert len(answer.candidates) == 4
    scores = [candidate.score or 0 for candidate in answer.candidates]
    assert scores == sorted(scores, reverse=True)


async def test_a_translator_samples_by_seed_and_index_and_streams() -> None:
    lm = archon.lm("translate-numbers")
    request = Request(
        (Message("user", "ninety-two"),), n=3, sampling=SamplingParams(1.5, max_tokens=8)
    )
    events: list[object] = []
    first = await lm.generate(request, events.append)
    again = await asyncio.gather(*(lm.generate(request) for _ in range(3)))
    assert all([c.text for c in drawn] == [c.text for c in first] for drawn in again)
    assert [event.text for event in events] == [c.text for c in first if c.text]  # type: ignore[attr-defined]
    assert all(c.usage.prompt_tokens == sum(c.prompts.values()) > 1 for c in first)


async def test_a_translator_rejects_unsupported_parameters() -> None:
    request = Request((Message("user", "one"),), choices=("un",))
    with pytest.raises(ArchonError, match="choices"):
        await archon.lm("translate-numbers").generate(request)


def test_a_translator_cannot_judge() -> None:
    nodes = {
        "draft": {"type": "generator", "model": "t"},
        "best": {"type": "ranker", "model": "t", "inputs": ["draft"]},
    }
    with pytest.raises(GraphError, match="chat"):
        archon.load(_file({"t": "translate-numbers"}, nodes, "best"))


class _ByFirstLetter:
    """Fake: texts have the same meaning if they start alike."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        return [[float(text[0].lower() == letter) for letter in "pl"] for text in texts]


VOTE = {"type": "vote", "inputs": ["draft"], "by": "meaning", "model": "e"}


def test_answers_of_equal_meaning_vote_together() -> None:
    texts = iter(["London", "Paris", "LONDON it is", "paris, France", "Paris!"])
    nodes = {"draft": {"type": "generator", "model": "s", "samples": 5}, "vote": VOTE}
    architecture = archon.load(
        _file({"s": "scripted", "e": "scripted"}, nodes, "vote"),
        models={"s": ScriptedLM(lambda *_: next(texts)), "e": EmbeddingLM(_ByFirstLetter())},
    )
    answer = architecture.run("Where?")
    assert answer.text == "Paris"
    assert [c.score for c in answer.candidates] == [3, 2]


def test_a_chain_of_similar_texts_joins_only_the_first() -> None:
    vectors = [(1.0, 0.0), (0.8, 0.6), (0.28, 0.96)]
    assert first_alike(["a", "b", "c"], vectors, 0.7) == ["a", "a", "c"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": None}, "needs a model"),
        ({"by": "value"}, "by value uses no model"),
        ({"model": "s"}, "is not a sentence encoder"),
        ({"model": "x"}, "no role"),
        ({"similarity": 1.5}, "1"),
    ],
)
def test_an_invalid_vote_is_rejected_at_load(change: dict[str, object], reason: str) -> None:
    vote = {key: value for key, value in (VOTE | change).items() if value is not None}
    nodes = {"draft": {"type": "generator", "model": "s"}, "vote": vote}
    with pytest.raises((GraphError, SpecError), match=reason):
        archon.load(_file({"s": "smollm2-135m", "e": "all-minilm-l6-v2"}, nodes, "vote"))


def test_a_cross_encoder_ranks(tmp_path: Path) -> None:
    write_cross_encoder(tmp_path)
    card = {"name": "judge", "backend": "local", "transformer": "cross-encoder",
            "sources": [{"path": str(tmp_path)}]}  # fmt: skip
    nodes = {
        "draft": {"type": "generator", "model": "s", "samples": 4},
        "best": {"type": "ranker", "model": "j", "inputs": ["draft"], "method": "reward"},
    }
    texts = iter(["a b", "c", "d e f", "[SEP] g"])
    architecture = archon.load(
        _file({"s": "scripted", "j": card}, nodes, "best"),
        models={"s": ScriptedLM(lambda *_: next(texts))},
    )
    answer = architecture.run("h h")
    scores = [candidate.score or 0.0 for candidate in answer.candidates]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4
    assert all(0 < score < 1 for score in scores)


def _file(models: dict[str, object], nodes: dict[str, object], output: str) -> dict[str, object]:
    parts = {"name": "test", "models": models, "nodes": nodes, "output": output, "answer": "text"}
    return json.loads(json.dumps({"version": 1, **parts}))  # type: ignore[no-any-return]
