"""Choices of rows, and how data sets name the right one."""

from __future__ import annotations

from typing import Any

import pytest

from archon import PythonBenchmark, api
from archon.errors import SpecError

FOUR = ["red", "green", "blue", "grey"]


def items(answers: list[Any], choices: Any = FOUR, **options: Any) -> api.Benchmark:
    data = [
        {"question": f"{n}?", "choices": choices, "answer": answer}
        for n, answer in enumerate(answers)
    ]
    return api.benchmark(data, split="all", **options)


def letters(found: api.Benchmark) -> str:
    return " ".join("".join(item.targets) for item in found.items)


@pytest.mark.parametrize(
    ("answers", "choices", "how", "targets"),
    [
        (["A", "d"], FOUR, "letter", "A D"),
        (["(B)", "c."], FOUR, "letter", "B C"),
        ([0, 3], FOUR, "index", "A D"),
        (["0", "3.0"], FOUR, "index", "A D"),
        ([1, 2], FOUR, "index", "B C"),
        ([1, 4], FOUR, "number", "A D"),
        (["Green", "red"], FOUR, "text", "B A"),
        ([[0, 1, 0, 1], [1, 0, 0, 0]], FOUR, "flags", "BD A"),
        ([["A", "C"], ["B"]], FOUR, "letter", "AC B"),
        (["2", "4"], {"text": FOUR, "label": ["1", "2", "3", "4"]}, "letter", "B D"),
        (["B", "D"], dict(zip("ABCD", FOUR, strict=True)), "letter", "B D"),
        (["B", "D"], [{"label": x, "text": y} for x, y in zip("ABCD", FOUR, strict=True)],
         "letter", "B D"),
        (["B", "D"], [f"{x}) {y}" for x, y in zip("ABCD", FOUR, strict=True)], "letter", "B D"),
        (["B", "D"], str(FOUR), "letter", "B D"),
        (["2", "4"], ["4", "8", "2", "1"], "text", "C A"),
        (["10", "30"], ["10", "20", "30"], "text", "A C"),
    ],
)  # fmt: skip
def test_the_way_of_naming_is_decided_from_all_rows(
    answers: list[Any], choices: Any, how: str, targets: str
) -> None:
    found = items(answers, choices)
    assert (found.selection.card.fields.answer_as, letters(found)) == (how, targets)
    assert found.selection.card.answer == "choice"
    assert {len(item.choices) for item in found.items} <= {3, 4}
    assert not any(text.startswith("A)") for item in found.items for text in item.choices)


@pytest.mark.parametrize(
    ("answers", "choices", "message"),
    [
        (["pink"], FOUR, "the answer 'pink' is neither the letter"),
        (["A", None], FOUR, "row 2: the 'answer' field is empty"),
        (["A", 7], FOUR, "row 2: the answer 7 is neither"),
        (["A"], ["one"], "must be a list of 2 to 26 texts, not a list of 1"),
        (["A"], ["one", " "], "a choice is empty"),
        ([1, 2], ["2", "1", "3"], "could be .*write a benchmark card with 'answer_as'"),
        (["A", "B"], ["B", "A"], "could be the text or the letter"),
    ],
)
def test_answers_that_name_no_choice_or_several_are_errors(
    answers: list[Any], choices: Any, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        items(answers, choices)


@pytest.mark.parametrize(
    "names",
    [list("ABC"), list("abc"), ["option_1", "option_2", "option_3"], ["opa", "opb", "opc"],
     ["choice0", "choice1", "choice2"], ["Option A", "Option B", "Option C"]],
)  # fmt: skip
def test_columns_of_choices_are_recognized(names: list[str]) -> None:
    row = dict(zip(names, FOUR, strict=False))
    found = api.benchmark([{"question": "?", "answer": "green"} | row], split="all")
    assert found.selection.card.fields.choices == names
    assert found.items[0].choices == tuple(FOUR[:3])
    assert found.items[0].metadata == {}
    chosen = api.benchmark(
        [{"question": "?", "answer": "green"} | row], split="all", choices=", ".join(names)
    )
    assert chosen.items == found.items


def test_missing_last_choices_are_left_out_and_a_kind_can_refuse_choices() -> None:
    row = {"question": "?", "answer": "B", "A": "x", "B": "y", "C": None}
    assert api.benchmark([row], split="all").items[0].choices == ("x", "y")
    found = api.benchmark([row], split="all", answer="text").items[0]
    assert (found.choices, found.target) == ((), "b")


def test_a_card_says_how_answers_are_meant() -> None:
    rows = [{"question": "?", "choices": ["2", "1", "3"], "answer": 1}]
    for how, letter in (("index", "B"), ("number", "A"), ("text", "B")):
        benchmark = PythonBenchmark(
            rows,
            "b",
            answer="choice",
            score="choice",
            fields={"choices": "choices", "answer_as": how},
        )
        assert api.benchmark(benchmark, split="all").items[0].target == letter
