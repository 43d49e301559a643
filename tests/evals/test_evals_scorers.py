"""Scorers: right or wrong, nothing between."""

from __future__ import annotations

from typing import Any

import pytest

from archon.errors import SpecError
from archon.evals.scorers import KINDS, SCORERS, find_scorer, number_exact, text_exact
from archon.spec.benchmark import BenchmarkCard


def card(**fields: Any) -> BenchmarkCard:
    return BenchmarkCard.model_validate(
        {"version": 1, "name": "t", "source": {"jsonl": "t"}, **fields}
    )


@pytest.mark.parametrize("name", SCORERS)
class TestEveryScorer:
    """What any scorer must do."""

    def test_an_equal_value_is_right(self, name: str) -> None:
        score = SCORERS[name]("12", "", "12")
        assert (score.value, score.answer) == (1, "12")

    def test_another_value_is_wrong_and_the_explanation_shows_both(self, name: str) -> None:
        score = SCORERS[name]("13", "", "12")
        assert (score.value, score.answer) == (0, "13")
        assert "13" in score.explanation
        assert "12" in score.explanation

    def test_the_value_stands_over_the_text(self, name: str) -> None:
        assert SCORERS[name]("13", "The answer is 12.", "12").value == 0

    def test_without_a_value_the_text_is_read(self, name: str) -> None:
        assert SCORERS[name](None, "The answer is 12.", "12").value == 1

    def test_no_answer_is_wrong(self, name: str) -> None:
        score = SCORERS[name](None, "", "12")
        assert (score.value, score.answer) == (0, None)

    def test_it_is_found_by_its_name_for_its_kind_of_answer(self, name: str) -> None:
        assert find_scorer(card(score=name, answer=KINDS[name])) is SCORERS[name]


@pytest.mark.parametrize(
    ("text", "target", "value"),
    [("-4", "-4", 1), ("4", "-4", 0), ("1/3", "0.3333", 0), ("0.50", "0.5", 1), ("180", "18", 0)],
)
def test_numbers_are_right_only_if_exact(text: str, target: str, value: int) -> None:
    assert number_exact(None, text, target).value == value


def test_texts_are_compared_in_their_normal_form() -> None:
    assert text_exact(None, "The answer is **Paris**.", "paris").value == 1


def test_an_unknown_scorer_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"did you mean 'number-exact'") as error:
        find_scorer(card(score="number-exat"), "mine.json")
    assert (error.value.file, error.value.path) == ("mine.json", "$.score")


def test_a_scorer_of_another_kind_of_answer_is_refused() -> None:
    with pytest.raises(SpecError, match="judges a number, and the card's 'answer' is 'text'"):
        find_scorer(card(answer="text"))
