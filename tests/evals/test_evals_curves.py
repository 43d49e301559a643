"""pass@k and vote@k against all subsets, with the vote of the node itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any, cast

import pytest
from eval_doubles import make_record
from hypothesis import given, settings
from hypothesis import strategies as st

import archon
from archon.evals.pass_at_k import DrawSet, curves, ks_up_to
from archon.evals.records import Draw, Record
from archon.evals.statistics import mean_interval
from archon.graph.nodes.vote import Vote
from archon.lm.scripted.lm import ScriptedLM
from archon.types import Candidate, CandidateId, Question

CONTEXT = SimpleNamespace(question=Question("", answer="number"))
"""What a vote reads of the context of its node."""
drawn = st.lists(
    st.builds(Draw, st.sampled_from([None, "1", "2", "3"]), st.integers(0, 1)),
    min_size=1,
    max_size=7,
)


def voted(draws: Sequence[Draw]) -> int:
    """The score of the first candidate of the node ``vote``."""
    candidates = [
        Candidate(CandidateId("draft", place), "", draw.value) for place, draw in enumerate(draws)
    ]
    first, *_ = asyncio.run(Vote("vote").run(cast(Any, CONTEXT), candidates))
    return draws[first.id.draw].score


@settings(max_examples=60, deadline=None)
@given(drawn)
def test_curves_are_means_over_the_subsets(draws: list[Draw]) -> None:
    ours = DrawSet.of(draws)
    votes = ours.votes_at(range(1, len(draws) + 1))
    for k, vote in enumerate(votes, start=1):
        subsets = list(combinations(draws, k))
        assert vote == pytest.approx(fmean(map(voted, subsets)))
        held = fmean(any(draw.score for draw in subset) for subset in subsets)
        assert ours.pass_at(k) == pytest.approx(held)


def test_pass_at_k_is_that_of_a_worked_example() -> None:
    # Chen et al.: n = 5, c = 2; of the ten subsets of three one holds no right draw.
    draws = DrawSet.of([Draw("a", 1), Draw("b", 0), Draw("c", 0), Draw("d", 0), Draw("a", 1)])
    assert draws.pass_at(3) == pytest.approx(1 - 1 / 10)


def random_draws(generator: random.Random, count: int) -> list[Draw]:
    chance = generator.random()
    values = ["x" if generator.random() < chance else generator.choice("abc") for _ in range(count)]
    return [Draw(None if value == "c" else value, int(value == "x")) for value in values]


def test_votes_over_many_samples_are_estimated_close_to_the_exact_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator, ks = random.Random(3), [1, 4, 16, 130]
    sets = [random_draws(generator, 130) for _ in range(12)]
    estimated = [DrawSet.of(draws).votes_at(ks) for draws in sets]
    monkeypatch.setattr("archon.evals.pass_at_k.MOST_EXACT", 130)
    exact = [DrawSet.of(draws).votes_at(ks) for draws in sets]
    assert estimated != exact
    for place, k in enumerate(ks):
        ours, theirs = ([shares[place] for shares in votes] for votes in (estimated, exact))
        assert ours == pytest.approx(theirs, abs=0 if k in (1, 130) else 0.2)
        assert fmean(ours) == pytest.approx(fmean(theirs), abs=0.05)


def record(item: str, scores: str, epoch: int = 0, node: str = "draft") -> Record:
    draws = tuple(Draw(score, int(score == "1")) for score in scores)
    return replace(make_record(item, 1, epoch), draws={node: draws})


def test_one_sample_has_the_mean_score_and_all_have_the_vote() -> None:
    runs = [record("a", "1120"), record("b", "3344"), record("c", "2131")]
    first, *_, last = curves(runs)["draft"]
    means = [0.5, 0, 0.5]
    assert (first["k"], first["pass"], first["vote"]) == (1, fmean(means), fmean(means))
    assert first["pass_interval"] == first["vote_interval"] == mean_interval(means, 12)
    assert (last["k"], last["pass"], last["vote"]) == (4, 2 / 3, 2 / 3)
    assert last["vote_interval"] == mean_interval([1, 0, 1], 3)


def test_epochs_of_an_item_are_averaged_before_items_are() -> None:
    runs = [record("a", "11"), record("a", "22", 1), record("b", "11")]
    first, last = curves(runs)["draft"]
    assert first["pass"] == last["vote"] == 0.75
    assert last["pass_interval"] == mean_interval([0.5, 1], 3)


def test_runs_that_failed_count_as_wrong() -> None:
    runs = [record("a", "11"), make_record("b", 0, error="LMError: no")]
    assert [point["pass"] for point in curves(runs)["draft"]] == [0.5, 0.5]


def test_a_curve_ends_at_the_fewest_samples_and_needs_two() -> None:
    runs = [record("a", "111"), record("b", "12345"), record("a", "1", node="merged")]
    (points,) = curves(runs).values()
    assert [point["k"] for point in points] == [1, 2, 3]
    assert points[0]["pass"] == pytest.approx((1 + 1 / 5) / 2)


def test_a_node_that_did_not_always_run_is_judged_where_it_did() -> None:
    runs = [record("a", "11"), record("b", "22"), record("b", "11", 1, node="again")]
    assert curves(runs)["again"][0]["pass"] == 1


def test_ks_are_all_up_to_16_then_powers_of_two_and_the_last() -> None:
    assert ks_up_to(3) == [1, 2, 3]
    assert ks_up_to(100) == [*range(1, 17), 32, 64, 100]


def test_curves_rise_with_right_majorities_and_fall_with_wrong_ones() -> None:
    right = curves([record("a", "11121311")])["draft"]
    wrong = curves([record("a", "22212322")])["draft"]
    assert [point["vote"] for point in right] == sorted(point["vote"] for point in right)
    assert wrong[-1]["vote"] == 0 < wrong[0]["vote"] < wrong[-1]["pass"] == 1


def test_equivalent_expressions_vote_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("math_verify")
    monkeypatch.chdir(tmp_path)
    texts = [r"\boxed{x}", r"\boxed{x+1}", r"\boxed{1+x}"]
    node = {"type": "generator", "model": "solver", "samples": 3}
    graph = {"version": 1, "name": "one", "models": {"solver": "scripted"}}
    graph |= {"nodes": {"draft": node}, "output": "draft"}
    architecture = archon.load(graph, models={"solver": ScriptedLM(lambda _, draw: texts[draw])})
    rows = [{"question": "?", "answer": "x+1"}]
    report = archon.evaluate(architecture, rows, answer="math", split="all", cache=False)
    [curve] = report.curves.values()
    assert (curve[-1]["k"], curve[-1]["vote"]) == (3, 1)
