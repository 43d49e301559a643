"""Scorers: values, normal forms, and the errors of wrong names and of custom functions."""

from __future__ import annotations

from typing import Any

import pytest

from archon.errors import ScoringError, SpecError, UsageError
from archon.evals.scorers import custom_scorer, find_scorer, plain_scorer
from archon.spec.benchmark import BenchmarkCard


def card(**fields: Any) -> BenchmarkCard:
    return BenchmarkCard.model_validate(
        {"version": 1, "name": "t", "source": {"jsonl": "t"}, **fields}
    )


@pytest.mark.parametrize("name", ["number-exact", "text-exact"])
class TestScorersOfValues:
    """The scorers that judge the value of an architecture."""

    def test_an_equal_value_is_right(self, name: str) -> None:
        score = plain_scorer(name)("12", "", "12")
        assert (score.value, score.answer) == (1, "12")

    def test_another_value_is_wrong_and_the_explanation_shows_both(self, name: str) -> None:
        score = plain_scorer(name)("13", "", "12")
        assert (score.value, score.answer) == (0, "13")
        assert "13" in score.explanation
        assert "12" in score.explanation

    def test_the_value_has_precedence_over_the_text(self, name: str) -> None:
        assert plain_scorer(name)("13", "The answer is 12.", "12").value == 0

    def test_without_a_value_the_text_is_read(self, name: str) -> None:
        assert plain_scorer(name)(None, "The answer is 12.", "12").value == 1


@pytest.mark.parametrize(
    ("text", "target", "value"),
    [("-4", "-4", 1), ("4", "-4", 0), ("1/3", "0.3333", 0), ("0.50", "0.5", 1), ("180", "18", 0)],
)
def test_numbers_are_right_only_if_exact(text: str, target: str, value: int) -> None:
    assert plain_scorer("number-exact")(None, text, target).value == value


def test_texts_are_compared_in_their_normal_form() -> None:
    assert plain_scorer("text-exact")(None, "The answer is **Paris**.", "paris").value == 1


def test_an_unknown_scorer_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"did you mean 'number-exact'") as error:
        find_scorer(card(score="number-exat"), "mine.json")
    assert (error.value.file, error.value.path) == ("mine.json", "$.score")


def test_a_scorer_of_another_kind_of_answer_is_refused() -> None:
    with pytest.raises(SpecError, match="judges a number, but the card's 'answer' is 'text'"):
        find_scorer(card(answer="text", score="number-exact"))


def test_a_wrong_scorer_of_the_user_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="did you mean 'lm-eval-strict-match'"):
        find_scorer(card(), name="lm-eval-strict")
    with pytest.raises(UsageError, match="text-exact judges a text"):
        find_scorer(card(), name="text-exact")


# ---------------------------------------------------------------------------------- a user's own


@pytest.mark.parametrize(
    ("given", "value"),
    [(True, 1), (1, 1), (1.0, 1), (False, 0), (0, 0)],
)
def test_a_score_of_0_or_1_is_an_integer(given: float, value: int) -> None:
    score = custom_scorer(lambda text, target: given, "number")(None, "The answer is 7.", "7 ")
    assert (score.value, score.answer) == (value, "7")
    assert type(score.value) is int


def test_a_custom_scorer_gets_the_text_and_the_target() -> None:
    seen = []

    def judge(text: str, target: str) -> bool:
        seen.append((text, target))
        return True

    assert custom_scorer(judge, "text")("value", "the Text", "Target").answer == "value"
    assert seen == [("the Text", "Target")]


@pytest.mark.parametrize("given", [None, "1", 2, -1, float("nan"), float("inf"), [1]])
def test_a_score_that_is_not_a_number_from_0_to_1_is_an_error(given: Any) -> None:
    def judge(text: str, target: str) -> Any:
        return given

    with pytest.raises(
        ScoringError, match=r"test_evals_scorers\.py:.*judge must return .*from 0 to 1"
    ):
        custom_scorer(judge, "number")(None, "", "")


def test_a_scorer_that_fails_is_named_by_file_and_line(capsys: pytest.CaptureFixture[str]) -> None:
    def judge(text: str, target: str) -> float:
        print("judging")
        return 1 / int(target)

    with pytest.raises(ScoringError, match=r"test_evals_scorers\.py:\d+: ZeroDivisionError: div"):
        custom_scorer(judge, "number")(None, "", "0")
    assert capsys.readouterr() == ("", "judging\n")
