"""The vote: the value that most candidates give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.scorers import likelihood
from archon.types import Annotation, Candidate

Weight = Callable[[Candidate], float]


def one(candidate: Candidate) -> float:
    """Every vote weighs the same."""
    return 1.0


class Vote:
    """Keeps the earliest candidate of each value, its score the weight of all that give that value.

    The best supported comes first, of equals the earlier. A candidate without a value has no vote;
    where none has a value, the first candidate passes with a score of 0, so that there is a text
    to answer with.
    """

    def __init__(self, node: str, weight: Weight = one) -> None:
        self._node, self._weight = node, weight

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model."""
        earliest: dict[str, Candidate] = {}
        support: dict[str, float] = {}
        for candidate in candidates:
            if candidate.value is not None:
                earliest.setdefault(candidate.value, candidate)
                weight = self._weight(candidate)
                support[candidate.value] = support.get(candidate.value, 0.0) + weight
        if not earliest:
            return [self._scored(candidate, 0.0) for candidate in candidates[:1]]
        # Sorting keeps the order of equals, which is that of the earliest candidates.
        values = sorted(earliest, key=lambda value: -support[value])
        return [self._scored(earliest[value], support[value]) for value in values]

    def _scored(self, candidate: Candidate, support: float) -> Candidate:
        return candidate.annotated(Annotation(self._node, "score", support))


def latest_score(candidate: Candidate) -> float:
    """What the last node that scored it gave; the graph is checked to have one."""
    assert candidate.score is not None
    return candidate.score


WEIGHTS: dict[str, Weight] = {"count": one, "score": latest_score, "likelihood": likelihood}
"""By the name that files use; ``likelihood`` is the geometric mean of the tokens' probabilities."""
