from __future__ import annotations

from dataclasses import replace

import pytest
from graph_doubles import make_candidate, make_completion

from archon.graph.candidates import from_completions, join
from archon.graph.conditions import agreement, holds, num_passed
from archon.spec.architecture import When
from archon.types import Annotation, CandidateId, FinishReason, Question

NOTE = Annotation("notes", "critique", "short")
SCORE = Annotation("best", "score", 0.5)


def test_inputs_are_joined_in_the_order_listed_each_candidate_once() -> None:
    a, b, c = (make_candidate(i, "5") for i in range(3))
    assert join([[b, a], [c, b]]) == [b, a, c]
    assert join([]) == []


def test_the_same_sample_index_of_another_node_is_another_candidate() -> None:
    a, b = make_candidate(0, "5"), make_candidate(0, "5", node="merged")
    assert join([[a], [b]]) == [a, b]


def test_annotations_are_merged_in_order_each_once() -> None:
    plain, noted = make_candidate(0, "5"), make_candidate(0, "5", NOTE)
    both = make_candidate(0, "5", NOTE, SCORE)
    scored = make_candidate(0, "5", SCORE)
    assert join([[plain], [noted], [both]])[0].annotations == (NOTE, SCORE)
    assert join([[scored], [both]])[0].annotations == (SCORE, NOTE)
    assert join([[both], [plain]])[0] is both


def test_candidates_are_identified_by_node_and_sample() -> None:
    (candidate,) = from_completions("draft", [make_completion("It is 5.", draw=7)], Question(""))
    assert (candidate.id, candidate.value) == (CandidateId("draft", 7), "5")


@pytest.mark.parametrize(("reason", "value"), [("stop", "12"), ("length", None)])
def test_a_number_that_may_have_been_truncated_is_not_a_value(
    reason: FinishReason, value: str | None
) -> None:
    completion = replace(make_completion("The answer is 12"), finish_reason=reason)
    (candidate,) = from_completions("draft", [completion], Question(""))
    assert candidate.value == value


@pytest.mark.parametrize(
    ("values", "share"),
    [(["5", "5", "4", None], 0.5), ([None, None], 0.0), ([], 0.0), (["5"], 1.0)],
)
def test_agreement_is_the_largest_share_of_one_value(
    values: list[str | None], share: float
) -> None:
    assert agreement(values) == share


async def test_agreement_below_is_strict() -> None:
    candidates = [make_candidate(i, value) for i, value in enumerate(["5", "5", "4", "3"])]
    assert not await holds(When.model_validate({"agreement_below": 0.5}), candidates, "number")
    assert await holds(When.model_validate({"agreement_below": 0.51}), candidates, "number")


async def test_the_latest_verdict_counts() -> None:
    passed, failed = Annotation("a", "verdict", "pass"), Annotation("b", "verdict", "fail")
    candidates = [
        make_candidate(0, "5", passed),
        make_candidate(1, "5", passed, failed),
        make_candidate(2, "5", failed, passed),
        make_candidate(3, "5"),
    ]
    assert num_passed(candidates) == 2
    assert await holds(When.model_validate({"num_passed": 2}), candidates, "number")
    assert not await holds(When.model_validate({"num_passed": 0}), candidates, "number")
