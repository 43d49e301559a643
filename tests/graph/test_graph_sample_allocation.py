from __future__ import annotations

from typing import Any

import pytest
from graph_doubles import CARD, make_architecture
from hypothesis import given
from hypothesis import strategies as st

from archon.graph.architecture import Architecture
from archon.graph.lm import ArchitectureLM
from archon.graph.sample_allocation import Member, SampleRange, plan_samples
from archon.lm.scripted.lm import ScriptedLM
from archon.spec.model import ScriptedCard
from archon.types import Question, Request, SamplingParams

GENERATOR = {"type": "generator"}


def echo(request: Request, draw: int) -> str:
    return f"{request.messages[-1].content[:20]} {request.sampling.temperature} #{draw}"


def starts(architecture: Architecture, run: int = 0) -> dict[str, int]:
    """Return the first sample index of each node in a run."""
    uses = architecture.models.uses(SamplingParams())
    return {name: use.sample_range.start(run) for name, use in uses.items()}


def make_drafts(*samples: int, **node: Any) -> dict[str, Any]:
    nodes = {f"draft_{i}": {**GENERATOR, "samples": n, **node} for i, n in enumerate(samples)}
    return {**nodes, "answer": {"type": "vote", "inputs": list(nodes)}}


# ------------------------------------------------------------------------------------ groups


async def test_ten_equal_generators_write_ten_different_samples() -> None:
    arch = make_architecture(make_drafts(*[1] * 10), "answer", echo)
    answer = await arch.arun("What?")
    texts = {c.text for node in answer.trace.nodes.values() for c in node.completions()}
    assert len(texts) == 10


def test_members_take_consecutive_ranges_in_the_order_of_declaration() -> None:
    arch = make_architecture(make_drafts(3, 1, 4), "answer", echo)
    assert starts(arch) == {"draft_0": 0, "draft_1": 3, "draft_2": 4}


def test_run_j_adds_j_times_the_total_of_the_group() -> None:
    nodes = make_drafts(3, 1)
    nodes["other"] = {**GENERATOR, "samples": 5, "sampling": {"temperature": 0.1}}
    nodes["answer"]["inputs"].append("other")
    arch = make_architecture(nodes, "answer", echo)
    assert starts(arch, run=2) == {"draft_0": 8, "draft_1": 11, "other": 10}


def test_a_judge_takes_one_sample_index_for_all_its_calls() -> None:
    nodes = {
        "draft": {**GENERATOR, "samples": 5},
        "a": {"type": "verifier", "inputs": ["draft"]},
        "b": {"type": "verifier", "inputs": ["a"]},
    }
    assert starts(make_architecture(nodes, "b", echo)) == {"draft": 0, "a": 0, "b": 1}


@pytest.mark.parametrize(
    "difference",
    [
        {"sampling": {"temperature": 0.1}},
        {"prompt": {"template": "direct"}},
        {"prompt": {"shots": 1}},
        {"model": "judge"},
    ],
)
def test_different_nodes_are_in_different_groups(difference: dict[str, Any]) -> None:
    nodes = make_drafts(2, 2)
    nodes["draft_1"].update(difference)
    lms = {"solver": ScriptedLM(echo), "judge": ScriptedLM(echo)}
    arch = make_architecture(nodes, "answer", lms)
    assert starts(arch) == {"draft_0": 0, "draft_1": 0}


def test_roles_with_equal_cards_are_one_model() -> None:
    nodes = make_drafts(2, 2)
    nodes["draft_1"]["model"] = "solver_2"
    lms = {"solver": ScriptedLM(echo), "solver_2": ScriptedLM(echo)}
    equal = make_architecture(nodes, "answer", lms, {"solver": CARD, "solver_2": CARD})
    assert starts(equal) == {"draft_0": 0, "draft_1": 2}
    other = ScriptedCard.model_validate({"name": "b", "backend": "scripted", "accuracy": 0.1})
    unequal = make_architecture(nodes, "answer", lms, {"solver": CARD, "solver_2": other})
    assert starts(unequal) == {"draft_0": 0, "draft_1": 0}


def test_a_default_equals_its_explicit_value() -> None:
    nodes = make_drafts(1, 1)
    nodes["draft_1"].update(prompt={"template": "cot"}, sampling={"temperature": 0.7})
    arch = make_architecture(nodes, "answer", echo, {"solver": CARD})
    assert starts(arch) == {"draft_0": 0, "draft_1": 1}


async def test_equal_sample_requests_of_two_architectures_return_equal_texts() -> None:
    lm = ScriptedLM(echo)
    one = make_architecture(make_drafts(8), "answer", lm)
    two = make_architecture(make_drafts(3, 5), "answer", lm)
    for run in (0, 1):
        texts = []
        for arch in (one, two):
            answer = await arch.answer(Question("What?"), run=run)
            completions = [c for n in answer.trace.nodes.values() for c in n.completions()]
            texts.append({c.draw: c.text for c in completions})
        assert texts[0] == texts[1]


# ------------------------------------------------------------------------------------ nesting


def make_nested_pair(lm: ScriptedLM) -> Architecture:
    """Two generators, and between them a nested architecture with two runs.

    Each run of it makes two samples, which are equal in kind to those of the generators.
    """
    inner = make_architecture(make_drafts(2), "answer", lm)
    nodes = {
        "before": dict(GENERATOR),
        "team": {**GENERATOR, "model": "team", "samples": 2},
        "after": dict(GENERATOR),
        "answer": {"type": "vote", "inputs": ["before", "team", "after"]},
    }
    return make_architecture(nodes, "answer", {"solver": lm, "team": ArchitectureLM(inner)})


def test_nested_nodes_take_the_position_of_their_outer_node() -> None:
    arch = make_nested_pair(ScriptedLM(echo))
    assert starts(arch) == {"before": 0, "team": 0, "after": 5}
    assert starts(arch, run=1) == {"before": 6, "team": 2, "after": 11}


async def test_no_sample_index_is_taken_twice_by_an_architecture_and_nested_ones() -> None:
    lm = ScriptedLM(echo)
    arch = make_nested_pair(lm)
    for run in range(3):
        await arch.answer(Question("What?"), run=run)
    taken = [r.first_draw + i for r in lm.requests for i in range(r.n)]
    assert sorted(taken) == list(range(18))


def test_ranges_two_levels_down_are_disjoint_and_without_gaps() -> None:
    leaf = Member("leaf", "g", 3)
    inner = (Member("own", "g", 1), Member("deep", "-", 2, (leaf, Member("x", "h", 1))))
    members = (Member("first", "g", 2), Member("mid", "-", 4, inner), Member("last", "g", 1))
    plan = plan_samples(members)
    total = 2 + 4 * (1 + 2 * 3) + 1
    taken: list[int] = []
    for run in range(2):
        taken += range(plan["first",].start(run), plan["first",].start(run) + 2)
        taken += range(plan["last",].start(run), plan["last",].start(run) + 1)
        middle = plan["mid",].start(run)
        for mid_run in range(middle, middle + 4):
            taken.append(plan["mid", "own"].start(mid_run))
            deep = plan["mid", "deep"].start(mid_run)
            for deep_run in range(deep, deep + 2):
                start = plan["mid", "deep", "leaf"].start(deep_run)
                taken += range(start, start + 3)
    assert sorted(taken) == list(range(2 * total))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5)), min_size=1, max_size=8))
def test_each_group_is_one_range_without_gaps(nodes: list[tuple[str, int]]) -> None:
    members = [Member(str(i), group, count) for i, (group, count) in enumerate(nodes)]
    plan = plan_samples(members)
    for group in "ab":
        own = [m for m in members if m.group == group]
        taken = [plan[m.node,].start(0) + k for m in own for k in range(m.count)]
        assert taken == list(range(len(taken)))
        assert {plan[m.node,].total for m in own} <= {len(taken)}


def test_each_run_starts_a_new_range() -> None:
    assert [SampleRange(2, 5).start(run) for run in range(3)] == [2, 7, 12]
