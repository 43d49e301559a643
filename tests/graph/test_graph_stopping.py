from __future__ import annotations

import asyncio
from typing import Any

import pytest
from graph_doubles import make_architecture
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from archon.errors import SpecError
from archon.graph.stopping import expected_samples, is_settled, probability_of_lead
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.spec.architecture import ArchitectureSpec, StopWhen
from archon.spec.validation import parse
from archon.types import Question

VALUES = st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=24)


def rule(confidence: float, round: int = 4) -> StopWhen:
    return StopWhen(confidence=confidence, round=round)


def said(value: str | None) -> str:
    return "I do not know." if value is None else f"The answer is {value}."


def voting(values: list[str | None], stop_when: Any, **draft: Any) -> tuple[Any, ScriptedLM]:
    lm = ScriptedLM(in_turn([said(value) for value in values]))
    samples = draft.pop("samples", len(values))
    nodes = {
        "draft": {"type": "generator", "samples": samples, "stop_when": stop_when, **draft},
        "answer": {"type": "vote", "inputs": ["draft"]},
    }
    return make_architecture(nodes, "answer", lm), lm


def num_drawn(lm: ScriptedLM) -> int:
    return sum(request.n for request in lm.requests)


# ------------------------------------------------------------------------------------- formula


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_probability_is_that_of_the_beta_posterior(votes: int, next_votes: int) -> None:
    expected = beta.sf(0.5, votes + 1, next_votes + 1)
    assert probability_of_lead(votes, next_votes) == pytest.approx(expected, abs=1e-12)


def test_known_values() -> None:
    assert probability_of_lead(0, 0) == probability_of_lead(7, 7) == 0.5
    assert probability_of_lead(4, 0) == 1 - 1 / 32
    assert probability_of_lead(5000, 4000) == 1.0  # the factors are beyond a float


@pytest.mark.parametrize(
    ("values", "num_left", "settled"),
    [
        ("11", 3, False),
        ("111", 3, True),  # a new value can tie, but came later
        ("1112", 3, False),
        ("1112", 2, True),
        ("2111", 2, False),  # a tie goes to 2, which came first
        ("2111", 1, True),
        ("", 1, False),
        ("", 0, True),
    ],
)
def test_with_full_confidence_ties_and_new_values_count(
    values: str, num_left: int, settled: bool
) -> None:
    assert is_settled(rule(1.0), list(values), num_left) is settled


def test_samples_without_a_value_do_not_vote() -> None:
    assert is_settled(rule(0.95), ["1"] * 4, 9)
    assert not is_settled(rule(0.95), ["1", None, None, "1", None, "1"], 9)
    assert not is_settled(rule(1.0), [None, None], 1)


# ---------------------------------------------------------------------------------- generators


@given(VALUES, st.integers(1, 6), st.lists(st.sampled_from(["1", "2", None]), max_size=4))
def test_with_full_confidence_the_vote_is_that_over_all_samples(
    values: list[str | None], round: int, before: list[str | None]
) -> None:
    """With candidates that the generator reads, and without."""
    winners = []
    for stop_when in (None, {"confidence": 1, "round": round}):
        nodes: dict[str, Any] = {
            "draft": {"type": "generator", "samples": len(values), "stop_when": stop_when},
            "answer": {"type": "vote", "inputs": ["draft"]},
        }
        lms = {"solver": ScriptedLM(in_turn([said(value) for value in values]))}
        if before:
            nodes["before"] = {"type": "generator", "model": "first", "samples": len(before)}
            nodes["draft"]["inputs"] = ["before"]
            lms["first"] = ScriptedLM(in_turn([said(value) for value in before]))
        arch = make_architecture(nodes, "answer", lms)
        winners.append(asyncio.run(arch.arun("?")).candidates[0].id)
    assert winners[0] == winners[1]


@given(VALUES, st.integers(1, 6), st.sampled_from([0.7, 0.95, 1.0]))
def test_it_stops_after_the_first_round_that_settles_the_vote(
    values: list[str | None], round: int, confidence: float
) -> None:
    arch, lm = voting(values, {"confidence": confidence, "round": round})
    asyncio.run(arch.arun("?"))
    stops = (
        count
        for count in range(round, len(values), round)
        if is_settled(rule(confidence), values[:count], len(values) - count)
    )
    assert num_drawn(lm) == next(stops, len(values))
    assert all(request.n == round for request in lm.requests[:-1])


async def test_rounds_use_consecutive_sample_indices_of_the_reserved_range() -> None:
    values = ["1", "2", "1", "2", "1", "1", "1", "1"] * 2
    arch, lm = voting(values, {"confidence": 0.9, "round": 3})
    answer = await arch.answer(Question("?"), run=2)
    assert [(r.first_draw, r.n) for r in lm.requests] == [(32, 3), (35, 3), (38, 3)]
    assert [c.id.draw for c in answer.trace.nodes["draft"].outputs] == list(range(32, 41))
    assert answer.usage.calls == 9
    assert [call.first_draw for call in answer.trace.nodes["draft"].calls] == [32, 35, 38]


async def test_unused_sample_indices_stay_reserved() -> None:
    lm = ScriptedLM(lambda request, draw: said("1"))
    draft = {"type": "generator", "samples": 8}
    nodes = {
        "a": {**draft, "stop_when": {"confidence": 0.95, "round": 4}},
        "b": draft,
        "v": {"type": "vote", "inputs": ["a", "b"]},
    }
    await make_architecture(nodes, "v", lm).arun("?")
    assert {(r.first_draw, r.n) for r in lm.requests} == {(0, 4), (8, 8)}


async def test_candidates_that_settle_the_vote_need_no_samples() -> None:
    lm = ScriptedLM(lambda request, draw: said("1"))
    nodes = {
        "a": {"type": "generator", "samples": 5},
        "b": {
            "type": "generator",
            "samples": 8,
            "inputs": ["a"],
            "stop_when": {"confidence": 0.95, "round": 4},
        },
    }
    answer = await make_architecture(nodes, "b", lm).arun("?")
    assert [c.id.node for c in answer.candidates] == ["a"] * 5
    assert num_drawn(lm) == 5


@pytest.mark.parametrize(
    "stop_when", [{"confidence": 0.5}, {"confidence": 1.01}, {}, {"confidence": 0.9, "round": 0}]
)
def test_a_rule_that_makes_no_sense_is_refused(stop_when: dict[str, Any]) -> None:
    data = {
        "version": 1,
        "name": "x",
        "models": {"solver": "scripted"},
        "nodes": {"draft": {"type": "generator", "model": "solver", "stop_when": stop_when}},
        "output": "draft",
    }
    with pytest.raises(SpecError, match="stop_when"):
        parse(ArchitectureSpec, data, "x.json")


# ---------------------------------------------------------------------------------- expectation


def test_the_expected_number_of_samples() -> None:
    assert expected_samples(rule(0.95, 4), 16, agreement=1.0) == 4
    assert expected_samples(rule(1.0, 1), 3, agreement=1.0) == 2
    # After two different samples, which happens half of the time, a third one is needed.
    assert expected_samples(rule(1.0, 1), 3, agreement=0.5) == pytest.approx(2.5)
    assert 4 < expected_samples(rule(0.95, 4), 16, agreement=0.7) < 16
    assert expected_samples(rule(0.95, 4), 3, agreement=0.7) == 3
    assert expected_samples(rule(0.95, 10_000), 10_000, agreement=0.6) == 10_000
