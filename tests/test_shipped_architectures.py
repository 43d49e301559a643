from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import archon
from archon.engine.model.lora_config import read_adapter
from archon.engine.model.reward_head import read_reward_head
from archon.graph.architecture import Architecture
from archon.graph.nodes.vote import odds_of
from archon.graph.validation.build import build
from archon.lm.scripted.heuristic import HeuristicScript
from archon.lm.scripted.lm import ScriptedLM
from archon.spec import catalog
from archon.spec.model import LocalCard, ScriptedCard
from archon.spec.reader import load_architecture, load_model_card

NAMES = [
    "adapted-vote",
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
    "reinforced-vote",
    "reward-vote",
    "self-consistency",
    "self-mixture",
    "single",
    "specialist-first",
    "translate-numbers",
    "unit-tests",
    "verify-and-retry",
    "weighted-vote",
]
OTHER_MODELS = {
    "adapted-vote",
    "meaning-vote",
    "reinforced-vote",
    "reward-vote",
    "specialist-first",
    "translate-numbers",
}
"""Those with models that are trained for one use."""
CHATTING = [name for name in NAMES if name not in OTHER_MODELS]
CARD = ScriptedCard.model_validate({"name": "scripted", "backend": "scripted"})


def open_scripted(name: str, accuracy: float = 1.0) -> tuple[Architecture, ScriptedLM]:
    spec = load_architecture(name).spec
    lm = ScriptedLM(HeuristicScript(accuracy))
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


async def test_in_a_reward_vote_every_draft_weighs_by_the_odds_of_its_reward() -> None:
    judge = {"name": "judge", "backend": "scripted", "reward": True}
    answer = await archon.load("reward-vote", models={"solver": "scripted", "judge": judge}).arun(
        "What is 17 * 23 + 4?"
    )
    judged = answer.trace.nodes["judged"].outputs
    assert len(judged) == 16
    support = {
        value: sum(odds_of(c.score or 0.0) for c in judged if c.value == value)
        for value in {c.value for c in judged}
    }
    assert answer.value == max(support, key=lambda value: support[value])
    assert answer.candidates[0].score == pytest.approx(max(support.values()))


@pytest.mark.parametrize("name", ["adapted-vote", "reinforced-vote"])
async def test_an_adapter_is_asked_the_question_alone(name: str) -> None:
    architecture, lm = open_scripted(name)
    assert (await architecture.arun("What is 17 * 23 + 4?")).value == "395"
    [request] = lm.requests
    assert [message.content for message in request.messages] == ["What is 17 * 23 + 4?"]
    assert request.n == 8


@pytest.mark.parametrize(
    ("threshold", "voters"), [(0.0, ["quick"]), (1.0, ["quick"] + ["draft"] * 8)]
)
async def test_the_solver_drafts_only_where_the_specialist_is_not_held_for_right(
    threshold: float, voters: list[str]
) -> None:
    spec = load_architecture("specialist-first").spec.model_dump()
    spec["nodes"]["sure"]["threshold"] = threshold
    judge = {"name": "judge", "backend": "scripted", "reward": True}
    models = {"specialist": "scripted", "judge": judge, "solver": "scripted"}
    answer = await archon.load(spec, models=models).arun("What is 17 * 23 + 4?")
    assert [candidate.node for candidate in answer.trace.nodes["answer"].inputs] == voters


def test_a_shipped_reward_head_is_for_the_weights_of_its_card() -> None:
    for name in catalog.names("model"):
        card = load_model_card(name).spec
        if not isinstance(card, LocalCard) or card.reward is None:
            continue
        head = read_reward_head(catalog.find_adapter(card.reward, Path()))
        base = load_model_card(head.base).spec
        assert isinstance(base, LocalCard)
        assert (card.sources, card.precision) == (base.sources, base.precision)
        assert head.base_digest == base.sources[0].sha256
        assert card.adapter == base.adapter
        adapter = card.adapter and read_adapter(catalog.find_adapter(card.adapter, Path()))
        assert head.adapter == (adapter.digest if adapter else "")
