"""Means of the figures of a run besides its accuracy: further scorers and their metrics."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from archon.evals.records import Record
from archon.evals.statistics import Interval, mean_interval, score_interval, student_quantile

_Values = defaultdict[str, dict[str, list[float]]]


@dataclass(frozen=True, slots=True)
class Metric:
    """The mean of one figure over the items."""

    mean: float
    interval: Interval | None
    """95% confidence interval of the mean; None for a single item without bounds, and for equal
    values with weights."""
    num_items: int
    """Number of items that have the figure."""


@dataclass
class MetricTally:
    """The figures of the records of a run."""

    scores: _Values = field(default_factory=lambda: defaultdict(dict))
    """Scorer after the first → item → its scores."""
    metrics: _Values = field(default_factory=lambda: defaultdict(dict))
    """Name → item → values."""
    weights: _Values = field(default_factory=lambda: defaultdict(dict))
    """Name of a metric → item → weights of its values."""
    failures: Counter[str] = field(default_factory=Counter)
    """Item → number of its failures, which count as scores of 0."""
    errors: Counter[str] = field(default_factory=Counter)
    """Scorer after the first → number of answers that it could not score."""

    def add(self, record: Record) -> None:
        """Add the figures of one record."""
        self.failures[record.item] += record.error is not None
        self.errors.update(record.scorer_errors.keys())
        weights = {name: record.metric_weights.get(name, 1.0) for name in record.metrics}
        for values, found in (
            (self.scores, record.other_scores),
            (self.metrics, record.metrics),
            (self.weights, weights),
        ):
            for name, value in found.items():
                values[name].setdefault(record.item, []).append(value)

    def summary(self) -> dict[str, Metric]:
        """Return name → mean and interval, for all scorers after the first and all metrics."""
        return {
            **{name: self._score(by_item) for name, by_item in self.scores.items()},
            **{name: self._metric(name) for name in self.metrics},
        }

    def _score(self, by_item: Mapping[str, list[float]]) -> Metric:
        with_failures = {
            item: [*by_item.get(item, ()), *[0.0] * failed]
            for item, failed in self.failures.items()
            if failed or item in by_item
        }
        return _mean(with_failures)

    def _metric(self, name: str) -> Metric:
        values, weights = self.metrics[name], self.weights[name]
        if all(weight == 1 for listed in weights.values() for weight in listed):
            return _mean(values)
        return _weighted_mean(values, weights)


def _weighted_mean(
    values: Mapping[str, Sequence[float]], weights: Mapping[str, Sequence[float]]
) -> Metric:
    """Return the mean over all weights, with an interval for a ratio of two totals.

    The interval is Student's, of the linearized ratio (Cochran, Sampling Techniques, 1977, section
    6.3), within the range of the values. It is None if all values are equal, because the formula
    would then claim certainty.
    """
    sums = [math.fsum(map(math.prod, zip(values[i], weights[i], strict=True))) for i in values]
    totals = [math.fsum(weights[item]) for item in values]
    ratio = math.fsum(sums) / math.fsum(totals)
    if len({value for listed in values.values() for value in listed}) == 1:
        return Metric(ratio, None, len(values))
    scale = fmean(totals)
    pairs = zip(sums, totals, strict=True)
    bounds = _t_interval([ratio + (part - ratio * weight) / scale for part, weight in pairs])
    if bounds is not None and all(
        0 <= value <= 1 for listed in values.values() for value in listed
    ):
        bounds = max(0.0, bounds[0]), min(1.0, bounds[1])
    return Metric(ratio, bounds, len(values))


def _mean(by_item: Mapping[str, Sequence[float]]) -> Metric:
    means = [fmean(values) for values in by_item.values()]
    values = [value for listed in by_item.values() for value in listed]
    interval: Interval | None
    if set(values) <= {0, 1}:
        interval = mean_interval(means, len(values))
    elif all(0 <= value <= 1 for value in values):
        interval = score_interval(means)
    else:
        interval = _t_interval(means)
    return Metric(fmean(means), interval, len(means))


def _t_interval(values: Sequence[float]) -> Interval | None:
    """Return Student's 95% interval of the mean of unbounded values."""
    number, mean = len(values), fmean(values)
    if number < 2:
        return None
    variance = math.fsum((value - mean) ** 2 for value in values) / (number - 1)
    half = student_quantile(0.975, number - 1) * math.sqrt(variance / number)
    return mean - half, mean + half
