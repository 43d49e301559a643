from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from graph_doubles import FakeContext, make_candidate, make_prompt

from archon.errors import LMError
from archon.graph.nodes.ranker import Ranker
from archon.graph.nodes.scorers import (
    GRADES,
    MIN_MASS,
    NO,
    YES,
    ExpectedGrade,
    Likelihood,
    OwnLikelihood,
    ProbabilityOfYes,
    Reward,
    Scorer,
    share,
)
from archon.graph.nodes.verifier import Verifier, judge_by_score
from archon.types import Annotation, Candidate

CANDIDATES = [make_candidate(i, str(i)) for i in range(4)]


def summary(out: Sequence[Candidate]) -> list[tuple[int, float | None]]:
    return [(c.id.draw, None if c.score is None else round(c.score, 6)) for c in out]


def graded(expected: Callable[[str], float]) -> Callable[[str, str], float]:
    """Log-probabilities that split the mass between grades 1 and 9."""

    def logprob(prompt: str, choice: str) -> float:
        mass = {"1": 1 - expected(prompt), "9": expected(prompt)}.get(choice, 0.0)
        return math.log(mass) if mass else -math.inf

    return logprob


def value_in(prompt: str) -> int:
    return int(prompt.partition("The answer is ")[2].partition(".")[0])


def yes(probability: Callable[[str], float], mass: float = 1.0) -> Callable[[str, str], float]:
    def logprob(prompt: str, choice: str) -> float:
        p = probability(prompt)
        return math.log(mass * (p if choice == YES else 1 - p))

    return logprob


# ------------------------------------------------------------------------------------- rankers


def grade(use_critiques: bool | None = None) -> ExpectedGrade:
    return ExpectedGrade(make_prompt("ranker.logit"), use_critiques)


async def test_candidates_are_ordered_by_their_expected_grade() -> None:
    context = FakeContext(scores=graded(lambda prompt: value_in(prompt) / 4))
    out = await Ranker("best", grade(), 3).run(context, CANDIDATES)
    assert summary(out) == [(3, 0.75), (2, 0.5), (1, 0.25)]
    assert summary(context.dropped) == [(0, 0.0)]
    assert len(context.asked) == 4
    assert all("[2]" not in messages[-1].content for messages in context.asked)


async def test_the_expectation_is_over_the_grades_alone() -> None:
    mass = {"1": 0.02, "5": 0.06, "9": 0.02}  # the rest is on other words
    context = FakeContext(scores=lambda prompt, choice: math.log(mass.get(choice, 1e-30)))
    assert summary(await Ranker("best", grade(), None).run(context, CANDIDATES[:1])) == [(0, 0.5)]


async def test_grades_without_any_probability_score_one_half() -> None:
    context = FakeContext(scores=lambda prompt, choice: -math.inf)
    out = await Ranker("best", grade(), None).run(context, CANDIDATES[:2])
    assert summary(out) == [(0, 0.5), (1, 0.5)]


async def test_ties_keep_the_order_and_200_candidates_take_200_calls() -> None:
    context = FakeContext(scores=lambda prompt, choice: math.log(1 / len(GRADES)))
    many = [make_candidate(i, "5") for i in range(200)]
    out = await Ranker("best", grade(), None).run(context, many)
    assert [c.id.draw for c in out] == list(range(200))
    assert {c.score for c in out} == {0.5}
    assert len(context.asked) == 200


async def test_a_grade_may_use_critiques() -> None:
    noted = CANDIDATES[0].annotated(Annotation("notes", "critique", "a slip"))
    for use_critiques in (None, False):
        context = FakeContext(scores=lambda prompt, choice: -1.0)
        await Ranker("best", grade(use_critiques), None).run(context, [noted])
        assert ("a slip" in context.asked[0][-1].content) is (use_critiques is None)


async def test_likelihood_scores_the_text_as_a_reply_by_its_mean_logprob() -> None:
    def logprob(prompt: str, text: str) -> float:
        return -0.5 * len(text.split()) if "2" in text else -2.0 * len(text.split())

    scorer = Likelihood(make_prompt("ranker.likelihood", template="bare"))
    context = FakeContext(scores=logprob)
    out = await Ranker("best", scorer, 2).run(context, CANDIDATES)
    assert summary(out) == [(2, round(math.exp(-0.5), 6)), (0, round(math.exp(-2), 6))]
    assert {messages[-1].content for messages in context.asked} == {"What is 2 + 3?"}


async def test_empty_and_too_long_texts_have_no_likelihood() -> None:
    def logprob(prompt: str, text: str) -> float:
        raise AssertionError("nothing is asked")

    candidates = [
        Candidate(CANDIDATES[0].id, "", None),
        make_candidate(1, "5", text="x" * 100_000),
    ]
    scorer = Likelihood(make_prompt("ranker.likelihood"))
    out = await Ranker("best", scorer, None).run(FakeContext(scores=logprob), candidates)
    assert [(c.id.draw, c.score) for c in out] == [(1, 0.0), (0, 0.0)]


async def test_own_likelihood_makes_no_call() -> None:
    logprobs = (-0.5, None, -0.1)
    candidates = [
        Candidate(c.id, c.text, c.value, mean_logprob=p)
        for c, p in zip(CANDIDATES, logprobs, strict=False)
    ]
    context = FakeContext()
    out = await Ranker("best", OwnLikelihood(), None).run(context, candidates)
    assert summary(out) == [(2, round(math.exp(-0.1), 6)), (0, round(math.exp(-0.5), 6)), (1, 0.0)]
    assert context.asked == []


async def test_all_candidates_are_rewarded_in_one_call() -> None:
    context = FakeContext(rewards=lambda text: float(value_in(text) % 3) - 1)
    scorer = Reward(make_prompt("ranker.reward"))
    out = await Ranker("best", scorer, None).run(context, CANDIDATES)
    assert summary(out) == [(2, 1.0), (1, 0.0), (0, -1.0), (3, -1.0)]
    assert [messages[-1].content for messages in context.asked] == ["What is 2 + 3?"]


async def test_a_reward_model_reads_long_candidates_in_full() -> None:
    text = "step 1. " * 3000 + "half a pair: \ud83e."
    given: list[str] = []

    def reward(text: str) -> float:
        given.append(text)
        return 1.0

    scorer = Reward(make_prompt("ranker.reward"))
    await scorer(FakeContext(rewards=reward), [make_candidate(0, text=text)])
    assert given == [text.replace("\ud83e", "?")]


SCORERS: list[Scorer] = [
    grade(),
    ProbabilityOfYes(make_prompt("verifier.logit")),
    Likelihood(make_prompt("ranker.likelihood")),
    OwnLikelihood(),
    Reward(make_prompt("ranker.reward")),
]


@pytest.mark.parametrize("scorer", SCORERS)
async def test_without_candidates_no_call_is_made(scorer: Scorer) -> None:
    context = FakeContext()
    assert await Ranker("best", scorer, None).run(context, []) == []
    assert (
        await Verifier("check", partial(judge_by_score, scorer, 0.5), None).run(context, []) == []
    )
    assert context.asked == []


async def test_a_missing_choice_logprob_is_an_error() -> None:
    context = FakeContext(scores=lambda prompt, choice: math.nan)
    with pytest.raises(LMError, match="log-probability for each choice"):
        await Ranker("best", grade(), None).run(context, CANDIDATES)


# ----------------------------------------------------------------------------------- verifiers


def check(threshold: float = 0.5, keep_first: int | None = None) -> Verifier:
    scorer = ProbabilityOfYes(make_prompt("verifier.logit"))
    return Verifier("check", partial(judge_by_score, scorer, threshold), keep_first)


def verdicts(out: Sequence[Candidate]) -> list[object]:
    found = [c.latest("verdict") for c in out]
    return [annotation and annotation.value for annotation in found]


async def test_a_probably_correct_candidate_passes_with_its_probability_as_the_score() -> None:
    context = FakeContext(scores=yes(lambda prompt: (value_in(prompt) + 1) / 5))
    out = await check().run(context, CANDIDATES)
    assert summary(out) == [(2, 0.6), (3, 0.8)]
    assert verdicts(out) == ["pass", "pass"]
    assert summary(context.dropped) == [(0, 0.2), (1, 0.4)]
    assert verdicts(context.dropped) == ["fail", "fail"]


async def test_a_score_at_the_threshold_passes_and_keep_first_limits_the_passes() -> None:
    context = FakeContext(scores=yes(lambda prompt: 0.5))
    assert summary(await check(0.5, keep_first=1).run(context, CANDIDATES)) == [(0, 0.5)]
    assert verdicts(context.dropped) == ["pass"] * 3


async def test_if_all_fail_all_are_kept_and_marked() -> None:
    context = FakeContext(scores=yes(lambda prompt: 0.4))
    out = await check(0.9).run(context, CANDIDATES)
    assert len(out) == 4
    assert all(c.latest("mark") is not None for c in out)
    assert context.dropped == []


async def test_too_little_mass_on_yes_and_no_abstains() -> None:
    def logprob(prompt: str, choice: str) -> float:
        mass = MIN_MASS / 2 if value_in(prompt) == 1 else 1.0
        return yes(lambda prompt: 0.9 if value_in(prompt) == 1 else 0.1, mass)(prompt, choice)

    out = await check().run(FakeContext(scores=logprob), CANDIDATES)
    assert summary(out) == [(1, 0.9)]
    assert verdicts(out) == ["abstain"]


async def test_a_reward_at_the_threshold_passes() -> None:
    context = FakeContext(rewards=lambda text: float(value_in(text)) - 1)
    verifier = Verifier(
        "check", partial(judge_by_score, Reward(make_prompt("verifier.reward")), 0.0), None
    )
    assert summary(await verifier.run(context, CANDIDATES)) == [(1, 0.0), (2, 1.0), (3, 2.0)]


def test_shares_of_tiny_probabilities_are_exact() -> None:
    assert share(-1000.0, -1000.0) == share(-math.inf, -math.inf) == 0.5
    assert share(0.0, -math.inf) == 1.0
    assert share(-math.inf, 0.0) == pytest.approx(0.0)
    assert share(-1000.0, -1001.0) == pytest.approx(1 / (1 + math.exp(-1)))
    assert YES != NO
