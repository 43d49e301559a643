"""Several scorers, metrics and groups: records, reports, and the commands that show them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eval_doubles import NUMBER_EXACT, SELECTION, FakeArchitecture, echo, make_items, make_record

import archon
from archon.errors import UsageError
from archon.evals.folder import RunFolder
from archon.evals.groups import difference_p_value, group_results
from archon.evals.records import Record
from archon.evals.report import Tally
from archon.evals.run import read_run
from archon.evals.runner import Evaluation, evaluate
from archon.evals.scorers import Score, custom_scorer, find_scorers
from archon.evals.scorers.choice import shuffled
from archon.evals.statistics import mean_interval, score_interval
from archon.types import Question


def grouped(shares: dict[str, Sequence[float]]) -> list[Any]:
    groups = {f"{name}-{n}": name for name, means in shares.items() for n in range(len(means))}
    means = {f"{name}-{n}": mean for name, all_ in shares.items() for n, mean in enumerate(all_)}
    return group_results(groups, means, dict.fromkeys(means, 1))


def test_each_group_has_its_accuracy_and_its_difference_from_the_rest() -> None:
    algebra, geometry = grouped({"algebra": [1, 1, 0, 1], "geometry": [0, 0, 1, 0]})
    assert (algebra.name, algebra.num_items, algebra.accuracy) == ("algebra", 4, 0.75)
    assert algebra.accuracy_interval == mean_interval([1, 1, 0, 1], 4)
    assert (algebra.difference, geometry.difference) == (0.5, -0.5)
    assert algebra.p_value == geometry.p_value == pytest.approx(0.4857, abs=1e-4)
    assert algebra.p_value_adjusted == pytest.approx(0.9714, abs=1e-4)


def test_a_single_group_has_no_rest() -> None:
    (group,) = grouped({"all": [1, 0]})
    assert (group.difference, group.p_value, group.p_value_adjusted) == (None, None, None)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [((3, 8), (9, 10)), ((0, 5), (5, 5)), ((7, 7), (1, 20)), ((2, 4), (2, 4))],
)
def test_the_test_of_right_and_wrong_items_is_fishers(
    inside: tuple[int, int], outside: tuple[int, int]
) -> None:
    stats = pytest.importorskip("scipy.stats")
    sets = [[1] * right + [0] * (size - right) for right, size in (inside, outside)]
    table = [[right, size - right] for right, size in (inside, outside)]
    assert difference_p_value(*sets) == pytest.approx(stats.fisher_exact(table).pvalue)


@pytest.mark.parametrize("size", [12, 120])
def test_partial_scores_without_a_difference_are_rarely_significant(size: int) -> None:
    chance = random.Random(size)
    sets = [[[chance.random() for _ in range(size)] for _ in range(2)] for _ in range(100)]
    p_values = [difference_p_value(*pair) for pair in sets]
    assert 0 < sum(p < 0.1 for p in p_values) < 25
    assert difference_p_value([chance.random() / 2 for _ in range(size)], [1.0, 0.9] * size) < 0.01


def test_metrics_have_means_and_intervals() -> None:
    def record(item: str, f1: float, length: float) -> Record:
        return replace(make_record(item, 1), other_scores={"f1": f1}, metrics={"length": length})

    records = [record("a", 0.5, 10), record("b", 1, 20), make_record("c", 0, error="lost")]
    metrics = Tally.of(records).results(1.0)["metrics"]
    assert metrics["f1"].mean == pytest.approx(0.5)  # the failure counts as 0
    assert metrics["f1"].interval == score_interval([0.5, 1.0, 0.0])
    assert (metrics["length"].mean, metrics["length"].num_items) == (15, 2)
    low, high = metrics["length"].interval
    assert (low + high) / 2 == pytest.approx(15)
    assert high > 20  # Student's interval of two values is wide


def test_a_weighted_metric_is_a_ratio_of_totals() -> None:
    def record(item: str, share: float, weight: float) -> Record:
        metrics, weights = {"share": share}, {"share": weight}
        return replace(make_record(item, 1), metrics=metrics, metric_weights=weights)

    records = [record("a", 1.0, 1), record("b", 0.5, 2), record("c", 0.0, 1), record("d", 1.0, 4)]
    metric = Tally.of(records).results(1.0)["metrics"]["share"]
    assert (metric.mean, metric.num_items) == (pytest.approx(6 / 8), 4)
    low, high = metric.interval
    assert 0 <= low < 6 / 8 < high <= 1
    equal = [record(item, 1.0, weight) for weight, item in enumerate("abc", 1)]
    assert Tally.of(equal).results(1.0)["metrics"]["share"].interval is None
    assert Record.from_json(records[1].to_json()) == records[1]


def rows_of(count: int) -> list[Any]:
    return [
        replace(item, metadata={"subject": "odd" if n % 2 else "even", "level": n})
        for n, item in enumerate(make_items(count))
    ]


async def run(folder: Path, **options: Any) -> Any:
    def reply(question: Question, run: int) -> str:
        return question.text if "3" not in question.text else "The answer is 99."

    evaluation = Evaluation(FakeArchitecture(reply), rows_of(6), NUMBER_EXACT, SELECTION, **options)
    return await evaluate(evaluation, RunFolder.resume(folder))


async def test_a_run_has_the_scores_of_all_scorers(tmp_path: Path) -> None:
    def half(text: str, target: str, row: dict[str, Any]) -> Score:
        if row["level"] == 5:
            raise ValueError("no level 5")
        return Score(0.5, explanation="half", metrics={"level": row["level"]})

    close = find_scorers(SELECTION.card, given=["number-close:0.5", custom_scorer(half, "number")])
    scorers = find_scorers(SELECTION.card, given=["number-close:0.5", half])
    assert [scorer.label for scorer in scorers] == [scorer.label for scorer in close]
    report = await run(tmp_path, other_scorers=scorers)
    own = scorers[1].label
    assert report.accuracy == pytest.approx(5 / 6)
    assert report.metrics["number-close:0.5"].mean == pytest.approx(5 / 6)
    assert (report.metrics[own].mean, report.metrics[own].num_items) == (0.5, 5)
    assert report.metrics[f"{own}: level"].mean == 2
    assert any(f"{own} could not score 1 of 6 answers" in warning for warning in report.warnings)
    stored = {record.item: record for record in read_run(tmp_path).records()}
    assert stored["item-1"].explanations[own] == "half"
    assert "no level 5" in stored["item-5"].scorer_errors[own]
    assert stored["item-1"].metadata == {"subject": "odd", "level": 1}
    assert json.loads((tmp_path / "report.json").read_text())["metrics"][own]["mean"] == 0.5


async def test_groups_are_those_of_a_column(tmp_path: Path) -> None:
    report = await run(tmp_path, by=["subject"])
    even, odd = report.groups["subject"]
    assert (even.name, even.accuracy, odd.name) == ("even", 1, "odd")
    assert odd.accuracy == pytest.approx(2 / 3)
    assert read_run(tmp_path).report().groups == report.groups
    assert len(read_run(tmp_path).report(["level"]).groups["level"]) == 6


def test_an_unknown_column_is_an_error_that_lists_the_columns() -> None:
    with pytest.raises(
        UsageError, match=r"no column 'subjct'.* 'subject'\?; columns: subject, level"
    ):
        Evaluation(FakeArchitecture(echo), rows_of(2), NUMBER_EXACT, SELECTION, by=["subjct"])


def test_options_are_shuffled_by_item_unless_they_refer_to_each_other() -> None:
    options = ("Rome", "Paris", "Oslo", "Bern")
    orders = {shuffled(options, f"item-{n}") for n in range(50)}
    assert len(orders) > 10
    assert all(sorted(order) == sorted(options) for order in orders)
    for last in ("All of the above", "Both A and B", "A and C", "None of the options below"):
        assert shuffled((*options[:3], last), "item-1") == (*options[:3], last)


def test_a_question_with_options_is_answered_scored_and_stored(tmp_path: Path) -> None:
    from archon.lm.scripted.lm import ScriptedLM

    rows = [
        {"question": f"Question {n}?", "choices": ["yes", "no", "maybe"], "answer": "B"}
        for n in range(10)
    ]
    prompts = []

    def reply(request: Any, draw: int) -> str:
        prompts.append(request.messages[-1].content)
        letter = next(c for c in "ABC" if f"{c}) no" in prompts[-1] or f"{c}. no" in prompts[-1])
        return f"The answer is ({letter})."

    benchmark = archon.PythonBenchmark(
        rows, "options", answer="choice", fields={"choices": "choices"}, score="choice"
    )
    architecture = archon.load("single", models={"solver": ScriptedLM(reply)})
    report = archon.evaluate(architecture, benchmark, output=tmp_path / "run", cache=False)
    assert (report.accuracy, report.scorer) == (1, "choice")
    records = read_run(tmp_path / "run").records()
    assert {record.value for record in records} == {record.target for record in records} == {"no"}
    assert {tuple(sorted(record.choices)) for record in records} == {("maybe", "no", "yes")}
