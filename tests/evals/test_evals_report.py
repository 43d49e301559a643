"""Comparisons of runs."""

from __future__ import annotations

from typing import Any

import pytest
from eval_doubles import make_record

from archon.errors import UsageError
from archon.evals.records import Record
from archon.evals.report import Tally, compare
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
    assert result["rows"] == [{"architecture": "vote"}, {"architecture": "single"}]
    (pair,) = result["pairs"]
    assert (pair["a"], pair["b"], pair["num_items"]) == ("vote", "single", 10)
    assert pair["difference"] == pytest.approx(0.9 - 0.5)
    assert pair["p_value"] == pytest.approx(2 / 16)
    a, b = (
        [float(record.score) for record in run]
        for run in (records("1111101111"), records("1001101x01"))
    )
    assert pair["interval"] == paired_interval(a, b, 10, 10)


def test_the_order_in_which_items_finished_does_not_matter() -> None:
    a, b = records("110010"), records("011010")
    assert comparison(("a", a), ("b", b)) == comparison(("a", a[::-1]), ("b", b))


def test_only_items_of_both_runs_count() -> None:
    (pair,) = comparison(("a", records("0011")), ("b", records("1100", first=2)))["pairs"]
    assert (pair["num_items"], pair["difference"]) == (2, 0)


def test_runs_without_a_common_item_are_refused() -> None:
    with pytest.raises(UsageError, match="no item in common"):
        comparison(("a", records("01")), ("b", records("01", first=2)))


def test_every_two_of_several_runs_are_paired_and_equal_names_numbered() -> None:
    runs = [("a", records("01")), ("b", records("11")), ("a", records("10"))]
    pairs = comparison(*runs)["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [
        ("a", "b"),
        ("a", "a (2)"),
        ("b", "a (2)"),
    ]


def test_each_item_weighs_the_same_however_often_it_was_run() -> None:
    tally = Tally.of([make_record("a", 1), make_record("a", 1, 1), make_record("b", 0)])
    results = tally.results(2.0)
    assert (results["accuracy"], results["num_items"], results["num_runs"]) == (0.5, 2, 3)
    assert results["tokens_per_second"] == 6


def test_failures_do_not_dilute_the_cost_of_an_answer() -> None:
    results = Tally.of(records("1x0x")).results(1.0)
    assert (results["cost_tokens"], results["total_cost_tokens"]) == (15, 30)
    assert (results["num_errors"], results["accuracy"]) == (2, 0.25)
