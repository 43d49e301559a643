"""Items: divided between splits, read from rows, and the shipped cards."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from archon.errors import SpecError, UsageError
from archon.evals.benchmarks import SPLITS, Item, load_items
from archon.evals.benchmarks.items import divide
from archon.evals.benchmarks.rows import item_from_row
from archon.evals.benchmarks.tables import Row
from archon.evals.scorers import find_scorer
from archon.graph.exemplars import load_pool
from archon.spec.benchmark import BenchmarkCard
from archon.spec.reader import load_benchmark

SHIPPED = ["arithmetic", "chain-sums", "gsm8k", "long-sums", "smoke"]


def card(**fields: Any) -> BenchmarkCard:
    data = {"version": 1, "name": "test", "source": {"jsonl": "items.jsonl"}, **fields}
    return BenchmarkCard.model_validate(data)


# ------------------------------------------------------------------------------------------ cards


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_cards_are_valid_and_name_a_scorer(name: str) -> None:
    loaded = load_benchmark(name)
    assert loaded.spec.name == name
    assert loaded.spec.description
    find_scorer(loaded.spec)


@pytest.mark.parametrize("source", [{}, {"jsonl": "a", "huggingface": {"repo": "a/b"}}])
def test_a_card_has_exactly_one_source(source: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one of"):
        card(source=source)


def test_tasks_that_our_scorers_cannot_judge_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"reasoning-gym's 'n_queens' task is not supported"):
        card(source={"reasoning_gym": {"tasks": [{"task": "n_queens"}]}})
    with pytest.raises(ValidationError, match="did you mean 'chain_sum'"):
        card(source={"reasoning_gym": {"tasks": [{"task": "chainsum"}]}})


def test_gsm8k_shows_the_eight_examples_of_its_own() -> None:
    loaded = load_benchmark("gsm8k")
    assert loaded.spec.examples == "gsm8k"
    assert len(load_pool("gsm8k", loaded.base_dir)) == 8


def test_no_file_can_name_code() -> None:
    with pytest.raises(ValidationError, match="unknown key 'python'"):
        card(source={"python": "os:getcwd"})


def test_smoke_has_dozens_of_items_with_distinct_ids() -> None:
    loaded = load_benchmark("smoke")
    items = [item for split in SPLITS for item in load_items(loaded.spec, loaded.base_dir, split)]
    assert len(items) == 48
    assert {item.id for item in items} == {f"smoke-{number:02d}" for number in range(1, 49)}
    assert len({item.question for item in items}) == 48


# ----------------------------------------------------------------------------------------- dealing


def items_asking(questions: list[str]) -> list[Item]:
    return [Item(str(number), question, "1") for number, question in enumerate(questions)]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, (0, 1, 0)), (3, (1, 1, 1)), (10, (3, 3, 4)), (100, (30, 30, 40)), (1319, (396, 395, 528))],
)
def test_items_are_divided_30_30_40(count: int, sizes: tuple[int, ...]) -> None:
    divided = divide(items_asking([f"question {number}" for number in range(count)]))
    assert tuple(len(divided[split]) for split in SPLITS) == sizes


@given(st.lists(st.sampled_from("abcdefghijkl"), max_size=40))
def test_division_keeps_all_items_and_puts_no_question_into_two_splits(
    questions: list[str],
) -> None:
    items = items_asking(questions)
    divided = divide(items)
    assert sorted(item.id for split in SPLITS for item in divided[split]) == sorted(
        item.id for item in items
    )
    for a, b in combinations(SPLITS, 2):
        assert not {i.question for i in divided[a]} & {i.question for i in divided[b]}


def test_division_has_a_fixed_shuffle() -> None:
    items = items_asking([f"question {number}" for number in range(50)])
    once, again = divide(items), divide(items)
    assert once == again
    assert [item.id for item in once["search"]] != [item.id for item in items[:15]]


def test_two_splits_alone_share_equally() -> None:
    divided = divide(items_asking([str(number) for number in range(10)]), ["search", "select"])
    assert [len(items) for items in divided.values()] == [5, 5]


# -------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("2 * 9 = 18\n#### 18", "18"),
        ("#### 1,234", "1234"),
        ("#### 5 and then #### 7", "7"),
        ("18", "18"),
        ("$0.50", "0.5"),
        (18, "18"),
        (-2.5, "-2.5"),
    ],
)
def test_the_target_is_after_the_mark_or_alone(answer: object, target: str) -> None:
    row = {"question": "What?", "answer": answer}
    assert item_from_row(Row("1", "here", row), card(answer_after="####")).target == target


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "a", "anwser": "1"}, "no 'answer' field; did you mean 'anwser'"),
        ({"question": " ", "answer": "1"}, "the 'question' field is empty"),
        (
            {"question": ["a"], "answer": "1"},
            "'question' field must be a string or a number, not a list of 1",
        ),
        (
            {"question": "a", "answer": None},
            "the 'answer' field is empty",
        ),
        (
            {"question": "a", "answer": True},
            "'answer' field must be a string or a number, not true",
        ),
        (
            {"question": "a", "answer": float("nan")},
            "the 'answer' field is empty",
        ),
        ({"question": "a", "answer": "yes"}, "no number can be read from 'yes'"),
    ],
)
def test_a_wrong_row_is_reported_with_its_location(row: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as error:
        item_from_row(Row("1", "items.jsonl:7", row), card())
    assert str(error.value).startswith("items.jsonl:7: ")


def test_an_explanation_without_the_mark_is_not_searched_for_numbers() -> None:
    row = {"question": "a", "answer": "She pays 2 times 9, which is 18."}
    with pytest.raises(SpecError, match="neither contains '####' nor is a single number"):
        item_from_row(Row("1", "here", row), card(answer_after="####"))


# ------------------------------------------------------------------------------------------ loading


def test_a_limit_takes_the_first_items_of_the_same_order() -> None:
    loaded = load_benchmark("smoke")
    every = load_items(loaded.spec, loaded.base_dir, "test")
    assert load_items(loaded.spec, loaded.base_dir, "test", limit=5) == every[:5]
    assert load_items(loaded.spec, loaded.base_dir, "test", limit=10_000) == every


def test_an_unknown_split_or_an_empty_limit_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'select'"):
        load_items(card(), Path(), "selct")
    with pytest.raises(UsageError, match="at least 1, not 0"):
        load_items(card(), Path(), limit=0)


def test_data_replaces_the_cards_source(tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    lines = [f'{{"question": "What is {n} + 1?", "answer": "#### {n + 1}"}}' for n in range(10)]
    data.write_text("\n".join(lines), encoding="utf-8")
    loaded = load_benchmark("gsm8k")
    items = load_items(loaded.spec, loaded.base_dir, "test", data_path=data)
    assert len(items) == 4
    for item in items:
        assert item.question == f"What is {int(item.target) - 1} + 1?"
        assert item.id == f"line-{item.target}"


def test_a_split_without_items_is_reported(tmp_path: Path) -> None:
    data = tmp_path / "one.jsonl"
    data.write_text('{"question": "What is 1 + 1?", "answer": 2}', encoding="utf-8")
    with pytest.raises(SpecError, match="the split 'test' has no items"):
        load_items(card(), tmp_path, "test", data_path=data)


@pytest.mark.parametrize(
    "answer",
    ["(2,3)", "3\\sqrt{2}", "x^2+1", "\\frac{\\pi}{2}", "2^{10}", "5 or 6", "A", "5x", "3-5",
     "3:45", "She has 18 left.", "1, 2, 3", "2 hours 30 minutes", "\\boxed{(2,3)}", "#### 5 or 6"],
)  # fmt: skip
@pytest.mark.parametrize("score", ["number-exact", "lm-eval-flexible-extract"])
def test_a_target_that_is_not_one_number_is_refused_with_the_scorer_to_use(
    answer: str, score: str
) -> None:
    row = {"question": "a", "answer": answer, "id": "algebra-7"}
    asked = card(score=score, fields={"id": "id"})
    with pytest.raises(SpecError, match=f"{score} needs a target that is one number") as error:
        item_from_row(Row("1", "items.jsonl:7", row), asked)
    assert str(error.value).startswith("items.jsonl:7: item 'algebra-7': no number can be read")
    assert "'text-exact'" in str(error.value)
    as_text = card(answer="text", score="text-exact", fields={"id": "id"})
    assert item_from_row(Row("1", "items.jsonl:7", row), as_text).target


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("She earns 9 * 2 = <<9*2=18>>18.\n#### 18", "18"),
        ("So the answer is $\\boxed{1{,}234}$.", "1234"),
        ("18 square feet", "18"),
        ("-\\frac{1}{2}", "-0.5"),
        ("12,34,567", "1234567"),
        (1e16, "10000000000000000"),
    ],
)
def test_a_target_may_have_a_unit_or_stand_in_a_worked_solution(
    answer: object, target: str
) -> None:
    assert (
        item_from_row(Row("1", "here", {"question": "a", "answer": answer}), card()).target
        == target
    )
