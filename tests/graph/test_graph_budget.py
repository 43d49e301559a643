from __future__ import annotations

import asyncio
from typing import Any

import pytest
from graph_doubles import Gate, make_architecture, make_completion
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import BUDGETS, nodes, wordy

from archon.errors import BudgetError, NodeError
from archon.graph.architecture import Architecture
from archon.graph.lm import ArchitectureLM
from archon.lm.scripted.lm import ScriptedLM
from archon.types import (
    Completion,
    Event,
    NodeFinished,
    OnEvent,
    Question,
    Request,
)

FIVE = "2 + 3 = 5. The answer is 5."


def five(request: Request, draw: int) -> str:
    return FIVE


def bare(name: str, **node: Any) -> dict[str, Any]:
    return {"type": "generator", "prompt": {"text": f"{name} {{question}}"}, **node}


CHAIN = {"a": bare("a"), "b": bare("b", inputs=["a"]), "c": bare("c", inputs=["b"])}
CHECKED = {
    "draft": {"type": "generator", "samples": 3},
    "check": {"type": "verifier", "inputs": ["draft"]},
    "answer": {"type": "vote", "inputs": ["check"]},
}


class Unknown(ScriptedLM):
    """A model that cannot count its prompts beforehand, as a server's."""

    prompts_of = None  # type: ignore[assignment]


# ---------------------------------------------------------------------------------------- never


@given(nodes(), BUDGETS, st.booleans(), st.integers(0, 3))
def test_no_graph_ever_uses_more_than_its_budget(
    graph: Any, budget: dict[str, int], is_known: bool, seed: int
) -> None:
    lm = (ScriptedLM if is_known else Unknown)(wordy(seed))
    arch = make_architecture(*graph, lm, budget=budget)
    try:
        answer = asyncio.run(arch.arun("What is 2 + 3?"))
    except BudgetError:
        assert budget
        return
    assert answer.cost_tokens <= budget.get("max_tokens", answer.cost_tokens)
    assert answer.usage.calls <= budget.get("max_calls", answer.usage.calls)
    assert sum(request.n for request in lm.requests) == answer.usage.calls
    assert answer.limited_by in (None, *(name.removeprefix("max_") for name in budget))
    if not budget:
        assert answer.limited_by is None


@given(nodes(), BUDGETS, BUDGETS, st.integers(1, 3))
def test_a_nested_architecture_respects_both_budgets(
    graph: Any, budget: dict[str, int], inner_budget: dict[str, int], samples: int
) -> None:
    inner = make_architecture(*graph, ScriptedLM(wordy(0)), budget=inner_budget)
    team = {"type": "generator", "model": "team", "samples": samples}
    arch = make_architecture({"t": team}, "t", {"team": ArchitectureLM(inner)}, budget=budget)
    try:
        answer = asyncio.run(arch.arun("What is 2 + 3?"))
    except BudgetError:
        return
    assert answer.cost_tokens <= budget.get("max_tokens", answer.cost_tokens)
    assert answer.usage.calls <= budget.get("max_calls", answer.usage.calls)
    for completion in answer.trace.completions():
        used = completion.usage.calls
        assert used <= inner_budget.get("max_calls", used)


async def test_a_budget_that_is_not_reached_changes_nothing() -> None:
    lm = ScriptedLM(wordy(1))
    free = await make_architecture(CHECKED, "answer", lm).arun("?")
    rich = {"max_tokens": 100_000, "max_calls": 100, "max_seconds": 60}
    held = await make_architecture(CHECKED, "answer", lm, budget=rich).arun("?")
    assert held.candidates == free.candidates
    assert (held.usage, held.cost_tokens) == (free.usage, free.cost_tokens)
    assert held.limited_by is free.limited_by is None


# ---------------------------------------------------------------------------------------- calls


async def test_a_node_without_budget_passes_on_its_inputs() -> None:
    lm, events = ScriptedLM(five), list[Event]()
    arch = make_architecture(CHAIN, "c", lm, budget={"max_calls": 2})
    answer = await arch.answer(Question("?"), on_event=events.append)
    assert len(lm.requests) == 2
    assert [c.id.node for c in answer.candidates] == ["a", "b"]
    assert answer.limited_by == "calls"
    assert [n.cut for n in answer.trace.nodes.values()] == [None, None, "calls"]
    finished = [e for e in events if isinstance(e, NodeFinished)]
    assert [e.cut for e in finished] == [None, None, "calls"]
    whole = await make_architecture(CHAIN, "c", lm, budget={"max_calls": 3}).arun("?")
    assert whole.limited_by is None
    data = answer.trace.to_json()
    assert (data["limited_by"], data["nodes"][2]["cut"]) == ("calls", "calls")


async def test_a_generator_and_a_fuser_make_the_samples_that_the_budget_allows() -> None:
    lm = ScriptedLM(wordy(0))
    nodes = {
        "draft": {"type": "generator", "samples": 3},
        "merged": {"type": "fuser", "inputs": ["draft"], "samples": 4},
    }
    answer = await make_architecture(nodes, "merged", lm, budget={"max_calls": 5}).arun("?")
    assert [c.id.draw for c in answer.candidates] == [0, 1]
    assert answer.trace.nodes["merged"].cut == "calls"
    lm.requests.clear()
    answer = await make_architecture(nodes, "merged", lm, budget={"max_calls": 2}).arun("?")
    assert [(c.id.node, c.id.draw) for c in answer.candidates] == [("draft", 0), ("draft", 1)]
    assert [request.n for request in lm.requests] == [2]
    assert [n.cut for n in answer.trace.nodes.values()] == ["calls", "calls"]


async def test_a_judge_judges_all_or_none() -> None:
    lm = ScriptedLM(five)
    answer = await make_architecture(CHECKED, "answer", lm, budget={"max_calls": 5}).arun("?")
    assert sum(request.n for request in lm.requests) == 3
    assert answer.value == "5"
    assert all(a.kind != "verdict" for c in answer.candidates for a in c.annotations)
    assert answer.trace.nodes["check"].cut == "calls"
    assert answer.trace.nodes["answer"].cut is None


# --------------------------------------------------------------------------------------- tokens


async def test_a_call_is_made_only_if_its_longest_reply_fits() -> None:
    lm = ScriptedLM(five)
    nodes = {"a": bare("x", samples=3, sampling={"max_tokens": 10})}
    # A prompt has 2 tokens and a reply 9: three samples cost 29, but the last may cost 10.
    answer = await make_architecture(nodes, "a", lm, budget={"max_tokens": 30}).arun("?")
    assert (answer.cost_tokens, answer.limited_by) == (29, None)
    assert [(r.first_draw, r.n) for r in lm.requests] == [(0, 2), (2, 1)]
    answer = await make_architecture(nodes, "a", lm, budget={"max_tokens": 29}).arun("?")
    assert (answer.cost_tokens, answer.limited_by) == (20, "tokens")
    with pytest.raises(BudgetError, match="11 tokens is used up") as caught:
        await make_architecture(nodes, "a", lm, budget={"max_tokens": 11}).arun("?")
    assert caught.value.limit == "tokens"


async def test_equal_prompts_cost_once() -> None:
    lm = ScriptedLM(five)
    one = await make_architecture({"a": bare("x")}, "a", lm).arun("?")
    short = {"sampling": {"max_tokens": 9}}
    nodes = {"a": bare("x", **short), "b": bare("x", inputs=["a"], **short)}
    both = await make_architecture(nodes, "b", lm).arun("?")
    (prompt_tokens,) = one.trace.prompts.values()
    assert both.cost_tokens == 2 * one.cost_tokens - prompt_tokens
    assert both.usage.prompt_tokens == 2 * prompt_tokens
    budget = {"max_tokens": both.cost_tokens}  # counting the prompt twice would pass it
    assert (await make_architecture(nodes, "b", lm, budget=budget).arun("?")).limited_by is None


async def test_concurrent_nodes_do_not_reserve_the_same_tokens() -> None:
    gate = Gate()
    short = {"sampling": {"max_tokens": 300}}
    nodes = {
        "a": bare("a", **short),
        "b": bare("b", **short),
        "v": {"type": "vote", "inputs": ["a", "b"]},
    }
    arch = make_architecture(nodes, "v", gate, budget={"max_tokens": 700})
    answering = asyncio.create_task(arch.arun("?"))
    await gate.until_waiting("a ?")  # a prompt of unknown length takes more than half with it
    gate.open("a ?")
    answer = await answering
    assert [c.id.node for c in answer.candidates] == ["a"]
    assert answer.trace.nodes["b"].cut == "tokens"


async def test_a_model_without_a_card_gets_a_token_limit() -> None:
    lm = ScriptedLM(lambda request, draw: "word " * 2000)
    arch = make_architecture({"a": bare("a")}, "a", lm, budget={"max_tokens": 600})
    answer = await arch.arun("?")
    assert lm.requests[0].sampling.max_tokens == 512
    assert answer.cost_tokens == 514


# -------------------------------------------------------------------------------------- seconds


class Sleepy:
    """A model whose sample k takes k seconds of the test, and a judge that takes forever."""

    capabilities = frozenset({"chat"})

    def __init__(self, step: float) -> None:
        self.step, self.cancelled = step, 0

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        draws = range(request.first_draw, request.first_draw + request.n)
        seconds = 3600 if "Verdict" in request.messages[-1].content else self.step * draws[-1]
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [make_completion(FIVE, draw) for draw in draws]


def leftover_tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_samples_that_finish_in_time_are_kept() -> None:
    lm = Sleepy(3600)
    arch = make_architecture(CHECKED, "answer", lm, budget={"max_seconds": 0.05})
    answer = await arch.arun("?")
    assert [c.id for c in answer.trace.nodes["draft"].outputs] == [answer.candidates[0].id]
    assert (answer.value, answer.limited_by) == ("5", "seconds")
    assert [n.cut for n in answer.trace.nodes.values()] == ["seconds", "seconds", None]
    assert lm.cancelled == 2
    assert leftover_tasks() == set()


async def test_a_judge_that_exceeds_the_deadline_is_bypassed() -> None:
    lm = Sleepy(0)
    arch = make_architecture(CHECKED, "answer", lm, budget={"max_seconds": 0.05})
    answer = await arch.arun("?")
    assert answer.candidates[0].score == 3.0
    assert [n.cut for n in answer.trace.nodes.values()] == [None, "seconds", None]
    assert lm.cancelled == 3


async def test_a_nested_architecture_returns_its_candidates_at_the_deadline() -> None:
    inner = make_architecture(CHECKED, "answer", Sleepy(0))
    team = {"type": "generator", "model": "team"}
    lms = {"team": ArchitectureLM(inner)}
    arch = make_architecture({"t": team}, "t", lms, budget={"max_seconds": 0.05})
    answer = await arch.arun("?")
    assert (answer.value, answer.limited_by) == ("5", "seconds")


async def test_without_any_candidate_the_question_fails() -> None:
    gate = Gate()
    arch = make_architecture({"a": bare("a")}, "a", gate, budget={"max_seconds": 0.01})
    with pytest.raises(BudgetError, match=r"0\.01 seconds") as caught:
        await arch.arun("?")
    assert caught.value.limit == "seconds"
    assert gate.cancelled == 1
    assert leftover_tasks() == set()


async def test_a_model_s_own_timeout_is_not_a_budget_error() -> None:
    class Slow:
        capabilities = frozenset({"chat"})

        async def generate(self, request: Request, on_event: OnEvent | None) -> list[Completion]:
            raise TimeoutError("slow")

    arch = make_architecture({"a": bare("a")}, "a", Slow(), budget={"max_seconds": 60})
    with pytest.raises(NodeError, match="slow"):
        await arch.arun("?")


# --------------------------------------------------------------------------------------- nested


async def test_a_nested_run_without_candidates_does_not_affect_the_others() -> None:
    """Two calls make one run of the inner architecture and two thirds of another."""
    inner = make_architecture({"d": bare("d", samples=2)}, "d", ScriptedLM(five))
    team = {"type": "generator", "model": "team", "samples": 3}
    nodes = {"t": team, "v": {"type": "vote", "inputs": ["t"]}}
    arch: Architecture = make_architecture(
        nodes, "v", {"team": ArchitectureLM(inner)}, budget={"max_calls": 3}
    )
    answer = await arch.arun("?")
    assert answer.usage.calls == 3
    assert len(answer.trace.nodes["t"].outputs) == 2
    assert answer.limited_by == "calls"
