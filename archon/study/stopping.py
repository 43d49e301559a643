"""Stop unpromising trials early.

All trials are evaluated on the items in the same order, on successively larger rungs, so that two
trials can be compared item by item on the items that both have answered. With one objective,
Optuna's ``WilcoxonPruner`` decides. Optuna cannot prune studies with several objectives, for which
``dominating`` is the rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from archon.errors import require
from archon.study.objectives import OBJECTIVES, ItemResult, losses, means

P_THRESHOLD = 0.1
"""Significance level of the one-sided Wilcoxon test; the pruner's default."""
FIRST_RUNG, GROWTH = 10, 2
"""Minimum number of items for a test. On fewer items, no test has much power."""


def rungs(num_items: int) -> list[int]:
    """Return the number of items at each rung; the last rung has all items.

    >>> rungs(100), rungs(8)
    ([10, 20, 40, 80, 100], [8])
    """
    sizes, size = [], FIRST_RUNG
    while size < num_items:
        sizes.append(size)
        size *= GROWTH
    return [*sizes, num_items]


def dominating(
    results: Sequence[ItemResult],
    references: Mapping[int, Sequence[ItemResult]],
    objectives: Sequence[str],
) -> int | None:
    """Return a trial of the front that clearly dominates a trial; None if there is none.

    On the items of both trials, the dominating trial is better in the first objective according to
    Wilcoxon's signed-rank test, and its mean in every other objective is at least as good.

    Parameters
    ----------
    results
        The trial's results on the first items.
    references
        Trial of the front → its results on all items.
    """
    first, others = objectives[0], objectives[1:]
    own = losses(means(results), others)
    sign = 1 if OBJECTIVES[first] else -1
    for number, reference in references.items():
        shared = reference[: len(results)]
        theirs = losses(means(shared), others)
        if any(loss < other for loss, other in zip(own, theirs, strict=True)):
            continue
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
    """Predict the values that a stopped trial would have had on all items.

    A predicted value is the value of the trial that stopped it, plus the difference between the two
    trials on the items that both have answered. The difficulty of these items thus cancels out.
    """
    own, shared, total = means(results), means(reference[: len(results)]), means(reference)
    values = {name: total[name] + own[name] - shared[name] for name in objectives}
    if "accuracy" in values:
        values["accuracy"] = min(1.0, max(0.0, values["accuracy"]))
    return [max(0.0, values[name]) for name in objectives]


def _p_greater(differences: Sequence[float]) -> float:
    """Return the one-sided p-value of "not above 0"; zeros are split as Optuna's pruner does."""
    if len(differences) < 2 or not any(differences) or math.fsum(differences) <= 0:
        return 1.0
    wilcoxon = require("scipy.stats", "search").wilcoxon
    return float(wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue)
