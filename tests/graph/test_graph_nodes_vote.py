from __future__ import annotations

import math

import pytest
from graph_doubles import FakeContext, make_candidate
from hypothesis import given
from hypothesis import strategies as st

from archon.errors import UsageError
from archon.graph.nodes.join import Join
from archon.graph.nodes.vote import WEIGHTS, Vote
from archon.graph.notes import NO_VALUE, notes
from archon.types import Annotation, AnswerKind, Candidate


async def vote(*values: str | None) -> list[Candidate]:
    candidates = [make_candidate(i, value) for i, value in enumerate(values)]
    return await Vote("answer", WEIGHTS["count"]).run(FakeContext(), candidates)


def summary(candidates: list[Candidate]) -> list[tuple[int, str | None, float | None]]:
    return [(c.id.draw, c.value, c.score) for c in candidates]


async def test_the_earliest_candidate_of_each_value_is_scored_by_support() -> None:
    assert summary(await vote("4", "5", "5", "4", "5")) == [(1, "5", 3.0), (0, "4", 2.0)]


async def test_ties_go_to_the_earlier() -> None:
    assert summary(await vote("7", "5", "6", "6", "5")) == [
        (1, "5", 2.0),
        (2, "6", 2.0),
        (0, "7", 1.0),
    ]


async def test_without_a_value_there_is_no_vote() -> None:
    assert summary(await vote(None, None, None, "5")) == [(3, "5", 1.0)]


async def test_if_none_has_a_value_the_first_passes_with_no_support() -> None:
    assert summary(await vote(None, None)) == [(0, None, 0.0)]
    assert await vote() == []


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("number", "no candidate states a number; returning the first"),
        ("text", "no candidate states an answer; returning the first"),
        ("code", "no candidate contains a program; returning the first"),
    ],
)
async def test_without_any_value_the_candidate_gets_a_mark(
    weight: str, answer: AnswerKind, reason: str
) -> None:
    context = FakeContext()
    candidates = [make_candidate(i, None) for i in range(3)]
    (out,) = await Vote("answer", WEIGHTS[weight]).run(context, candidates)
    assert out.latest("mark") == Annotation("answer", "mark", NO_VALUE, "returning the first")
    assert notes([out], answer) == (reason,)
    voted = await Vote("answer").run(context, [make_candidate(0, "5"), *candidates])
    assert notes(voted, answer) == ()


async def test_one_candidate_wins() -> None:
    assert summary(await vote("5")) == [(0, "5", 1.0)]


async def test_earlier_annotations_stay_and_the_score_is_signed() -> None:
    candidate = make_candidate(0, "5", Annotation("check", "score", 0.5))
    (out,) = await Vote("answer", WEIGHTS["count"]).run(FakeContext(), [candidate])
    assert [(a.node, a.value) for a in out.annotations] == [("check", 0.5), ("answer", 1.0)]


@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=200))
async def test_support_sums_to_the_votes_and_never_rises(values: list[str | None]) -> None:
    out = await vote(*values)
    scores = [c.score or 0.0 for c in out]
    assert sum(scores) == sum(v is not None for v in values)
    assert scores == sorted(scores, reverse=True)


async def test_if_a_vote_has_no_weight_all_have_equal_weight() -> None:
    scored = make_candidate(0, "5", Annotation("check", "score", 9.0))
    candidates = [scored, make_candidate(1, "6"), make_candidate(2, "6")]
    out = await Vote("answer", WEIGHTS["score"]).run(FakeContext(), candidates)
    assert summary(out) == [(1, "6", 2.0), (0, "5", 1.0)]


async def test_odds_are_the_ratio_to_the_complement() -> None:
    scored = [
        make_candidate(i, value, Annotation("check", "score", score))
        for i, (value, score) in enumerate([("5", 0.9), ("6", 0.75), ("6", 0.75), ("6", 0.5)])
    ]
    by_score = await Vote("answer", WEIGHTS["score"]).run(FakeContext(), scored)
    by_odds = await Vote("answer", WEIGHTS["odds"]).run(FakeContext(), scored)
    assert summary(by_score) == [(1, "6", 2.0), (0, "5", 0.9)]
    assert summary(by_odds) == [(0, "5", pytest.approx(9.0)), (1, "6", 7.0)]


async def test_certainty_has_finite_odds_and_a_non_probability_is_an_error() -> None:
    sure = [make_candidate(i, "5", Annotation("check", "score", 1.0)) for i in range(2)]
    (out,) = await Vote("answer", WEIGHTS["odds"]).run(FakeContext(), sure)
    assert out.score is not None
    assert 1e15 < out.score < math.inf
    for score, reason in (
        (1.5, "needs scores from 0 to 1, but a candidate has 1.5"),
        (-0.5, "but one is -0"),
    ):
        odd = make_candidate(0, "5", Annotation("check", "score", score))
        with pytest.raises(UsageError, match=reason):
            await Vote("answer", WEIGHTS["odds"]).run(FakeContext(), [odd])


async def test_join_passes_on_what_it_reads() -> None:
    candidates = [make_candidate(0, "5"), make_candidate(1, None)]
    assert await Join().run(FakeContext(), candidates) == candidates
