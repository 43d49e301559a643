"""Constraints on judges' last lines, for models that support them, and their readers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from graph_doubles import FakeContext, make_architecture, make_candidate, make_prompt

from archon.graph.judge_output import (
    VERDICT_CONSTRAINT,
    ranking_constraint,
    read_ranking,
    read_verdict,
)
from archon.graph.nodes.ranker import UNREAD, ListwiseRank, Ranker
from archon.graph.nodes.verifier import Verifier, judge_by_argument
from archon.graph.prompts.templates import RANKING, VERDICT
from archon.lm.scripted.constrained import conforming_text
from archon.lm.scripted.lm import ScriptedLM
from archon.types import Candidate, Constraint

JUDGES = {
    "draft": {"type": "generator", "samples": 4},
    "best": {"type": "ranker", "inputs": ["draft"], "sampling": {"max_tokens": 60}},
    "check": {"type": "verifier", "inputs": ["best"], "sampling": {"max_tokens": 30}},
}


def last_line(constraint: Constraint, number: int) -> str:
    assert constraint.after is not None
    return f"{constraint.after.label} {conforming_text(constraint, number)}"


async def judged(lm: ScriptedLM) -> tuple[Candidate, ...]:
    architecture = make_architecture(JUDGES, "check", lm)
    return (await architecture.arun("What is 2 + 3?")).candidates


def mumble(request: Any, draw: int) -> str:
    return "Well, 2 + 3 = 5. " * 100


@pytest.mark.parametrize("count", [2, 3, 9, 10, 64])
def test_every_ranking_in_the_format_is_read(count: int) -> None:
    form = ranking_constraint(count)
    assert form is not None
    for number in range(20):
        line = last_line(form, number)
        order = read_ranking(f"[1] is good.\n[2] > [1]\n{line}", count)
        assert order is not None
        assert sorted(order) == list(range(count))
        assert line.endswith(" > ".join(f"[{i + 1}]" for i in order))


def test_both_verdicts_of_the_constraint_are_read() -> None:
    lines = {last_line(VERDICT_CONSTRAINT, number) for number in range(20)}
    assert lines == {"Verdict: correct", "Verdict: incorrect"}
    assert {read_verdict(f"It is wrong.\n{line}") for line in lines} == {"pass", "fail"}


@pytest.mark.parametrize(
    "form", [VERDICT_CONSTRAINT, ranking_constraint(2), ranking_constraint(64)]
)
def test_tokens_are_reserved_for_the_longest_line(form: Constraint) -> None:
    assert form.after is not None
    longest = max(len(f"\n{last_line(form, number)}".encode()) for number in range(20))
    assert longest == form.after.room


def test_default_templates_ask_for_the_lines_that_the_constraints_begin() -> None:
    ranking = ranking_constraint(2)
    assert ranking is not None
    for templates, form in ((RANKING.templates, ranking), (VERDICT.templates, VERDICT_CONSTRAINT)):
        assert form.after is not None
        assert all(form.after.label in template.text for template in templates.values())


async def test_ranker_and_verifier_send_their_constraints() -> None:
    context = FakeContext(["Ranking: [2] > [1]", "Verdict: correct"])
    candidates = [make_candidate(i, "5") for i in range(2)]
    await Ranker("best", ListwiseRank(make_prompt("ranker"), None), None).run(context, candidates)
    await Verifier("check", partial(judge_by_argument, make_prompt("verifier")), None).run(
        context, candidates[:1]
    )
    assert context.constraints == [ranking_constraint(2), VERDICT_CONSTRAINT]


async def test_more_candidates_than_an_order_may_have_are_ranked_without_a_constraint() -> None:
    context = FakeContext([""])
    candidates = [make_candidate(i, "5") for i in range(65)]
    await Ranker("best", ListwiseRank(make_prompt("ranker"), None), None).run(context, candidates)
    assert context.constraints == [None]


async def test_a_constrained_model_always_ranks_and_judges() -> None:
    lm = ScriptedLM(mumble)
    for candidate in await judged(lm):
        assert candidate.annotations[0].reason != UNREAD
        verdict = candidate.latest("verdict")
        assert verdict is not None
        assert verdict.value in ("pass", "fail")
        assert verdict.reason.startswith("Well, ")
    forms = [request.constraint for request in lm.requests]
    assert forms == [None, ranking_constraint(4), *[VERDICT_CONSTRAINT] * 4]


async def test_a_model_without_constraints_gets_the_wording_alone() -> None:
    lm = ScriptedLM(mumble, capabilities=frozenset({"chat"}))
    for candidate in await judged(lm):
        assert candidate.annotations[0].reason == UNREAD
        verdict = candidate.latest("verdict")
        assert verdict is not None
        assert verdict.value == "abstain"
    assert {request.constraint for request in lm.requests} == {None}


async def test_a_beam_search_gets_no_constraint() -> None:
    lm = ScriptedLM(mumble)
    nodes = {**JUDGES, "best": {**JUDGES["best"], "sampling": {"beams": 2}}}
    await make_architecture(nodes, "check", lm).arun("What is 2 + 3?")
    assert [request.constraint for request in lm.requests][:3] == [None, None, VERDICT_CONSTRAINT]
