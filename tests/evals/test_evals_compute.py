"""Compute and energy in records, reports and comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from eval_doubles import make_record

import archon
from archon.api import benchmark
from archon.evals.comparison import compare
from archon.evals.compute import compute_lines, compute_text
from archon.evals.energy import EnergyMeter
from archon.evals.equal_cost import equal_cost
from archon.evals.folder import RunFolder
from archon.evals.journal import decode, encode
from archon.evals.records import Draw, Record
from archon.evals.report import Tally
from archon.evals.run import read_run
from archon.evals.runner import Evaluation, evaluate
from archon.evals.single_calls import single_call_text, single_calls
from archon.lm.compute import ModelUsage
from archon.types import Usage

pytest.importorskip("scipy")

ITEMS = [f"item-{n}" for n in range(30)]
VOTE: dict[str, Any] = {
    "nodes": {
        "draft": {"type": "generator", "inputs": [], "when": None},
        "answer": {"type": "vote", "inputs": ["draft"], "weight": "count", "when": None},
    },
    "output": "answer",
}
OTHER: dict[str, Any] = {"nodes": {"draft": {"type": "generator"}}, "output": "draft"}


def computed(
    item: str, score: int, compute: int | None, *, calls: int = 1, model: str = "small"
) -> Record:
    """An answer of ``calls`` calls; a tenth of its compute is for the prompt."""
    prompt = None if compute is None else compute // 10
    by_model = ModelUsage(calls, 100, 10 * calls, prompt_compute=prompt, compute=compute)
    usage = Usage(prompt_tokens=100 * calls, completion_tokens=10 * calls, calls=calls)
    samples = tuple(Draw(str(score), score) for _ in range(calls))
    record = replace(make_record(item, score), usage=usage, draws={"draft": samples})
    return replace(record, compute=compute, usage_by_model={model: by_model})


def run_of(scores: Callable[[int], int], compute: int | None, **fields: Any) -> list[Record]:
    return [computed(item, scores(n), compute, **fields) for n, item in enumerate(ITEMS)]


def test_the_report_has_the_mean_compute_and_the_usage_of_each_model() -> None:
    records = [computed("a", 1, 100), computed("b", 1, 300, model="large")]
    failed = make_record("c", 0, error="LMError: no")
    results = Tally.of([*records, failed]).results(1.0)
    assert results["compute"] == 200
    assert {name: usage.compute for name, usage in results["usage_by_model"].items()} == {
        "small": 100,
        "large": 300,
    }


def test_an_unknown_model_is_named_with_the_cure() -> None:
    tally = Tally.of([computed("a", 1, 100), computed("b", 1, None, model="remote")])
    usage = {name: asdict(usage) for name, usage in tally.compute.by_model.items()}
    report = {
        "compute": tally.mean_compute,
        "usage_by_model": usage,
        "num_runs": 2,
        "num_errors": 0,
    }
    assert report["compute"] is None
    (line,) = compute_lines(report)
    assert "parameters of remote is not known" in line
    assert '"parameters": {' in line


def test_records_of_earlier_versions_have_no_known_compute() -> None:
    data = make_record("a", 1).to_json()
    assert not data.keys() & {"compute", "usage_by_model"}
    old = Record.from_json(data)
    assert (old.compute, dict(old.usage_by_model)) == (None, {})
    assert Tally.of([old, computed("b", 1, 100)]).mean_compute is None
    new = computed("a", 1, 100)
    assert Record.from_json(json.loads(json.dumps(new.to_json()))) == new


def test_a_run_is_compared_with_the_vote_that_costs_as_much_compute() -> None:
    votes = run_of(lambda n: n % 2, 1000, calls=4)  # 100 for the prompt, 225 for each sample
    runs = [votes, run_of(lambda n: 1, 600, model="large")]
    (row,) = equal_cost(["vote", "other"], [VOTE, OTHER], runs, "compute")
    assert (row["drafts"], row["cost"]) == (2, "compute")
    assert (row["amount"], row["vote_amount"]) == (600, 550)
    (by_tokens,) = equal_cost(["vote", "other"], [VOTE, OTHER], runs)
    assert (by_tokens["cost"], by_tokens["amount"]) == ("tokens", by_tokens["cost_tokens"])
    (by_time,) = equal_cost(["vote", "other"], [VOTE, OTHER], runs, "seconds")
    assert (by_time["drafts"], by_time["vote_amount"]) == (4, 0.5)
    unknown = run_of(lambda n: 1, None)
    assert equal_cost(["vote", "other"], [VOTE, OTHER], [votes, unknown], "compute") == []


def test_the_single_call_of_another_model_with_the_nearest_compute_is_compared() -> None:
    names = ["graph", "same", "large", "huge"]
    runs = [
        run_of(lambda n: int(n % 3 == 0), 1000, calls=8),
        run_of(lambda n: 1, 1000),
        run_of(lambda n: int(n % 3 < 2), 800, model="large"),
        run_of(lambda n: 1, 9000, model="huge"),
    ]
    (row,) = single_calls(names, runs)
    assert (row["name"], row["single"], row["model"]) == ("graph", "large", "large")
    assert (row["calls"], row["better"]) == (1.25, "large")
    assert row["difference"] == pytest.approx(-1 / 3)
    assert row["p_value"] < 0.01
    text = single_call_text(row, "-33.3")
    assert "1.2 times the compute of a single call of large" in text
    assert "large is better" in text
    reports = [{"architecture": name} for name in names]
    compared = compare(reports, runs)
    assert compared["single_calls"] == [row]
    fronts = [each["on_compute_front"] for each in compared["rows"]]
    assert fronts == [False, True, True, False]


def test_without_such_a_run_the_size_of_the_model_is_named() -> None:
    (row,) = single_calls(["graph"], [run_of(lambda n: 1, 880_000_000_000, calls=4)])
    assert (row["single"], row["better"]) == (None, None)
    assert row["parameters"] == 4_000_000_000  # two operations for each of 110 tokens of a call
    assert "one call of a model of about 4B active parameters" in single_call_text(row, "")


def test_units() -> None:
    texts = [compute_text(flops) for flops in (0, 950, 9_960, 999_600, 1.23e18, 5e24)]
    assert texts == ["0 FLOP", "950 FLOP", "10 kFLOP", "1.0 MFLOP", "1.2 EFLOP", "5000 ZFLOP"]


# ---------------------------------------------------------------------------------------- energy


def counter(folder: Path, name: str, label: str, microjoules: int) -> Path:
    package = folder / name
    package.mkdir()
    (package / "name").write_text(f"{label}\n")
    (package / "max_energy_range_uj").write_text("1000000000\n")
    (package / "energy_uj").write_text(f"{microjoules}\n")
    return package / "energy_uj"


def test_energy_is_the_sum_of_the_packages_and_survives_a_restart(tmp_path: Path) -> None:
    first = counter(tmp_path, "intel-rapl:0", "package-0", 999_000_000)
    second = counter(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    counter(tmp_path, "intel-rapl:0:0", "core", 0).write_text("77")
    counter(tmp_path, "intel-rapl:2", "psys", 0).write_text("88")
    meter = EnergyMeter(tmp_path)
    first.write_text("4000000")
    second.write_text("7500000")
    assert meter.joules() == pytest.approx(5 + 2.5, abs=1e-6)
    second.unlink()
    assert meter.joules() is None


def test_energy_without_a_counter_is_unknown(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path / "missing").joules() is None


def test_the_journal_keeps_the_energy_of_the_session() -> None:
    record = make_record("a", 1)
    entry = decode(encode(1, 2.0, record, None, 12.5))
    without = decode(encode(1, 2.0, record, None))
    assert entry is not None
    assert without is not None
    assert (entry.session_joules, without.session_joules) == (12.5, None)


async def test_a_run_reports_energy_per_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter(range(10, 100, 10))
    monkeypatch.setattr(EnergyMeter, "joules", lambda self: next(readings))
    evaluation = Evaluation.of(
        archon.load("single", models="scripted"), benchmark("smoke", split="all", limit=4)
    )
    report = await evaluate(evaluation, RunFolder(tmp_path / "run"))
    assert report.energy_joules == 10.0
    assert read_run(tmp_path / "run").report().energy_joules == 10.0
