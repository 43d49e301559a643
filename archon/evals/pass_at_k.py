"""pass@k and vote@k of a node, estimated from all its samples.

pass@k is the probability that one of k samples is right, vote@k that their vote is. Both are means
over the subsets of k samples of an item, so that every sample counts for every k: pass@k in closed
form (M. Chen et al., arXiv 2107.03374, 2021), vote@k by counting the subsets in which a right value
wins.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import fmean
from typing import Self, TypedDict

from archon.evals.records import Draw, Record
from archon.evals.statistics import Interval, mean_interval

MOST_EXACT = 128
"""Votes over more samples than this are estimated."""
ORDERS = 100
"""Number of random orders for the estimate."""

CurvePoint = TypedDict(
    "CurvePoint",
    {
        "k": int,
        "pass": float,
        "pass_interval": Interval,
        "vote": float,
        "vote_interval": Interval,
    },
)
"""Means over items and their 95 % intervals, for one number of samples."""


@dataclass(frozen=True, slots=True)
class DrawSet:
    """The samples of a node for one item in one epoch, without their texts."""

    values: tuple[int | None, ...]
    """For each sample, the index of the first one with its value; None without a value."""
    right: tuple[bool, ...]

    @classmethod
    def of(cls, draws: Sequence[Draw]) -> Self:
        """Make a set of samples in their order."""
        first: dict[str, int] = {}
        values = (
            None if draw.value is None else first.setdefault(draw.value, index)
            for index, draw in enumerate(draws)
        )
        return cls(tuple(values), tuple(draw.is_right for draw in draws))

    def __len__(self) -> int:
        return len(self.values)

    def pass_at(self, k: int) -> float:
        """Compute the share of subsets of k samples with a right one."""
        wrong = len(self) - sum(self.right)
        return 1 - math.comb(wrong, k) / math.comb(len(self), k)

    def votes_at(self, ks: Sequence[int]) -> list[float]:
        """Compute for each k the share of subsets of k samples whose vote is right.

        The vote is that of the node ``vote``: ties go to the value of the earlier sample, samples
        without a value do not vote, and if none has a value the first sample is the answer. The
        result is exact up to 128 samples; with more, only for one sample and for all.
        """
        return _exact_votes(self, ks) if len(self) <= MOST_EXACT else _estimated_votes(self, ks)


@dataclass
class NodeDraws:
    """The samples of a run, collected from its records."""

    sets: dict[str, dict[str, list[DrawSet]]] = field(default_factory=dict)
    """Node → item → one set per epoch."""
    failures: Counter[str] = field(default_factory=Counter)
    """Item → number of failed runs; their samples count as wrong."""

    def add(self, record: Record) -> None:
        """Add the samples of one finished run of an item."""
        self.failures.update([record.item] if record.error is not None else [])
        for node, draws in record.draws.items():
            self.sets.setdefault(node, {}).setdefault(record.item, []).append(DrawSet.of(draws))

    def curves(self) -> dict[str, list[CurvePoint]]:
        """Return node → its curve, for every node with at least two samples in every run of it.

        A curve covers the items for which the node ran, up to its smallest number of samples for
        an item. If the node stops early (``stop_when``), this number is small, and the items that
        stop early are not a random selection: the curve is only an indication.
        """
        lengths = {node: _fewest(by_item) for node, by_item in self.sets.items()}
        return {
            node: _curve(self.sets[node], self.failures, ks_up_to(fewest))
            for node, fewest in lengths.items()
            if fewest > 1
        }


def curves(records: Iterable[Record]) -> dict[str, list[CurvePoint]]:
    """Compute pass@k and vote@k of nodes with several samples; see ``NodeDraws.curves``."""
    draws = NodeDraws()
    for record in records:
        draws.add(record)
    return draws.curves()


def ks_up_to(most: int) -> list[int]:
    """Return every k up to 16, larger powers of two, and the last.

    >>> ks_up_to(40)[14:]
    [15, 16, 32, 40]
    """
    powers = {2**exponent for exponent in range(most.bit_length())}
    return sorted({*range(1, min(most, 16) + 1), *powers, most})


def _fewest(by_item: Mapping[str, Sequence[DrawSet]]) -> int:
    return min(len(draws) for sets in by_item.values() for draws in sets)


def _curve(
    by_item: Mapping[str, Sequence[DrawSet]], failures: Mapping[str, int], ks: Sequence[int]
) -> list[CurvePoint]:
    items = sorted({*by_item, *failures})
    passes = defaultdict[int, list[float]](list)
    votes = defaultdict[int, list[float]](list)
    for item in items:
        sets = by_item.get(item, ())
        wrong = [0.0] * failures.get(item, 0)
        voted = [draws.votes_at(ks) for draws in sets]
        for i, k in enumerate(ks):
            passes[k].append(fmean([draws.pass_at(k) for draws in sets] + wrong))
            votes[k].append(fmean([shares[i] for shares in voted] + wrong))
    points: list[CurvePoint] = []
    for k in ks:
        # The number of independent groups of k samples.
        runs = sum(len(draws) // k for sets in by_item.values() for draws in sets)
        runs += sum(failures.values())
        points.append(
            {
                "k": k,
                "pass": fmean(passes[k]),
                "pass_interval": mean_interval(passes[k], runs),
                "vote": fmean(votes[k]),
                "vote_interval": mean_interval(votes[k], runs),
            }
        )
    return points


# --------------------------------------------------------------------------- counting subsets
#
# The numbers of subsets of each size form a polynomial: the coefficient of x^k counts the subsets
# of k samples, and choices from separate groups multiply. A polynomial is stored as one integer,
# its value at x = 2^bits, where every coefficient fits into its own bits.


def _exact_votes(draws: DrawSet, ks: Sequence[int]) -> list[float]:
    bits = len(draws) + 1
    places = defaultdict[int | None, list[int]](list)
    for place, value in enumerate(draws.values):
        places[value].append(place)
    blank = places.pop(None, [])
    right = sum(
        _any_of(len(blank) - rank, bits) << bits
        for rank, place in enumerate(blank, start=1)
        if draws.right[place]
    )
    for value, own in places.items():
        if any(draws.right[place] for place in own):
            others = [group for other, group in places.items() if other != value]
            right += _wins(own, others, len(blank), draws.right, bits)
    mask = (1 << bits) - 1
    return [(right >> bits * k & mask) / math.comb(len(draws), k) for k in ks]


def _wins(
    own: Sequence[int],
    others: Sequence[Sequence[int]],
    num_blank: int,
    right: Sequence[bool],
    bits: int,
) -> int:
    """Count the subsets in which a value wins and its earliest sample is right.

    Parameters
    ----------
    own
        The places of the value's samples.
    others
        The places of each other value's samples.
    num_blank
        Number of samples without a value.

    The value wins with ``votes`` of its samples, the earliest at ``place``, if every other value
    has fewer votes, or the same number and all of them later.
    """
    wins = 0
    for votes in range(1, len(own) + 1):
        rivals = [group for group in others if len(group) >= votes]
        harmless = num_blank + sum(len(group) for group in others if len(group) < votes)
        fewer_votes = [_fewer_than(votes, len(group), bits) for group in rivals]
        for rank, place in enumerate(own[: len(own) - votes + 1], start=1):
            if not right[place]:
                continue
            subsets = math.comb(len(own) - rank, votes - 1) * _any_of(harmless, bits)
            for group, fewer in zip(rivals, fewer_votes, strict=True):
                later = len(group) - bisect_right(group, place)
                subsets *= fewer + (math.comb(later, votes) << bits * votes)
            wins += subsets << bits * votes
    return wins


@lru_cache(maxsize=4096)
def _any_of(count: int, bits: int) -> int:
    """Count the subsets of ``count`` samples: (1 + x)^count."""
    return int((1 + (1 << bits)) ** count)


@lru_cache(maxsize=4096)
def _fewer_than(votes: int, count: int, bits: int) -> int:
    """Count the subsets of ``count`` samples with fewer than ``votes`` samples."""
    return sum(math.comb(count, chosen) << bits * chosen for chosen in range(votes))


# ------------------------------------------------------------------------- estimating over orders


def _estimated_votes(draws: DrawSet, ks: Sequence[int]) -> list[float]:
    wanted = dict.fromkeys(ks, 0)
    for order in _orders(len(draws)):
        _count_right(draws, order, wanted)
    shares = {k: count / ORDERS for k, count in wanted.items()}
    return [fmean(draws.right) if k == 1 else shares[k] for k in ks]


def _count_right(draws: DrawSet, order: Sequence[int], wanted: dict[int, int]) -> None:
    """Add 1 to each k for which the first k samples of ``order`` vote for a right value."""
    support: Counter[int] = Counter()
    earliest: dict[int, int] = {}
    first = len(draws)
    leading: int | None = None
    for k, place in enumerate(order, start=1):
        first = min(first, place)
        value = draws.values[place]
        if value is not None:
            support[value] += 1
            earliest[value] = min(place, earliest.get(value, place))
            if leading is None or (support[value], -earliest[value]) > (
                support[leading],
                -earliest[leading],
            ):
                leading = value
        if k in wanted:
            wanted[k] += draws.right[first if leading is None else earliest[leading]]


@lru_cache(maxsize=4)
def _orders(count: int) -> list[list[int]]:
    """Return random orders, the same for every item: samples of different items are independent."""
    generator = random.Random(0)
    return [generator.sample(range(count), count) for _ in range(ORDERS)]
