"""From records to a report."""

from __future__ import annotations

from dataclasses import replace

from eval_doubles import make_record

from archon.evals.records import Draw, Record
from archon.evals.report import Tally


def records(scores: str, first: int = 0) -> list[Record]:
    """Records of items in a row: ``1`` right, ``0`` wrong, ``x`` failed."""
    return [
        make_record(f"item-{n}", int(score == "1"), error="LMError: no" if score == "x" else None)
        for n, score in enumerate(scores, start=first)
    ]


def test_each_item_has_the_same_weight_for_any_number_of_runs() -> None:
    tally = Tally.of([make_record("a", 1), make_record("a", 1, 1), make_record("b", 0)])
    results = tally.results(2.0)
    assert (results["accuracy"], results["num_items"], results["num_runs"]) == (0.5, 2, 3)
    assert results["tokens_per_second"] == 6


def test_failures_do_not_dilute_the_cost_of_an_answer() -> None:
    results = Tally.of(records("1x0x")).results(1.0)
    assert (results["cost_tokens"], results["total_cost_tokens"]) == (15, 30)
    assert (results["num_errors"], results["accuracy"]) == (2, 0.25)


def test_failures_do_not_shorten_the_time_of_an_answer() -> None:
    runs = [replace(record, seconds=n) for n, record in enumerate(records("1x01"))]
    assert Tally.of(runs).results(1.0)["seconds"] == 5 / 3
    assert Tally.of(records("xx")).results(1.0)["seconds"] is None


def test_a_report_has_the_curves_of_nodes_with_several_samples() -> None:
    drawn = {"draft": (Draw("1", 1), Draw("2", 0)), "merged": (Draw("1", 1),)}
    results = Tally.of([replace(make_record("a", 1), draws=drawn)]).results(1.0)
    (draft,) = results["curves"].values()
    assert [(point["k"], point["pass"], point["vote"]) for point in draft] == [
        (1, 0.5, 0.5),
        (2, 1.0, 1.0),
    ]


def test_a_report_warns_where_the_interval_is_wide() -> None:
    (warning,) = Tally.of(records("1100")).results(1.0)["warnings"]
    assert warning.startswith("with 4 items the accuracy is uncertain by ±")
    assert Tally.of(records("10" * 60)).results(1.0)["warnings"] == []


def test_an_evaluation_of_nothing_has_a_report() -> None:
    results = Tally().results(0.0)
    assert (results["accuracy"], results["seconds"]) == (None, None)
    assert (results["curves"], results["warnings"]) == ({}, [])


def test_answers_that_the_budget_cut_short_are_counted() -> None:
    records = [make_record("a", 1), replace(make_record("b", 1), limited_by="calls")]
    assert Tally.of(records).results(1.0)["num_limited"] == 1
    assert Record.from_json(records[1].to_json()) == records[1]
    old = records[0].to_json()
    del old["limited_by"]  # written before there was such a field
    assert Record.from_json(old) == records[0]


def test_failed_samples_are_counted_with_a_warning() -> None:
    records = [
        make_record("a", 1),
        replace(make_record("b", 1), samples=80, failed_samples=1),
        replace(make_record("c", 1), samples=80, failed_samples=2),
    ]
    results = Tally.of(records).results(1.0)
    assert results["num_failed_samples"] == 3
    assert results["warnings"][-1] == (
        "3 of 160 samples failed; the answers are based on the other samples"
    )
    assert Record.from_json(records[1].to_json()) == records[1]
    old = records[0].to_json()
    del old["samples"], old["failed_samples"]  # written before there were such fields
    assert Record.from_json(old) == records[0]
