from __future__ import annotations

import asyncio
from typing import Any

import pytest
from graph_doubles import make_architecture
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import BUDGETS, nodes, wordy

from archon.errors import BudgetError
from archon.graph.estimate import Expectation, estimate
from archon.graph.lm import ArchitectureLM
from archon.lm.scripted.lm import ScriptedLM
from archon.types import Question

QUESTION = Question("What is 2 + 3?")
ASKED = Expectation(QUESTION)


@given(nodes(), st.none() | BUDGETS, st.integers(0, 3))
def test_no_run_exceeds_the_worst_case(graph: Any, budget: Any, seed: int) -> None:
    arch = make_architecture(*graph, ScriptedLM(wordy(seed)), budget=budget)
    found = estimate(arch, ASKED)
    try:
        answer = asyncio.run(arch.answer(QUESTION))
    except BudgetError:
        return
    assert answer.usage.calls <= found.worst.calls
    assert answer.cost_tokens <= found.worst.tokens
    for name, node in found.nodes.items():
        assert answer.trace.nodes[name].usage.calls <= node.worst.calls
    assert found.expected.calls <= found.worst.calls


@given(nodes(), BUDGETS, st.integers(1, 3))
def test_no_run_of_a_nested_architecture_exceeds_the_worst_case(
    graph: Any, budget: dict[str, int], samples: int
) -> None:
    inner = ArchitectureLM(make_architecture(*graph, ScriptedLM(wordy(0))))
    team = {"type": "generator", "model": "team", "samples": samples}
    arch = make_architecture({"t": team}, "t", {"team": inner}, budget=budget)
    try:
        answer = asyncio.run(arch.answer(QUESTION))
    except BudgetError:
        return
    assert answer.usage.calls <= estimate(arch, ASKED).worst.calls


def test_the_calls_of_a_known_graph() -> None:
    graph = {
        "draft": {"type": "generator", "samples": 8, "sampling": {"max_tokens": 100}},
        "best": {"type": "ranker", "inputs": ["draft"], "keep": 3},
        "merged": {"type": "fuser", "inputs": ["best"], "samples": 2, "when": {"num_passed": 0}},
        "check": {"type": "verifier", "inputs": ["merged"]},
    }
    found = estimate(make_architecture(graph, "check", wordy(0)))
    assert [n.worst.calls for n in found.nodes.values()] == [8, 1, 2, 3]  # passed by: three
    assert [n.expected.calls for n in found.nodes.values()] == [8, 1, 1, 3]
    assert found.worst.calls == 14
    assert found.nodes["draft"].worst.completion_tokens == 800
    assert found.nodes["draft"].expected.completion_tokens == pytest.approx(320)


def test_equal_prompts_count_once_in_the_total() -> None:
    draft = {"type": "generator", "samples": 2}
    graph = {"a": draft, "b": draft, "v": {"type": "vote", "inputs": ["a", "b"]}}
    found = estimate(make_architecture(graph, "v", wordy(0)))
    a, b = (node.worst.prompt_tokens for node in found.nodes.values())
    assert found.worst.prompt_tokens == a == b
