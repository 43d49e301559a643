"""Accuracy and pass@k for every number of samples, from one run with the largest number.

Each figure is a mean over all subsets of k of an item's samples, k from each generator, so all
samples count. For one generator, the mean is exact (``archon.evals.pass_at_k``). For several,
pass@k is exact, and accuracy is a mean over 100 random subsets of each item.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from statistics import fmean

from archon.evals.pass_at_k import ORDERS, DrawSet, votes_in_orders
from archon.evals.records import Record
from archon.evals.statistics import Interval, mean_interval


@dataclass(frozen=True)
class CurvePoint:
    """The figures for one number of samples."""

    k: int
    """Number of samples of each generator."""
    accuracy: float
    interval: Interval
    tokens: float | None
    """Mean cost per answer in tokens; None if no answer succeeded."""
    completion_tokens: float | None
    """Mean completion tokens per answer."""
    passed: float | None = None
    """pass@k over all samples; None if it is not known."""
    passed_interval: Interval | None = None


@dataclass
class SampleCurve:
    """The figures of one run of a pooled vote for several numbers of samples.

    Parameters
    ----------
    generators
        The generators, in the order in which the vote reads their samples.
    ks
        The numbers of samples, sorted. Numbers that an item does not have are left out.
    """

    generators: Sequence[str]
    ks: Sequence[int]
    points: list[CurvePoint] = field(default_factory=list)
    item_passes: list[list[float]] = field(default_factory=list)
    """For each item, pass@k for each point."""

    def add(self, records: Iterable[Record]) -> SampleCurve:
        """Compute the points from the records of the run."""
        records = list(records)
        answers = [record for record in records if record.error is None]
        fewest = min(
            (len(record.draws.get(name, ())) for record in answers for name in self.generators),
            default=0,
        )
        ks = [k for k in self.ks if k <= fewest]
        votes, passes = self._by_item(records, ks)
        # For k samples, an item has several independent subsets; see ``pass_at_k``.
        num_runs = [max(1, fewest // k) * len(records) for k in ks]
        self.item_passes = list(passes.values())
        for i, k in enumerate(ks):
            voted = [shares[i] for shares in votes.values()]
            passed = [shares[i] for shares in self.item_passes]
            tokens = _mean_tokens(answers, k, self.generators)
            self.points.append(
                CurvePoint(
                    k,
                    fmean(voted),
                    mean_interval(voted, num_runs[i]),
                    *tokens,
                    fmean(passed),
                    mean_interval(passed, num_runs[i]),
                )
            )
        return self

    def _by_item(
        self, records: Sequence[Record], ks: Sequence[int]
    ) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Return item → accuracy for each k, and item → pass@k for each k."""
        votes = defaultdict[str, list[list[float]]](list)
        passes = defaultdict[str, list[list[float]]](list)
        for record in records:
            if record.error is not None:
                votes[record.item].append([0.0] * len(ks))
                passes[record.item].append([0.0] * len(ks))
                continue
            groups = [DrawSet.of(record.draws[name]) for name in self.generators]
            every = DrawSet.of([draw for name in self.generators for draw in record.draws[name]])
            votes[record.item].append(votes_of_each(every, [len(group) for group in groups], ks))
            passes[record.item].append([pass_of_each(groups, k) for k in ks])
        return _means(votes), _means(passes)


def pass_of_each(groups: Sequence[DrawSet], k: int) -> float:
    """Return the share of subsets, with k samples of each group, that contain a right sample."""
    return 1 - math.prod(1 - group.pass_at(k) for group in groups)


def votes_of_each(every: DrawSet, sizes: Sequence[int], ks: Sequence[int]) -> list[float]:
    """Return for each k the share of subsets, with k samples of each group, that vote right.

    Parameters
    ----------
    every
        All samples, group after group.
    sizes
        The sizes of the groups.
    """
    if len(sizes) == 1:
        return every.votes_at(ks)
    num_groups = len(sizes)
    orders = _alternating_orders(tuple(sizes))
    return votes_in_orders(every, orders, [num_groups * k for k in ks])


@lru_cache(maxsize=16)
def _alternating_orders(sizes: tuple[int, ...]) -> list[list[int]]:
    """Return random orders whose first ``len(sizes) * k`` positions are k of each group."""
    generator = random.Random(0)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    orders = []
    for _ in range(ORDERS):
        shuffled = [
            [start + place for place in generator.sample(range(size), size)]
            for start, size in zip(starts, sizes, strict=True)
        ]
        orders.append(list(chain.from_iterable(zip(*shuffled, strict=False))))
    return orders


def _means(by_item: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, list[float]]:
    """Return item → the mean over its epochs, for each k."""
    return {
        item: [fmean(values) for values in zip(*rows, strict=True)]
        for item, rows in sorted(by_item.items())
    }


def _mean_tokens(
    answers: Sequence[Record], k: int, generators: Sequence[str]
) -> tuple[float | None, float | None]:
    """Return the mean cost and completion tokens of an answer from k samples of each generator.

    Prompts cost the same for every k. The mean over all subsets of an answer's samples has the same
    share of its completion tokens as of its samples.
    """
    if not answers:
        return None, None
    completions = []
    for record in answers:
        share = k * len(generators) / sum(len(record.draws[name]) for name in generators)
        completions.append(record.usage.completion_tokens * min(share, 1.0))
    prompts = fmean(record.cost_tokens - record.usage.completion_tokens for record in answers)
    return prompts + fmean(completions), fmean(completions)
