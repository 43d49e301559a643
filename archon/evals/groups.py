"""Results by group: the items with the same value in a column of their rows."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from archon.errors import UsageError
from archon.evals.statistics import Interval, holm, mean_interval
from archon.spec.messages import shown, suggestion

NO_GROUP = "(none)"
"""The group of items whose row does not have the column."""
_RESAMPLES = 1_999
_LARGE = 50
"""Number of items from which the mean of a random group is taken as normally distributed."""
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Group:
    """The result of the items with one value of a column."""

    name: str
    num_items: int
    accuracy: float
    accuracy_interval: Interval
    """95% confidence interval of ``accuracy``."""
    difference: float | None
    """Accuracy of the group minus that of all other items; None if there are no others."""
    p_value: float | None
    """The two-sided p-value of the hypothesis that the group does not differ from the others."""
    p_value_adjusted: float | None
    """``p_value``, adjusted over all groups of the column by Holm's method."""


def group_name(metadata: Mapping[str, Any], column: str) -> str:
    """Return the group of an item, given the columns of its row."""
    value = metadata.get(column)
    if value is None:
        return NO_GROUP
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def check_columns(by: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Check that some row has each column by which results are grouped.

    Raises
    ------
    UsageError
        No row has the column. The error lists the columns.
    """
    columns = dict.fromkeys(name for row in rows for name in row) if by else {}
    for column in by:
        if column not in columns:
            listed = ", ".join(columns) if columns else "the rows have no other columns"
            raise UsageError(
                f"the rows have no column {shown(column)} to group by{suggestion(column, columns)};"
                f" columns: {listed}"
            )


def group_results(
    groups: Mapping[str, str], item_means: Mapping[str, float], runs: Mapping[str, int]
) -> list[Group]:
    """Return the result of each group, in the order of their names.

    Parameters
    ----------
    groups
        Item → its group.
    item_means
        Item → the share of its answers that are right.
    runs
        Item → number of its answers and failures.
    """
    members: defaultdict[str, list[str]] = defaultdict(list)
    for item in item_means:
        members[groups[item]].append(item)
    names = sorted(members)
    p_values: list[float | None] = []
    differences: list[float | None] = []
    for name in names:
        inside = [item_means[item] for item in members[name]]
        outside = [mean for item, mean in item_means.items() if groups[item] != name]
        differences.append(fmean(inside) - fmean(outside) if outside else None)
        p_values.append(difference_p_value(inside, outside) if outside else None)
    known = [p for p in p_values if p is not None]
    adjusted = holm(known) if len(known) == len(names) else [None] * len(names)
    rows = []
    for name, difference, p_value, p_adjusted in zip(
        names, differences, p_values, adjusted, strict=True
    ):
        means = [item_means[item] for item in members[name]]
        interval = mean_interval(means, sum(runs[item] for item in members[name]))
        rows.append(
            Group(name, len(means), fmean(means), interval, difference, p_value, p_adjusted)
        )
    return rows


def difference_p_value(inside: Sequence[float], outside: Sequence[float]) -> float:
    """Compute the p-value of a difference between the means of two sets of items.

    Under the hypothesis, every choice of ``len(inside)`` of all items is equally likely to be the
    group. If each item is right or wrong, this is Fisher's exact test. Otherwise, the mean of a
    random group is normally distributed if there are many items; if there are few, random choices
    with a fixed seed are used.

    >>> round(difference_p_value([1, 1, 1, 1], [0, 0, 0, 1]), 3)
    0.143
    """
    values = sorted([*inside, *outside])
    if set(values) <= {0, 1}:
        return _fisher(int(sum(inside)), len(inside), int(sum(values)), len(values))
    if min(len(inside), len(outside)) >= _LARGE:
        return _normal(inside, values)
    size, centre = len(inside), fmean(values)
    observed = abs(fmean(inside) - centre)
    chance = random.Random(0)
    if size > len(values) - size:  # the smaller set is as far from the centre, in proportion
        size, observed = len(outside), abs(fmean(outside) - centre)
    as_far = sum(
        abs(fmean(chance.sample(values, size)) - centre) >= observed - _TOLERANCE
        for _ in range(_RESAMPLES)
    )
    return (as_far + 1) / (_RESAMPLES + 1)


def _normal(inside: Sequence[float], values: Sequence[float]) -> float:
    """Return the p-value for large sets, by the variance of a random group's mean."""
    size, number, centre = len(inside), len(values), fmean(values)
    variance = math.fsum((value - centre) ** 2 for value in values) / number
    error = math.sqrt(variance / size * (number - size) / (number - 1))
    return math.erfc(abs(fmean(inside) - centre) / error / math.sqrt(2)) if error else 1.0


def _fisher(right: int, size: int, all_right: int, num_items: int) -> float:
    """Return the two-sided p-value of Fisher's exact test: the sum of all no likelier tables."""

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    def log_probability(k: int) -> float:
        return log_choose(all_right, k) + log_choose(num_items - all_right, size - k)

    total = log_choose(num_items, size)
    possible = range(max(0, size - (num_items - all_right)), min(size, all_right) + 1)
    observed = log_probability(right)
    return min(
        1.0,
        math.fsum(
            math.exp(log - total)
            for log in map(log_probability, possible)
            if log <= observed + 1e-7
        ),
    )
