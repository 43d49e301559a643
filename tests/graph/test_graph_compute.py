"""Compute of an answer: by model, independent of pools, and limited by budgets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from graph_doubles import make_architecture
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import nodes, wordy

import archon
from archon.errors import BudgetError, NodeError
from archon.graph.lm import ArchitectureLM
from archon.lm.compute import AttentionLayers, DecoderCompute
from archon.lm.pool import DrawPool, pooling
from archon.lm.reward import RewardLM, ScriptedRewardModel
from archon.lm.scripted.lm import ScriptedLM, in_turn

SIZES = DecoderCompute(1000, 50, (AttentionLayers(2, 8), AttentionLayers(1, 8, window=4)))
SMALL: dict[str, Any] = {
    "name": "small", "backend": "scripted", "parameters": {"total": 1000, "active": 600},
}  # fmt: skip
PLAIN = {"prompt": {"text": "{question}"}}


class Unknown(ScriptedLM):
    """A model that cannot count its prompts beforehand, as a server's."""

    prompts_of = None  # type: ignore[assignment]


def sized(*replies: str) -> ScriptedLM:
    lm = ScriptedLM(in_turn(replies))
    lm.compute_model = SIZES
    return lm


async def test_a_prompt_is_read_once_and_every_sample_is_generated() -> None:
    nodes = {"draft": {"type": "generator", "samples": 3, **PLAIN}}
    answer = await make_architecture(nodes, "draft", sized("it is 5", "5")).arun("two and three ?")
    prompt, samples = SIZES.prompt(4), [SIZES.completion(4, n) for n in (3, 1, 3)]
    assert answer.compute == prompt + sum(samples)
    usage = answer.usage_by_model["solver"]
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens) == (3, 4, 7)
    assert (usage.prompt_compute, usage.is_estimate) == (prompt, False)
    assert answer.trace.to_json()["usage_by_model"]["solver"]["compute"] == answer.compute


async def test_a_token_costs_two_operations_for_each_weight_and_its_attention() -> None:
    attention = 4 * 8 * (2 * (1 + 2 + 3 + 4 + 5) + (1 + 2 + 3 + 4 + 4))
    assert SIZES.prompt(5) == 2 * 1000 * 5 + 2 * 50 + attention
    assert SIZES.completion(5, 1) == 0  # predicted by the prompt, and read by no later token
    assert SIZES.completion(5, 2) == 2 * 1000 + 2 * 50 + 4 * 8 * (2 * 6 + 4)


async def test_scored_choices_and_nested_architectures_are_counted_by_model() -> None:
    inner = make_architecture({"draft": {"type": "generator", **PLAIN}}, "draft", sized("5"))
    nodes = {
        "team": {"type": "generator", "model": "team", "samples": 2, **PLAIN},
        "check": {"type": "verifier", "model": "judge", "inputs": ["team"], "method": "logit"},
    }
    lms = {"team": ArchitectureLM(inner), "judge": sized("5")}
    answer = await make_architecture(nodes, "check", lms).arun("two and three ?")
    team, judge = answer.usage_by_model["solver"], answer.usage_by_model["judge"]
    assert team.compute == SIZES.prompt(4) + 2 * SIZES.completion(4, 1)
    assert judge.choice_tokens == answer.usage.choice_tokens > 0
    assert answer.compute == team.compute + (judge.compute or 0)


async def test_an_unknown_model_makes_the_compute_unknown() -> None:
    nodes = {
        "draft": {"type": "generator", **PLAIN},
        "best": {"type": "ranker", "model": "judge", "inputs": ["draft"], "method": "reward"},
    }
    reward = RewardLM(ScriptedRewardModel(lambda messages, text: 1.0))
    answer = await make_architecture(nodes, "best", {"solver": sized("5"), "judge": reward}).arun(
        "?"
    )
    assert answer.compute is None
    assert answer.usage_by_model["judge"].compute is None
    assert answer.usage_by_model["solver"].compute is not None


async def test_beams_are_all_computed() -> None:
    node = {"type": "generator", "samples": 2, "sampling": {"beams": 4}, **PLAIN}
    answer = await make_architecture({"d": node}, "d", sized("it is 5", "5")).arun("two ?")
    assert answer.compute == SIZES.prompt(2) + 4 * SIZES.completion(2, 3)
    assert answer.usage_by_model["solver"].is_estimate


async def test_compute_does_not_depend_on_the_pool(tmp_path: Path) -> None:
    spec = {
        "version": 1, "name": "vote", "models": {"solver": SMALL}, "output": "answer",
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 4},
            "answer": {"type": "vote", "inputs": ["draft"]},
        },
    }  # fmt: skip
    architecture = archon.load(spec)
    with DrawPool(tmp_path / "pool.sqlite3") as pool:
        answers = []
        for item in ("first", "second"):
            with pooling(pool, item):
                answers.append(await architecture.arun("What is 2 + 3?"))
    assert [answer.usage.generated_tokens > 0 for answer in answers] == [True, False]
    assert answers[0].compute == answers[1].compute
    assert answers[0].usage_by_model == answers[1].usage_by_model
    tokens = answers[0].cost_tokens
    assert answers[0].compute == 2 * 600 * (tokens - 4)  # the last token of a text is not read


# --------------------------------------------------------------------------------------- budgets


@given(nodes(), st.integers(1, 3_000_000), st.integers(0, 3), st.booleans())
def test_no_graph_ever_exceeds_its_compute(
    graph: Any, limit: int, seed: int, is_known: bool
) -> None:
    lm = (ScriptedLM if is_known else Unknown)(wordy(seed))
    lm.compute_model = SIZES
    arch = make_architecture(*graph, lm, budget={"max_compute": limit})
    try:
        answer = asyncio.run(arch.arun("What is 2 + 3?"))
    except BudgetError:
        return
    assert answer.compute is not None
    assert answer.compute <= limit
    assert answer.limited_by in (None, "compute")


async def test_a_budget_of_compute_needs_the_sizes_of_the_model() -> None:
    nodes = {"draft": {"type": "generator", **PLAIN}}
    arch = make_architecture(nodes, "draft", ScriptedLM(in_turn(["5"])), budget={"max_compute": 9})
    with pytest.raises(NodeError, match='parameters of solver is not known; add "parameters"'):
        await arch.arun("?")
