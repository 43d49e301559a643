"""Stop unpromising trials early.

All trials ask the items in the same order, and pause at the same numbers of items (rungs). So two
trials can be compared item by item. With one objective, ``is_worse`` decides by the rule of
Optuna's ``WilcoxonPruner``. Optuna cannot prune studies with several objectives; for these,
``dominating`` decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from archon.errors import require
from archon.study.objectives import OBJECTIVES, ItemResult, losses, means

P_THRESHOLD = 0.1
"""Significance level of the one-sided Wilcoxon test, the default of Optuna's pruner."""
FIRST_RUNG, GROWTH = 10, 2
"""Minimum number of shared items; with fewer, the test has little power."""
MAX_ENUMERATED = 13
"""Maximum number of differences whose signs are enumerated for an exact p-value, as in scipy."""


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


def is_worse(
    results: Sequence[ItemResult], reference: Sequence[ItemResult], objective: str
) -> bool:
    """Return True if a trial is significantly worse than a complete one in a single objective.

    On the items that both have answered, Wilcoxon's signed-rank test must be significant. If the
    mean of the complete trial over all its items is not better than the mean of these results, the
    trial continues nevertheless.
    """
    own, other = ([getattr(r, objective) for r in part] for part in (results, reference))
    sign = 1 if OBJECTIVES[objective] else -1
    if sign * (sum(other) / len(other) - sum(own) / len(own)) <= 0:
        return False
    differences = [sign * (b - a) for a, b in zip(own, other, strict=False)]
    return len(differences) > 1 and p_greater(differences) < P_THRESHOLD


def dominating(
    results: Sequence[ItemResult],
    references: Mapping[int, Sequence[ItemResult]],
    objectives: Sequence[str],
) -> int | None:
    """Return a trial of the front that makes this trial hopeless; None if no trial does.

    On the items that both have answered, the returned trial is significantly better in the first
    objective (Wilcoxon's signed-rank test), and no worse in the mean of any other objective.

    Parameters
    ----------
    results
        The trial's results on the first items.
    references
        Number of each trial on the front → its results on all items.
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
        if len(differences) < 2 or math.fsum(differences) <= 0:
            continue
        if p_greater(differences) < P_THRESHOLD:
            return number
    return None


def predicted(
    results: Sequence[ItemResult], reference: Sequence[ItemResult], objectives: Sequence[str]
) -> list[float]:
    """Predict the objective values of a stopped trial on all items.

    A value is that of the trial that stopped it, plus the mean difference between the two trials on
    their shared items. So it does not depend on how hard the shared items are.
    """
    own, shared, total = means(results), means(reference[: len(results)]), means(reference)
    values = {name: total[name] + own[name] - shared[name] for name in objectives}
    if "accuracy" in values:
        values["accuracy"] = min(1.0, max(0.0, values["accuracy"]))
    return [max(0.0, values[name]) for name in objectives]


def p_greater(differences: Sequence[float]) -> float:
    """Return the p-value of Wilcoxon's one-sided test that the differences are above 0.

    Differences of zero are split between both signs, as in Optuna's pruner. The value is that of
    ``scipy.stats.wilcoxon``, which needs half a second for the ties of few items: it ranks the
    differences again for each choice of their signs.
    """
    stats, np = require("scipy.stats", "search"), require("numpy", "search")
    if len(differences) > MAX_ENUMERATED:
        return float(
            stats.wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue
        )
    d = np.asarray(differences)
    ranks = np.where(d == 0, 0, stats.rankdata(np.abs(d)))
    signs = np.arange(1 << len(d))[:, np.newaxis] >> np.arange(len(d)) & 1
    # Ranks are multiples of 1/2, so sums are exact.
    return float((signs @ ranks >= ranks[d > 0].sum()).mean())
