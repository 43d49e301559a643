"""When a generator has drawn enough for a vote: ``stop_when``.

Adaptive-Consistency (Aggarwal et al. 2023, arXiv 2305.11860): of the two most frequent values, with
a and b votes, the first is the more frequent one in the long run with the probability that a
Beta(a + 1, b + 1) variable, the posterior of its share of the two under a uniform prior, is above
one half. By the identity of the incomplete beta function and the binomial sum (Abramowitz and
Stegun, 26.5.24) this is P(X ≤ a) for X ~ Binomial(a + b + 1, 1/2), which needs no more than whole
numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from math import exp, lgamma, log

from archon.spec.architecture import StopWhen


def is_settled(rule: StopWhen, values: Sequence[str | None], num_left: int) -> bool:
    """Whether a vote on ``values`` needs none of the ``num_left`` draws that could still be made.

    A draw without a value has no vote. With a confidence of 1 the answer is exact: no draws that
    are left could change the winner, ties going to the value that came first.
    """
    votes: dict[str, int] = {}
    for value in values:
        if value is not None:
            votes[value] = votes.get(value, 0) + 1
    if not votes:
        return num_left == 0
    # Values stand in the order in which they came, and sorting keeps that of equals.
    leader, *others = sorted(votes, key=lambda value: -votes[value])
    lead = votes[leader]
    if rule.confidence < 1:
        return probability_of_lead(lead, votes[others[0]] if others else 0) >= rule.confidence
    came_before = list(votes)[: list(votes).index(leader)]
    most = num_left + max((votes[value] for value in others), default=0)
    most_of_earlier = max((num_left + votes[value] for value in came_before), default=-1)
    return lead >= most and lead > most_of_earlier


@lru_cache(maxsize=4096)
def probability_of_lead(votes: int, next_votes: int) -> float:
    """The probability that the value with ``votes`` is the more frequent of the two."""
    trials = votes + next_votes + 1
    # The shorter tail; divided as whole numbers, as both may be beyond a float.
    ways, tail = 1, 0
    for k in range(next_votes + 1):
        tail += ways
        ways = ways * (trials - k) // (k + 1)
    return ((1 << trials) - tail) / (1 << trials)


def expected_draws(rule: StopWhen, samples: int, agreement: float) -> float:
    """How many draws are to be expected where each gives one value with probability ``agreement``.

    All others are taken to agree on one other value. For more than ``_MAX_ROUNDS`` rounds, longer
    ones are looked at, which errs on the side of more draws.
    """
    step = max(rule.round, -(-samples // _MAX_ROUNDS))
    open_states = {(0, 0): 1.0}  # votes of either value → probability of being there, unsettled
    drawn, expected = 0, 0.0
    while drawn < samples and open_states:
        count = min(step, samples - drawn)
        expected += count * sum(open_states.values())
        drawn += count
        if drawn == samples:
            break
        needed = _lead_needed(rule, drawn, samples - drawn)
        chances = [_binomial(count, k, agreement) for k in range(count + 1)]
        reached: dict[tuple[int, int], float] = {}
        for (first, second), probability in open_states.items():
            for k in range(count + 1):
                state = (first + k, second + count - k)
                reached[state] = reached.get(state, 0.0) + probability * chances[k]
        open_states = {
            state: probability
            for state, probability in reached.items()
            if probability > _NEGLIGIBLE and max(state) < needed
        }
    return min(expected, samples)  # the sum of probabilities may round to more than 1


_MAX_ROUNDS = 100
_NEGLIGIBLE = 1e-6


def _binomial(trials: int, k: int, share: float) -> float:
    """P(X = k) for X ~ Binomial(trials, share), by logarithms: the factors leave the floats."""
    if share in (0, 1):
        return float(k == trials * share)
    ways = lgamma(trials + 1) - lgamma(k + 1) - lgamma(trials - k + 1)
    return exp(ways + k * log(share) + (trials - k) * log(1 - share))


def _lead_needed(rule: StopWhen, drawn: int, num_left: int) -> int:
    """The fewest votes with which a value is sure enough to lead the only other one."""

    def settles(votes: int) -> bool:
        if rule.confidence < 1:
            return probability_of_lead(votes, drawn - votes) >= rule.confidence
        return votes >= drawn - votes + num_left

    return bisect_left(range(drawn + 1), True, lo=drawn // 2, key=settles)
