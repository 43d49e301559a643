"""What ``archon eval --ablate`` adds: runs without each node, and the table of what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archon.cli.console import console, p_text, points, with_interval
from archon.cli.measure import Work
from archon.evals.rounding import signed

if TYPE_CHECKING:
    from archon.evals.runner import Evaluation


def ablation_works(whole: Work, ablations: Mapping[str, Evaluation]) -> list[Work]:
    """The evaluations without each node, in folders below that of the whole."""
    return [
        Work(evaluation, whole.folder.ablation(node), f"{whole.title} without {node}")
        for node, evaluation in ablations.items()
    ]


def tell_ablations(rows: Sequence[Mapping[str, Any]], refused: Mapping[str, str]) -> None:
    """One line a node: what it buys in points, and what it costs in tokens an answer."""
    from rich.table import Table

    table = Table("node", "accuracy without [95 %]", "it buys [95 %]", "p", "it costs", box=None)
    for row in rows:
        buys = points(row["difference"], row["interval"])
        extra = row["extra_cost_tokens"]
        costs = "–" if extra is None else f"{signed(extra)} tokens"
        accuracy = with_interval(row["accuracy"], row["accuracy_interval"])
        table.add_row(row["node"], accuracy, buys, p_text(row["p_value"]), costs)
    if rows:
        console().print(table)
    for node, reason in refused.items():
        console().print(f"{node} cannot be left out: {reason}", style="dim", soft_wrap=True)
