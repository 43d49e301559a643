from __future__ import annotations

import json
from typing import Any

import pytest

from archon import catalog
from archon.graph.architecture import Architecture
from archon.graph.build import build
from archon.lm.plausible import Plausible
from archon.lm.scripted import ScriptedLM
from archon.spec.model import ScriptedCard
from archon.spec.reader import load_architecture

NAMES = [
    "adaptive-self-consistency",
    "archon-figure",
    "archon-reasoning",
    "best-of-n",
    "best-of-n-likelihood",
    "best-of-n-logit",
    "chain-of-thought",
    "checked-vote",
    "critic-fuse",
    "meaning-vote",
    "mixture-of-agents",
    "pairwise-tournament",
    "program-aided",
    "program-and-prose",
    "program-vote",
    "rank-fuse",
    "self-consistency",
    "self-mixture",
    "single",
    "translate-numbers",
    "unit-tests",
    "verify-and-retry",
    "weighted-vote",
]
OTHER_MODELS = {"meaning-vote", "translate-numbers"}
"""Those with models that are no chat models; ``tests/families`` runs them."""
CHATTING = [name for name in NAMES if name not in OTHER_MODELS]
CARD = ScriptedCard.model_validate({"name": "scripted", "backend": "scripted"})


def open_scripted(name: str, accuracy: float = 1.0) -> tuple[Architecture, ScriptedLM]:
    spec = load_architecture(name).spec
    lm = ScriptedLM(Plausible(accuracy))
    roles = dict.fromkeys(spec.models, lm)
    return Architecture(build(spec, {}), roles, dict.fromkeys(spec.models, CARD)), lm


def test_these_are_shipped() -> None:
    assert catalog.names("architecture") == NAMES


@pytest.mark.parametrize("name", CHATTING)
async def test_it_runs_and_answers(name: str) -> None:
    architecture, _ = open_scripted(name)
    answer = await architecture.arun("What is 17 * 23 + 4?")
    assert answer.value == "395"
    assert answer.candidates[0].text == answer.text
    assert set(answer.trace.nodes) == set(architecture.spec.nodes)
    json.dumps(answer.trace.to_json())


@pytest.mark.parametrize("name", CHATTING)
def test_it_is_described_and_names_its_roles_as_all_do(name: str) -> None:
    spec = load_architecture(name).spec
    assert spec.name == name
    assert len(spec.description) > 30
    assert set(spec.models.values()) == {"qwen2.5-coder-0.5b"}
    solvers = [role for role in spec.models if role != "judge"]
    assert solvers == ["solver", *(f"solver_{i}" for i in range(2, len(solvers) + 1))]


async def draft_texts(name: str) -> dict[int, str]:
    architecture, _ = open_scripted(name, accuracy=0.5)
    answer = await architecture.arun("What is 17 * 23 + 4?")
    return {c.draw: c.text for c in answer.trace.nodes["draft"].completions()}


async def test_single_takes_the_first_draw_of_self_consistency() -> None:
    one, eight = await draft_texts("single"), await draft_texts("self-consistency")
    assert len(eight) == 8
    assert one == {0: eight[0]}


async def test_adaptive_self_consistency_stops_where_all_agree() -> None:
    architecture, lm = open_scripted("adaptive-self-consistency", accuracy=1.0)
    await architecture.arun("What is 17 * 23 + 4?")
    assert [(request.first_draw, request.n) for request in lm.requests] == [(0, 4)]


async def test_the_figure_has_the_layers_that_it_is_known_for() -> None:
    spec = load_architecture("archon-figure").spec
    types = [node.type for node in spec.nodes.values()]
    layers = ["generator"] * 10 + ["critic", "ranker"] + ["fuser"] * 6 + ["verifier", "fuser"]
    assert types == layers


async def test_equal_models_in_the_figure_give_different_drafts_and_fusions() -> None:
    architecture, lm = open_scripted("archon-figure")
    await architecture.arun("What is 17 * 23 + 4?")
    asked: dict[Any, list[int]] = {}
    for request in lm.requests:
        asked.setdefault((request.messages, request.sampling), []).append(request.first_draw)
    assert sorted(asked.popitem()[1]) == [6]  # the last fuser comes after the layer of six
    drafts = next(iter(asked.values()))
    assert sorted(drafts) == list(range(10))
    assert sorted(map(len, asked.values()))[-2:] == [6, 10]


async def test_programs_and_prose_vote_together() -> None:
    architecture, _ = open_scripted("program-and-prose")
    answer = await architecture.arun("What is 17 * 23 + 4?")
    assert answer.candidates[0].score == 8
    ran = answer.trace.nodes["ran"].outputs
    assert [(c.id.node, c.value) for c in ran] == [("code", "395")] * 4


async def test_checked_vote_asks_for_the_draws_of_self_consistency() -> None:
    assert await draft_texts("checked-vote") == await draft_texts("self-consistency")
