"""Partial scores count in the mean score; only a score of 1 counts in the accuracy."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from eval_doubles import SELECTION, FakeArchitecture, echo, make_items, make_record
from hypothesis import given
from hypothesis import strategies as st

import archon
from archon.errors import ScoringError
from archon.evals.comparison import compare
from archon.evals.equal_cost import against, plain_vote
from archon.evals.export import csv_lines, json_lines
from archon.evals.folder import RunFolder
from archon.evals.journal import Entry, decode, encode
from archon.evals.records import Draw, Record
from archon.evals.report import Tally
from archon.evals.run import read_run
from archon.evals.runner import Evaluation, evaluate
from archon.evals.scorers import Score, custom_scorer
from archon.evals.statistics import mean_interval, score_interval, student_quantile
from archon.study.trial_evaluation import measured

SHARES = st.one_of(st.sampled_from([0, 1, 0.5, 1.0, 0.0]), st.floats(0, 1))


def records(scores: Sequence[float]) -> list[Record]:
    return [make_record(f"item-{n}", score) for n, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("given", "value"),
    [(True, 1), (False, 0), (0.5, 0.5), (0.999999, 0.999999), (Fraction(1, 4), 0.25), (1.0, 1)],
)
def test_a_users_score_is_kept(given: Any, value: float) -> None:
    score = custom_scorer(lambda text, target: given, "number")(None, "The answer is 7.", "7")
    assert (score.value, type(score.value)) == (value, type(value))


@given(SHARES)
def test_a_score_survives_the_journal(score: float) -> None:
    record = replace(make_record("a", score), draws={"draft": (Draw("1", score),)})
    entry = decode(encode(1, 0.0, record, None))
    assert entry is not None
    assert entry.record == record
    assert entry.record.is_right == (score == 1)


@given(st.lists(SHARES, min_size=1, max_size=12))
def test_the_report_has_both_means(scores: list[float]) -> None:
    results = Tally.of(records(scores)).results(1.0)
    assert results["mean_score"] == pytest.approx(fmean(scores))
    assert results["accuracy"] == fmean(score == 1 for score in scores)
    low, high = results["mean_score_interval"]
    assert 0 <= low <= results["mean_score"] + 1e-12
    assert results["mean_score"] - 1e-12 <= high <= 1
    if set(scores) <= {0, 1}:
        assert results["mean_score_interval"] == results["accuracy_interval"]


def test_a_score_of_one_half_counts_one_half() -> None:
    results = Tally.of(records([1, 0.5, 0.5, 0])).results(1.0)
    assert (results["accuracy"], results["mean_score"]) == (0.25, 0.5)
    assert results["mean_score_interval"] != results["accuracy_interval"]


def test_epochs_of_an_item_are_one_item() -> None:
    runs = [make_record("a", 0.5), make_record("a", 1, 1), make_record("b", 0)]
    results = Tally.of(runs).results(1.0)
    assert results["mean_score"] == pytest.approx(0.375)
    assert results["mean_score_interval"] == score_interval([0.75, 0.0])


def test_the_order_of_records_changes_nothing() -> None:
    chance = random.Random(0)
    runs = [make_record(f"i{n % 7}", chance.random(), n // 7) for n in range(70)]
    shuffled = chance.sample(runs, len(runs))
    first, second = (Tally.of(some).results(1.0) for some in (runs, shuffled))
    assert first["mean_score"] == pytest.approx(second["mean_score"], abs=1e-15)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (9, 2.262), (99, 1.984)]
)
def test_students_quantiles(degrees: int, quantile: float) -> None:
    assert student_quantile(0.975, degrees) == pytest.approx(quantile, rel=0.002)


@pytest.mark.parametrize("shape", [(2, 2), (8, 1), (0.5, 0.5)])
@pytest.mark.parametrize("num_items", [5, 20, 100])
def test_the_interval_of_a_mean_score_contains_it(
    shape: tuple[float, float], num_items: int
) -> None:
    chance, (a, b) = random.Random(0), shape
    samples = [[chance.betavariate(a, b) for _ in range(num_items)] for _ in range(400)]
    intervals = [score_interval(sample) for sample in samples]
    assert sum(low <= a / (a + b) <= high for low, high in intervals) >= 0.9 * len(samples)
    width = fmean(high - low for low, high in intervals)
    assert width < fmean(
        high - low for low, high in (mean_interval(sample, num_items) for sample in samples)
    )


def test_equal_scores_do_not_imply_certainty() -> None:
    low, high = score_interval([0.5] * 10)
    assert high - low > 0.3


def test_pairs_are_compared_by_accuracy_and_by_mean_score() -> None:
    pytest.importorskip("scipy")
    a, b = records([1, 0.5, 0.5, 0.5] * 5), records([1, 0, 0, 0] * 5)
    reports = [
        {"architecture": name, **Tally.of(run).results(1.0)} for name, run in (("a", a), ("b", b))
    ]
    (pair,) = compare(reports, [a, b])["pairs"]
    assert (pair["difference"], pair["mean_score_difference"]) == (0, 0.375)
    assert pair["p_value"] == 1
    assert pair["mean_score_p_value"] < 0.01
    assert pair["mean_score_interval"][0] > 0
    (whole,) = compare(reports, [b, b])["pairs"]
    assert whole["mean_score_interval"] == whole["interval"]


def test_exports_carry_the_score() -> None:
    run = records([0.5, 1])
    entries = [Entry(1, 0.0, record, b"null") for record in run]
    assert '"score": 0.5,' in next(json_lines(entries))
    assert '"score": 1,' in list(json_lines(entries))[1]
    header, first, _ = "".join(csv_lines(run)).splitlines()
    assert first.split(",")[header.split(",").index("score")] == "0.5"


def test_choices_by_accuracy_ignore_partial_scores(tmp_path: Path) -> None:
    """Trials of a search, and votes at equal cost."""
    pytest.importorskip("scipy")
    draws = {"draft": (Draw("1", 0.5), Draw("2", 1))}
    run = [replace(record, draws=draws) for record in records([0.5, 0.5, 1])]
    nodes = {
        "draft": {"type": "generator", "inputs": []},
        "vote": {"type": "vote", "weight": "count", "when": None, "inputs": ["draft"]},
    }
    vote = plain_vote("v", {"nodes": nodes, "output": "vote"}, run)
    assert vote is not None
    assert vote.item_means(1)["item-0"] == 0.5  # one of the two is right
    row = against(vote, "other", run)
    assert row["difference"] == pytest.approx(1 / 3 - row["vote_accuracy"])


async def evaluated(scorer: Any, path: Path, count: int = 4) -> Any:
    architecture = FakeArchitecture(echo)
    evaluation = Evaluation(architecture, make_items(count), scorer, SELECTION)
    return await evaluate(evaluation, RunFolder.resume(path))


async def test_an_evaluation_reports_partial_scores(tmp_path: Path) -> None:
    scorer = custom_scorer(lambda text, target: 1 if target == "0" else 0.25, "number")
    report = await evaluated(scorer, tmp_path)
    assert (report.accuracy, report.mean_score) == (0.25, 0.4375)
    assert [record.score for record in read_run(tmp_path).records()] == [1, 0.25, 0.25, 0.25]
    results = measured(tmp_path, make_items(4)).results
    assert [result.accuracy for result in results] == [1, 0, 0, 0]


@pytest.mark.parametrize("given", [float("nan"), float("inf"), -0.1, 1.1, "0.5", None, [1]])
async def test_a_score_outside_0_to_1_is_an_error_that_names_scorer_and_item(
    tmp_path: Path, given: Any
) -> None:
    def mine(text: str, target: str) -> Any:
        return given

    report = await evaluated(custom_scorer(mine, "number"), tmp_path, 1)
    (cause,) = report.errors
    assert "item 'item-0'" in cause["cause"]
    assert "mine" in cause["cause"]
    assert "must return a number from 0 to 1" in cause["cause"]


def test_a_wrapped_scorer_has_the_same_range() -> None:
    def odd(text: str, target: str) -> Score:
        return Score(2, "1", "too much")

    with pytest.raises(ScoringError, match=r"odd must return .* not 2"):
        custom_scorer(odd, "number")(None, "", "")


def test_answers_without_a_value_are_counted(tmp_path: Path) -> None:
    from archon.lm.scripted.lm import ScriptedLM

    replies = iter(["no idea", "The answer is 5.", "none"])
    lm = ScriptedLM(lambda request, draw: next(replies))
    architecture = archon.load("single", models={"solver": lm})
    report = archon.evaluate(architecture, "smoke", limit=3, output=tmp_path / "out", cache=False)
    assert (report.num_without_value, report.num_errors, report.answer) == (2, 0, "number")


def test_a_scorer_that_exits_fails_its_item_alone() -> None:
    def leaves(text: str, target: str) -> float:
        raise SystemExit(3)

    with pytest.raises(ScoringError, match="SystemExit: 3"):
        custom_scorer(leaves, "number")("5", "5", "5")
