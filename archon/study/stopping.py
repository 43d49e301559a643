"""Early stopping of hopeless trials.

All trials get the items in one order, on growing rungs, so that two of them can be compared in
pairs on the items of both. With one objective Optuna's ``WilcoxonPruner`` decides. Optuna cannot
prune studies with several objectives; ``dominating`` is the rule for these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from archon.errors import require
from archon.study.objectives import OBJECTIVES, ItemResult, losses, means

P_THRESHOLD = 0.1
"""Of the one-sided Wilcoxon test; the pruner's default."""
FIRST_RUNG, GROWTH = 10, 2
"""On fewer items no test has much power."""


def rungs(num_items: int) -> list[int]:
    """Return the number of items at each rung; the last is all of them.

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
    """Return a trial of the front against which a trial is hopeless; None if there is none.

    On the items of both, that trial is better in the first objective by Wilcoxon's signed-rank
    test, and no worse in the mean of any other.

    Parameters
    ----------
    results
        Of the trial, on the first items.
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

    They are those of the trial that stopped it plus the difference between the two on the items
    of both, so that the difficulty of these items cancels out.
    """
    own, shared, total = means(results), means(reference[: len(results)]), means(reference)
    values = {name: total[name] + own[name] - shared[name] for name in objectives}
    if "accuracy" in values:
        values["accuracy"] = min(1.0, max(0.0, values["accuracy"]))
    return [max(0.0, values[name]) for name in objectives]


def _p_greater(differences: Sequence[float]) -> float:
    """Return the one-sided p-value of "not above 0"; as in Optuna's pruner, zeros are split."""
    if len(differences) < 2 or not any(differences) or math.fsum(differences) <= 0:
        return 1.0
    wilcoxon = require("scipy.stats", "search").wilcoxon
    return float(wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue)
