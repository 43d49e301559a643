"""Comparison of a run with the vote over the number of samples that its cost buys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eval_doubles import make_record

from archon.evals.equal_cost import equal_cost, plain_vote
from archon.evals.records import Draw, Record
from archon.types import Usage

pytest.importorskip("scipy")

VOTE: dict[str, Any] = {
    "nodes": {
        "draft": {"type": "generator", "inputs": [], "when": None},
        "answer": {"type": "vote", "inputs": ["draft"], "weight": "count", "when": None},
    },
    "output": "answer",
}
OTHER: dict[str, Any] = {"nodes": {"draft": {"type": "generator"}}, "output": "draft"}


def voted(item: str, scores: str) -> Record:
    """An answer of a vote: a prompt of 100 tokens, 10 for each sample; "1" is a right one."""
    samples = tuple(Draw(score, int(score)) for score in scores)
    usage = Usage(completion_tokens=10 * len(scores), calls=len(scores))
    cost = 100 + usage.completion_tokens
    return replace(make_record(item, 1), draws={"draft": samples}, usage=usage, cost_tokens=cost)


def answered(item: str, score: int, cost_tokens: int) -> Record:
    return replace(make_record(item, score), cost_tokens=cost_tokens)


ITEMS = [f"item-{n}" for n in range(20)]
VOTES = [voted(item, "1011") for item in ITEMS]


@pytest.mark.parametrize(
    ("cost", "samples", "is_enough", "accuracy"),
    [
        (50, 1, True, 3 / 4),
        (119, 1, True, 3 / 4),
        (120, 2, True, 4 / 6),  # of six pairs those two lose that begin with the wrong sample
        (135, 3, True, 1.0),
        (149, 4, True, 1.0),
        (150, 4, False, 1.0),
    ],
)
def test_a_run_is_compared_with_the_samples_that_its_cost_buys(
    cost: int, samples: int, is_enough: bool, accuracy: float
) -> None:
    run = [answered(item, 1, cost) for item in ITEMS]
    (row,) = equal_cost(["vote", "other"], [VOTE, OTHER], [VOTES, run])
    assert (row["name"], row["vote"], row["num_items"]) == ("other", "vote", 20)
    assert (row["drafts"], row["is_enough"]) == (samples, is_enough)
    assert row["vote_cost_tokens"] == 100 + 10 * samples
    assert row["vote_accuracy"] == pytest.approx(accuracy)
    assert row["difference"] == pytest.approx(1 - accuracy)
    low, high = row["interval"]
    assert low <= row["difference"] <= high


def test_too_few_samples_for_the_cost_are_reported() -> None:
    run = [answered(item, 1, 500) for item in ITEMS]
    (row,) = equal_cost(["vote", "other"], [VOTE, OTHER], [VOTES, run])
    assert (row["drafts"], row["is_enough"]) == (4, False)


def test_the_vote_with_the_most_samples_is_used() -> None:
    small = [voted(item, "11") for item in ITEMS]
    run = [answered(item, 0, 135) for item in ITEMS]
    rows = equal_cost(["two", "four", "other"], [VOTE, VOTE, OTHER], [small, VOTES, run])
    assert [(row["name"], row["vote"]) for row in rows] == [("other", "four")]


def test_without_a_plain_vote_there_is_nothing_to_compare_with() -> None:
    run = [answered(item, 1, 135) for item in ITEMS]
    assert equal_cost(["a", "b"], [OTHER, OTHER], [run, run]) == []


def test_failed_answers_of_the_vote_count_as_wrong() -> None:
    failed = [make_record(item, 0, error="LMError: gone") for item in ITEMS[:10]]
    run = [answered(item, 1, 135) for item in ITEMS]
    (row,) = equal_cost(["vote", "other"], [VOTE, OTHER], [failed + VOTES[10:], run])
    assert row["vote_accuracy"] == 0.5


def test_other_architectures_are_not_a_plain_vote() -> None:
    weighted = {**VOTE["nodes"]["answer"], "weight": "score"}
    assert plain_vote("x", {**VOTE, "nodes": {**VOTE["nodes"], "answer": weighted}}, VOTES) is None
    assert plain_vote("x", OTHER, VOTES) is None
    assert plain_vote("x", VOTE, []) is None
