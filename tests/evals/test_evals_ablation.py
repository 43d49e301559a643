"""Ablations: every node that can be bypassed, on the same samples, compared item by item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import archon
from archon import api
from archon.evals.ablation import ablation_rows, ablations
from archon.evals.folder import RunFolder
from archon.evals.runner import Evaluation, evaluate
from archon.lm.scripted.lm import ScriptedLM

pytest.importorskip("scipy")

DRAFTS = ["I say 5. The answer is 5."] * 3 + ["Or 4? The answer is 4."]
"""Three of four samples are wrong."""


def best_of_four() -> archon.Architecture:
    """Four candidates; a ranker puts the last one first."""
    spec: dict[str, Any] = {
        "version": 1,
        "name": "best-of-four",
        "models": {"solver": "scripted", "judge": "scripted"},
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 4},
            "best": {"type": "ranker", "model": "judge", "inputs": ["draft"]},
            "pass": {"type": "join", "inputs": ["best"]},
        },
        "output": "pass",
    }
    solver = ScriptedLM(lambda request, draw: DRAFTS[draw % 4])
    judge = ScriptedLM(lambda request, draw: "Ranking: [4] > [1] > [2] > [3]")
    return archon.load(spec, models={"solver": solver, "judge": judge})


def sums(architecture: archon.Architecture) -> Evaluation:
    from archon.evals.benchmarks import Item

    items = api.benchmark("smoke", limit=6)
    asked = [Item(f"sum-{n}", f"What is 2 + 2, for the {n}th time?", "4") for n in range(6)]
    return Evaluation(architecture, asked, items.scorer, items.selection)


async def ablated(path: Path) -> archon.Run:
    architecture, folder = best_of_four(), RunFolder.create(path, "x")
    whole = sums(architecture)
    await evaluate(whole, folder)
    possible, _ = ablations(whole, architecture)
    for node, evaluation in possible.items():
        await evaluate(evaluation, folder.ablation(node))
    return archon.read_run(path)


async def test_a_node_adds_the_difference_to_the_architecture_without_it(tmp_path: Path) -> None:
    run = await ablated(tmp_path)
    rows = {row["node"]: row for row in ablation_rows(run)}
    assert run.report().accuracy == 1
    assert set(rows) == {"best", "pass"}
    assert (rows["best"]["accuracy"], rows["best"]["difference"]) == (0, 1)
    assert rows["best"]["p_value"] == pytest.approx(2 / 2**6)
    assert rows["best"]["extra_cost_tokens"] > 0
    assert (rows["pass"]["accuracy"], rows["pass"]["difference"]) == (1, 0)
    assert rows["pass"]["extra_cost_tokens"] == 0


async def test_both_runs_use_the_same_samples(tmp_path: Path) -> None:
    run = await ablated(tmp_path)
    without = run.ablations()["best"]
    assert [record.draws["draft"] for record in run.records()] == [
        record.draws["draft"] for record in without.records()
    ]


def test_a_node_that_cannot_be_bypassed_is_reported_with_the_reason() -> None:
    architecture = best_of_four()
    possible, refused = ablations(sums(architecture), architecture)
    assert list(possible) == ["best", "pass"]
    assert refused == {"draft": "a ranker needs inputs"}


async def test_an_ablation_without_answers_is_skipped(tmp_path: Path) -> None:
    run = await ablated(tmp_path)
    (tmp_path / "ablations" / "best" / "journal").unlink()
    assert [row["node"] for row in ablation_rows(run)] == ["pass"]
