"""pass@k and vote@k: what k draws of a node are worth, from all that it has drawn.

pass@k is the chance that one of k draws is right, vote@k that their vote is. Both are means over
the subsets of k draws of an item, so that every draw counts for every k: pass@k in closed form (M.
Chen et al., arXiv 2107.03374, 2021), vote@k by counting the subsets in which a right value wins.
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
"""Votes over more draws than these are estimated."""
ORDERS = 100
"""Random orders of the draws from which they are estimated."""

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
"""Means over items and their 95 % intervals, at one number of draws."""


@dataclass(frozen=True, slots=True)
class DrawSet:
    """What a node drew for one item in one epoch, without the texts."""

    values: tuple[int | None, ...]
    """Of each draw, the first draw that has its value; None where it has none."""
    right: tuple[bool, ...]

    @classmethod
    def of(cls, draws: Sequence[Draw]) -> Self:
        """The draws in their order."""
        first: dict[str, int] = {}
        values = (
            None if draw.value is None else first.setdefault(draw.value, place)
            for place, draw in enumerate(draws)
        )
        return cls(tuple(values), tuple(draw.is_right for draw in draws))

    def __len__(self) -> int:
        return len(self.values)

    def pass_at(self, k: int) -> float:
        """The share of subsets of k draws that hold a right one."""
        wrong = len(self) - sum(self.right)
        return 1 - math.comb(wrong, k) / math.comb(len(self), k)

    def votes_at(self, ks: Sequence[int]) -> list[float]:
        """For each k the share of subsets of k draws whose vote is right.

        The vote is that of the node ``vote``: ties go to the value that was drawn earlier, draws
        without a value have no vote, and where none has one the first draw answers. Up to 128 draws
        it is exact; of more, one draw and all draws are.
        """
        return _exact_votes(self, ks) if len(self) <= MOST_EXACT else _estimated_votes(self, ks)


@dataclass
class NodeDraws:
    """The draws of a run, added up as its records come."""

    sets: dict[str, dict[str, list[DrawSet]]] = field(default_factory=dict)
    """Node → item → one set an epoch."""
    failures: Counter[str] = field(default_factory=Counter)
    """Item → runs that failed; their draws are taken to be wrong."""

    def add(self, record: Record) -> None:
        """Take the draws of one finished run of an item."""
        self.failures.update([record.item] if record.error is not None else [])
        for node, draws in record.draws.items():
            self.sets.setdefault(node, {}).setdefault(record.item, []).append(DrawSet.of(draws))

    def curves(self) -> dict[str, list[CurvePoint]]:
        """Node → its points, for every node that drew twice or more wherever it ran.

        A curve covers the items for which the node ran, up to the fewest draws that it made for
        one. Where a node stops early (``stop_when``) these are few, and those who stop are not
        chosen by chance: its curve is an indication only.
        """
        lengths = {node: _fewest(by_item) for node, by_item in self.sets.items()}
        return {
            node: _curve(self.sets[node], self.failures, ks_up_to(fewest))
            for node, fewest in lengths.items()
            if fewest > 1
        }


def curves(records: Iterable[Record]) -> dict[str, list[CurvePoint]]:
    """pass@k and vote@k of every node that drew several times; see ``NodeDraws.curves``."""
    draws = NodeDraws()
    for record in records:
        draws.add(record)
    return draws.curves()


def ks_up_to(most: int) -> list[int]:
    """Every k up to 16, then the powers of two, and the last.

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
        for place, k in enumerate(ks):
            passes[k].append(fmean([draws.pass_at(k) for draws in sets] + wrong))
            votes[k].append(fmean([shares[place] for shares in voted] + wrong))
    points: list[CurvePoint] = []
    for k in ks:
        # So many times could k draws have been made anew.
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
# How many subsets there are of each size is a polynomial: the coefficient of x^k counts those of k
# draws, and the choices from separate groups multiply. A polynomial is kept as one integer, its
# value at x = 2^bits, where no coefficient is large enough to reach the next.


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
    """The subsets in which a value wins and its earliest draw is right.

    Parameters
    ----------
    own
        The places of the value's draws. others : those of each other value's.

    The value wins with ``votes`` of its own draws, the earliest at ``place``, if every other value
    has fewer, or as many and all of them later.
    """
    wins = 0
    for votes in range(1, len(own) + 1):
        rivals = [group for group in others if len(group) >= votes]
        harmless = num_blank + sum(len(group) for group in others if len(group) < votes)
        behind = [_fewer_than(votes, len(group), bits) for group in rivals]
        for rank, place in enumerate(own[: len(own) - votes + 1], start=1):
            if not right[place]:
                continue
            ways = math.comb(len(own) - rank, votes - 1) * _any_of(harmless, bits)
            for group, fewer in zip(rivals, behind, strict=True):
                later = len(group) - bisect_right(group, place)
                ways *= fewer + (math.comb(later, votes) << bits * votes)
            wins += ways << bits * votes
    return wins


@lru_cache(maxsize=4096)
def _any_of(count: int, bits: int) -> int:
    """The subsets of ``count`` draws: (1 + x)^count."""
    return int((1 + (1 << bits)) ** count)


@lru_cache(maxsize=4096)
def _fewer_than(votes: int, count: int, bits: int) -> int:
    """The subsets of ``count`` draws that have fewer than ``votes``."""
    return sum(math.comb(count, chosen) << bits * chosen for chosen in range(votes))


# ------------------------------------------------------------------------- estimating over orders


def _estimated_votes(draws: DrawSet, ks: Sequence[int]) -> list[float]:
    wanted = dict.fromkeys(ks, 0)
    for order in _orders(len(draws)):
        _count_right(draws, order, wanted)
    shares = {k: count / ORDERS for k, count in wanted.items()}
    return [fmean(draws.right) if k == 1 else shares[k] for k in ks]


def _count_right(draws: DrawSet, order: Sequence[int], wanted: dict[int, int]) -> None:
    """Add 1 to each k whose vote is right, if the first k draws of ``order`` are the subset."""
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
    """The same random orders for every item: draws of different items owe each other nothing."""
    generator = random.Random(0)
    return [generator.sample(range(count), count) for _ in range(ORDERS)]
