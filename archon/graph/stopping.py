"""Stop a generator early once a vote over its samples is settled (``stop_when``).

This is Adaptive-Consistency (Aggarwal et al. 2023, arXiv 2305.11860). Let the two most frequent
values have a and b votes. Under a uniform prior, the share of the first value among these votes has
the posterior Beta(a + 1, b + 1). The first value wins in the long run if its share is above one
half. The probability of that equals P(X ≤ a) for X ~ Binomial(a + b + 1, 1/2) (Abramowitz and
Stegun, 26.5.24), which is computed in integer arithmetic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import exp, lgamma, log

from archon.spec.architecture import StopWhen


def is_settled(rule: StopWhen, values: Sequence[str | None], num_left: int) -> bool:
    """Return whether the vote is decided without the remaining ``num_left`` samples.

    With a confidence of 1, this means that they cannot change the winner. With a lower confidence,
    it means that the leading value is the most frequent one in the long run with at least that
    probability. None does not vote. In a tie, the value that came first wins.
    """
    votes = Counter(value for value in values if value is not None)
    if not votes:
        return num_left == 0
    # A counter keeps the order in which values came, and sorting is stable.
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
    """Return the probability that a value with ``votes`` beats the runner-up in the long run."""
    trials = votes + next_votes + 1
    # Sum the shorter tail. Divide integers, because both may overflow a float.
    ways, tail = 1, 0
    for k in range(next_votes + 1):
        tail += ways
        ways = ways * (trials - k) // (k + 1)
    return ((1 << trials) - tail) / (1 << trials)


def expected_samples(rule: StopWhen, samples: int, agreement: float) -> float:
    """Return the expected number of samples until ``rule`` stops, out of at most ``samples``.

    A sample has the leading value with probability ``agreement``; all other samples are assumed to
    have one common value. If there are more than ``_MAX_ROUNDS`` rounds, fewer and longer rounds
    are assumed, so the result is an overestimate.
    """
    step = max(rule.round, -(-samples // _MAX_ROUNDS))
    open_states = {(0, 0): 1.0}  # votes of both values, unsettled → probability
    num_sampled, expected = 0, 0.0
    while num_sampled < samples and open_states:
        count = min(step, samples - num_sampled)
        expected += count * sum(open_states.values())
        num_sampled += count
        if num_sampled == samples:
            break
        needed = _lead_needed(rule, num_sampled, samples - num_sampled)
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
    """Return P(X = k) for X ~ Binomial(trials, share), using logarithms to avoid overflow."""
    if share in (0, 1):
        return float(k == trials * share)
    ways = lgamma(trials + 1) - lgamma(k + 1) - lgamma(trials - k + 1)
    return exp(ways + k * log(share) + (trials - k) * log(1 - share))


def _lead_needed(rule: StopWhen, num_sampled: int, num_left: int) -> int:
    """Return the smallest number of votes with which a value decides the vote against one rival.

    ``num_sampled`` samples have voted for one of the two values; ``num_left`` are left.
    """

    def settles(votes: int) -> bool:
        if rule.confidence < 1:
            return probability_of_lead(votes, num_sampled - votes) >= rule.confidence
        return votes >= num_sampled - votes + num_left

    return bisect_left(range(num_sampled + 1), True, lo=num_sampled // 2, key=settles)
