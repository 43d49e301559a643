"""The vote: the value that most candidates give."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.nodes.base import NodeContext
from archon.types import Annotation, Candidate


class Vote:
    """Keeps the earliest candidate of each value, its score the number that give that value.

    The best supported comes first, of equals the earlier. A candidate without a value has no vote;
    where none has a value, the first candidate passes with a score of 0, so that there is a text
    to answer with.
    """

    def __init__(self, node: str) -> None:
        self._node = node

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model."""
        earliest: dict[str, Candidate] = {}
        support: dict[str, int] = {}
        for candidate in candidates:
            if candidate.value is not None:
                earliest.setdefault(candidate.value, candidate)
                support[candidate.value] = support.get(candidate.value, 0) + 1
        if not earliest:
            return [self._scored(candidate, 0) for candidate in candidates[:1]]
        # Sorting keeps the order of equals, which is that of the earliest candidates.
        values = sorted(earliest, key=lambda value: -support[value])
        return [self._scored(earliest[value], support[value]) for value in values]

    def _scored(self, candidate: Candidate, votes: int) -> Candidate:
        return candidate.annotated(Annotation(self._node, "score", float(votes)))
