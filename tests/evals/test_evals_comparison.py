"""Comparisons of runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from eval_doubles import make_record

from archon.errors import UsageError
from archon.evals.comparison import compare
from archon.evals.records import Record
from archon.evals.statistics import paired_interval

pytest.importorskip("scipy")


def records(scores: str, first: int = 0) -> list[Record]:
    """Records of items in a row: ``1`` right, ``0`` wrong, ``x`` failed."""
    return [
        make_record(f"item-{n}", int(score == "1"), error="LMError: no" if score == "x" else None)
        for n, score in enumerate(scores, start=first)
    ]


def comparison(*runs: tuple[str, list[Record]]) -> dict[str, Any]:
    return compare([{"architecture": name} for name, _ in runs], [run for _, run in runs])


def test_runs_are_compared_on_the_same_items() -> None:
    result = comparison(("vote", records("1111101111")), ("single", records("1001101x01")))
    assert [row["architecture"] for row in result["rows"]] == ["vote", "single"]
    (pair,) = result["pairs"]
    assert (pair["a"], pair["b"], pair["num_items"]) == ("vote", "single", 10)
    assert pair["difference"] == pytest.approx(0.9 - 0.5)
    assert pair["p_value"] == pytest.approx(2 / 16)
    assert pair["interval"] == paired_interval([1.0] * 4 + [0.0] * 6)


def test_the_order_in_which_items_finished_does_not_matter() -> None:
    a, b = records("110010"), records("011010")
    assert comparison(("a", a), ("b", b)) == comparison(("a", a[::-1]), ("b", b))


def test_only_items_of_both_runs_count() -> None:
    (pair,) = comparison(("a", records("0011")), ("b", records("1100", first=2)))["pairs"]
    assert (pair["num_items"], pair["difference"]) == (2, 0)


def test_runs_without_a_common_item_are_refused() -> None:
    with pytest.raises(UsageError, match="no item in common"):
        comparison(("a", records("01")), ("b", records("01", first=2)))


def test_every_pair_of_runs_is_compared_and_equal_names_are_numbered() -> None:
    runs = [("a", records("01")), ("b", records("11")), ("a", records("10"))]
    pairs = comparison(*runs)["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [
        ("a", "b"),
        ("a", "a (2)"),
        ("b", "a (2)"),
    ]
    assert [row["name"] for row in comparison(*runs)["rows"]] == ["a", "b", "a (2)"]


def test_p_values_are_adjusted_for_all_pairs() -> None:
    runs = [("a", records("1" * 20)), ("b", records("0" * 9 + "1" * 11)), ("c", records("0" * 20))]
    pairs = comparison(*runs)["pairs"]
    expected = [2 / 2**9, 3 * 2 / 2**20, 2 * 2 / 2**11]
    assert [pair["p_value_adjusted"] for pair in pairs] == pytest.approx(expected)


def test_epochs_of_an_item_are_one_item() -> None:
    def run(*means: float) -> list[Record]:
        return [
            make_record(f"item-{n}", int(epoch < 4 * mean), epoch)
            for n, mean in enumerate(means)
            for epoch in range(4)
        ]

    (pair,) = comparison(("a", run(1, 0.5, 0.75)), ("b", run(0.5, 0.5, 0)))["pairs"]
    assert (pair["num_items"], pair["difference"]) == (3, pytest.approx(1.25 / 3))
    assert pair["interval"] == paired_interval([0.5, 0, 0.75])
    assert pair["p_value"] == 0.5


def priced(scores: str, cost: int, seconds: float) -> list[Record]:
    return [replace(record, cost_tokens=cost, seconds=seconds) for record in records(scores)]


def test_fronts_have_the_runs_that_no_other_dominates() -> None:
    rows = comparison(
        ("cheap", priced("1000", 10, 4.0)),
        ("good", priced("1110", 90, 2.0)),
        ("dear", priced("1110", 99, 1.0)),
        ("twin", priced("0111", 90, 2.0)),
        ("failed", records("xxxx")),
    )["rows"]
    assert [row["seconds"] for row in rows] == [4, 2, 1, 2, None]
    assert [row["on_cost_front"] for row in rows] == [True, True, False, True, False]
    assert [row["on_seconds_front"] for row in rows] == [False, False, True, False, False]


def test_a_warning_names_pairs_that_need_more_items() -> None:
    result = comparison(
        ("a", records("1" * 40)), ("b", records("1" * 38 + "00")), ("c", records("0" * 40))
    )
    (warning,) = result["warnings"]
    assert warning.startswith("a and b: 40 items do not show which is better")
    assert result["pairs"][0]["items_needed"] > 40
    assert 0.05 < result["pairs"][0]["detectable_difference"] < 0.3


def test_results_are_plain_data() -> None:
    result = comparison(("a", records("01")), ("b", records("11")))
    assert json.loads(json.dumps(result, allow_nan=False))["pairs"][0]["a"] == "a"
