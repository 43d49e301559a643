"""Which trials are stopped before they have seen every item.

All trials see the items in one order, on growing rungs, so that two of them are compared on the
items of both, in pairs. One objective is left to Optuna's ``WilcoxonPruner``. Studies of several
cannot be pruned by Optuna; ``dominating`` is our rule for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from archon.errors import require
from archon.study.objectives import OBJECTIVES, ItemResult, means

P_THRESHOLD = 0.1
"""Of the one-sided Wilcoxon test; the pruner's own default."""
FIRST_RUNG, GROWTH = 10, 2
"""On fewer items no test can tell much."""


def rungs(num_items: int) -> list[int]:
    """How many items a trial has seen at each rung; the last is all of them.

    >>> rungs(100), rungs(8)
    ([10, 20, 40, 80, 100], [8])
    """
    sizes = []
    size = FIRST_RUNG
    while size < num_items:
        sizes.append(size)
        size *= GROWTH
    return [*sizes, num_items]


def dominating(
    results: Sequence[ItemResult],
    whole: Mapping[int, Sequence[ItemResult]],
    objectives: Sequence[str],
) -> int | None:
    """The trial of the front that a trial is hopeless against; None where there is none.

    Such a trial is better in the first objective, by Wilcoxon's signed-rank test on the items of
    both, and on these no worse in the mean of any other.

    Parameters
    ----------
    results
        Of the trial, on the first items.
    whole
        Trial of the front → its results on all items.
    """
    own, first = means(results), objectives[0]
    for number, others in whole.items():
        shared = others[: len(results)]
        theirs = means(shared)
        if any(_is_better(own[name], theirs[name], name) for name in objectives[1:]):
            continue
        sign = 1 if OBJECTIVES[first] else -1
        differences = [
            sign * (getattr(other, first) - getattr(one, first))
            for one, other in zip(results, shared, strict=True)
        ]
        if _p_greater(differences) < P_THRESHOLD:
            return number
    return None


def predicted(
    results: Sequence[ItemResult], reference: Sequence[ItemResult], objectives: Sequence[str]
) -> list[float]:
    """What a stopped trial would have come to on all items.

    That is what the trial that stopped it came to, and the difference between the two on the items
    of both: how easy these items are cancels out.
    """
    own, shared = means(results), means(reference[: len(results)])
    whole = means(reference)
    values = {name: whole[name] + own[name] - shared[name] for name in objectives}
    if "accuracy" in values:
        values["accuracy"] = min(1.0, max(0.0, values["accuracy"]))
    return [max(0.0, values[name]) for name in objectives]


def _is_better(one: float, other: float, objective: str) -> bool:
    return one > other if OBJECTIVES[objective] else one < other


def _p_greater(differences: Sequence[float]) -> float:
    """One-sided p of "not greater than 0"; as in Optuna's pruner, ties are split between sides."""
    if len(differences) < 2 or not any(differences) or math.fsum(differences) <= 0:
        return 1.0
    found = require("scipy.stats", "search").wilcoxon(
        differences, alternative="greater", zero_method="zsplit"
    )
    return float(found.pvalue)
