"""Ablation: measure the gain and cost of each node by runs that bypass it.

A sample depends on its prompt and its index, but not on other nodes. The runs with and without a
node therefore share samples wherever possible, and they are compared item by item.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from archon.errors import GraphError
from archon.evals.comparison import compare
from archon.evals.run import Run
from archon.evals.runner import Evaluation
from archon.evals.statistics import holm
from archon.graph.architecture import Architecture


def ablations(
    evaluation: Evaluation, architecture: Architecture
) -> tuple[dict[str, Evaluation], dict[str, str]]:
    """Return the evaluations that bypass one node each, and the nodes that cannot be bypassed.

    Parameters
    ----------
    architecture
        The architecture of ``evaluation``.

    Returns
    -------
    evaluations
        Node → the evaluation of the architecture without it.
    reasons
        Node → the reason why it cannot be bypassed.
    """
    possible: dict[str, Evaluation] = {}
    refused: dict[str, str] = {}
    for node in architecture.spec.nodes:
        try:
            possible[node] = replace(evaluation, architecture=architecture.without(node))
        except GraphError as error:
            refused[node] = error.reason
    return possible, refused


def ablation_rows(run: Run) -> list[dict[str, Any]]:
    """Return a row of figures for each node that was bypassed in an ablation of ``run``.

    ``accuracy`` and ``cost_tokens`` describe the architecture without the node. ``difference`` is
    the accuracy that the node adds, with its 95% ``interval``. ``extra_cost_tokens`` is the cost
    per answer that the node adds. ``p_value_adjusted`` is Holm's p-value over all nodes.

    Raises
    ------
    MissingExtraError
        Scipy is not installed.
    """
    ablated = run.ablations()
    if not ablated:
        return []
    full, records = run.report(), run.records()
    rows: list[dict[str, Any]] = []
    for node, without in ablated.items():
        report = without.report()
        if not report.num_runs:  # interrupted before its first answer
            continue
        result = compare([full.to_json(), report.to_json()], [records, without.records()])
        (pair,) = result["pairs"]
        costs = (full.cost_tokens, report.cost_tokens)
        rows.append(
            {
                "node": node,
                "accuracy": report.accuracy,
                "accuracy_interval": report.accuracy_interval,
                "cost_tokens": report.cost_tokens,
                "extra_cost_tokens": None if None in costs else (costs[0] or 0) - (costs[1] or 0),
                **{key: pair[key] for key in ("num_items", "difference", "interval", "p_value")},
                "run": str(without.path),
            }
        )
    for row, p_value in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_value_adjusted"] = p_value
    return rows
