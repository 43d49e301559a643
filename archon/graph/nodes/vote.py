"""The vote: the value that most candidates give."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from archon.errors import UsageError
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.scorers import likelihood
from archon.graph.notes import no_value_mark
from archon.types import Annotation, Candidate

Weight = Callable[[Candidate], float | None]


def one(candidate: Candidate) -> float:
    """Every vote weighs the same."""
    return 1.0


class Vote:
    """Keeps the earliest candidate of each value, its score the weight of all that give that value.

    Where something that votes has no weight, because the budget passed its scorer by, all weigh the
    same. The best supported comes first, of equals the earlier. A candidate without a value has no
    vote; where none has a value, the first candidate passes with a score of 0 and a mark, so that
    there is a text to answer with and the answer says how it came about. Rewards weigh as they are:
    those of cards are probabilities.
    """

    def __init__(self, node: str, weight: Weight = one) -> None:
        self._node, self._weight = node, weight

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model.

        Raises
        ------
        UsageError : a score cannot weigh, as a reward of an app's own model may not.
        """
        earliest: dict[str, Candidate] = {}
        support: dict[str, float] = {}
        votes = [(c, c.value, self._weight(c)) for c in candidates if c.value is not None]
        is_weighted = all(weight is not None for _, _, weight in votes)
        least = min((weight for _, _, weight in votes if weight is not None), default=0.0)
        if least < 0:
            raise UsageError(f"a vote cannot weigh {least:g}: scores that weigh are not below 0")
        for candidate, value, weight in votes:
            earliest.setdefault(value, candidate)
            counted = weight if is_weighted and weight is not None else 1.0
            support[value] = support.get(value, 0.0) + counted
        if not earliest:
            mark = no_value_mark(self._node, "returning the first")
            return [self._scored(c, 0.0).annotated(mark) for c in candidates[:1]]
        # Sorting keeps the order of equals, which is that of the earliest candidates.
        values = sorted(earliest, key=lambda value: -support[value])
        return [self._scored(earliest[value], support[value]) for value in values]

    def _scored(self, candidate: Candidate, support: float) -> Candidate:
        return candidate.annotated(Annotation(self._node, "score", support))


def latest_score(candidate: Candidate) -> float | None:
    """What the last node that scored it gave; None where the budget passed that node by."""
    return candidate.score


def odds_of(probability: float) -> float:
    """p / (1 − p), finite for all probabilities: how much more likely than not.

    It is what Bradley and Terry (1952) measure strength by, so that a reward that has learnt from
    preferences weighs by it: votes of a strong reply and of many weak ones are on one scale.

    >>> odds_of(0.75)
    3.0
    """
    return probability / (1 - min(probability, _BELOW_ONE))


_BELOW_ONE = math.nextafter(1.0, 0.0)


def latest_odds(candidate: Candidate) -> float | None:
    """The odds of its latest score, a probability.

    Raises
    ------
    UsageError : the score is above 1. (Below 0 the odds are, too, which no vote takes.)
    """
    score = candidate.score
    if score is None:
        return None
    if score > 1:
        raise UsageError(f"a vote cannot weigh by the odds of {score:g}: that is no probability")
    return odds_of(score)


def own_likelihood(candidate: Candidate) -> float | None:
    """The geometric mean of the probabilities of its tokens; None where its writer told none."""
    return None if candidate.mean_logprob is None else likelihood(candidate)


WEIGHTS: dict[str, Weight] = {
    "count": one,
    "score": latest_score,
    "odds": latest_odds,
    "likelihood": own_likelihood,
}
"""By the name that files use."""
