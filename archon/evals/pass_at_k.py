"""pass@k and vote@k of a node, estimated from all its samples.

pass@k is the probability that at least one of k samples is right. vote@k is the probability that a
vote over k samples is right. Both are means over all subsets of k of an item's samples, so that
every sample counts. pass@k has a closed form (M. Chen et al., arXiv 2107.03374, 2021); for vote@k,
the subsets in which a right value wins are counted.
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
"""Up to this number of samples, vote@k is computed exactly; for more, it is estimated."""
ORDERS = 100
"""Number of random orders of the samples from which vote@k is estimated."""

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
"""pass@k and vote@k for one k: means over the items, with their 95% intervals."""


@dataclass(frozen=True, slots=True)
class DrawSet:
    """The samples of a node for one item in one epoch, without their texts."""

    values: tuple[int | None, ...]
    """For each sample, the index of the first sample with the same value; None if it has no
    value."""
    right: tuple[bool, ...]
    """For each sample, whether it is right."""

    @classmethod
    def of(cls, draws: Sequence[Draw]) -> Self:
        """Make a set of a record's samples, in order."""
        first: dict[str, int] = {}
        values = (
            None if draw.value is None else first.setdefault(draw.value, index)
            for index, draw in enumerate(draws)
        )
        return cls(tuple(values), tuple(draw.is_right for draw in draws))

    def __len__(self) -> int:
        return len(self.values)

    def pass_at(self, k: int) -> float:
        """Compute pass@k, the share of the subsets of k samples that contain a right sample."""
        wrong = len(self) - sum(self.right)
        return 1 - math.comb(wrong, k) / math.comb(len(self), k)

    def votes_at(self, ks: Sequence[int]) -> list[float]:
        """Compute vote@k for each k, the share of the subsets of k samples whose vote is right.

        The rules are the same as in a ``vote`` node. Ties go to the value of the earlier sample.
        Samples without a value do not vote; if no sample has a value, the first sample is the
        answer. Up to ``MOST_EXACT`` samples, the result is exact. For more, it is an estimate,
        except for one sample and for all samples.
        """
        return _exact_votes(self, ks) if len(self) <= MOST_EXACT else _estimated_votes(self, ks)


@dataclass
class NodeDraws:
    """The samples of all nodes in a run, collected from its records."""

    sets: dict[str, dict[str, list[DrawSet]]] = field(default_factory=dict)
    """Node → item → the item's samples, one set per epoch."""
    failures: Counter[str] = field(default_factory=Counter)
    """Item → number of epochs that failed; their samples count as wrong."""

    def add(self, record: Record) -> None:
        """Add the samples in one record."""
        self.failures.update([record.item] if record.error is not None else [])
        for node, draws in record.draws.items():
            self.sets.setdefault(node, {}).setdefault(record.item, []).append(DrawSet.of(draws))

    def curves(self) -> dict[str, list[CurvePoint]]:
        """Return node → its curve, for every node that always made at least two samples.

        A curve covers the items for which the node ran. Its largest k is the smallest number of
        samples that the node made. For a node that stops early (``stop_when``), this number is
        small, and the number of samples depends on the item, so the curve is only a rough estimate.
        """
        lengths = {node: _fewest(by_item) for node, by_item in self.sets.items()}
        return {
            node: _curve(self.sets[node], self.failures, ks_up_to(fewest))
            for node, fewest in lengths.items()
            if fewest > 1
        }


def curves(records: Iterable[Record]) -> dict[str, list[CurvePoint]]:
    """Compute pass@k and vote@k of each node with several samples; see ``NodeDraws.curves``."""
    draws = NodeDraws()
    for record in records:
        draws.add(record)
    return draws.curves()


def ks_up_to(most: int) -> list[int]:
    """Return the values of k for a curve: 1 to 16, then powers of two, and finally ``most``.

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

    Suppose that a subset has ``votes`` samples of the value, of which the earliest has the position
    ``place``. The value wins if every other value has fewer votes, or the same number of votes and
    a later earliest sample.

    Parameters
    ----------
    own
        The positions of the value's samples.
    others
        The positions of the samples of each other value.
    num_blank
        Number of samples without a value.
    right
        For each position, whether the sample is right.

    Returns
    -------
    The number of subsets of each size, as a polynomial (see the comment above).
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
    """Return the generating polynomial of all subsets of ``count`` samples: (1 + x)^count."""
    return int((1 + (1 << bits)) ** count)


@lru_cache(maxsize=4096)
def _fewer_than(votes: int, count: int, bits: int) -> int:
    """Return the generating polynomial of the subsets of ``count`` samples below ``votes``.

    The subsets that are counted have fewer than ``votes`` elements.
    """
    return sum(math.comb(count, chosen) << bits * chosen for chosen in range(votes))


# ------------------------------------------------------------------------- estimating over orders


def _estimated_votes(draws: DrawSet, ks: Sequence[int]) -> list[float]:
    shares = votes_in_orders(draws, _orders(len(draws)), ks)
    return [fmean(draws.right) if k == 1 else share for k, share in zip(ks, shares, strict=True)]


def votes_in_orders(
    draws: DrawSet, orders: Sequence[Sequence[int]], ks: Sequence[int]
) -> list[float]:
    """Compute for each k the share of orders in which the vote over the first k samples is right.

    Parameters
    ----------
    orders
        Orders of the samples, as lists of their positions.
    """
    wanted = dict.fromkeys(ks, 0)
    for order in orders:
        _count_right(draws, order, wanted)
    return [wanted[k] / len(orders) for k in ks]


def _count_right(draws: DrawSet, order: Sequence[int], wanted: dict[int, int]) -> None:
    """Add 1 to ``wanted[k]`` for each k such that the first k samples of ``order`` vote right."""
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
    """Return ``ORDERS`` random orders of ``count`` samples.

    All items use the same orders. This is harmless, because the samples of different items are
    independent.
    """
    generator = random.Random(0)
    return [generator.sample(range(count), count) for _ in range(ORDERS)]
