"""The vote by meaning: answers in different words vote together where they say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.vote import Vote, Weight, one
from archon.lm.embedding import Embedder, Vector
from archon.types import Candidate

SIMILARITY = 0.8
"""The cosine from which on two values are taken to mean the same, where a file says nothing."""


class MeaningVote:
    """A vote among groups of values that are alike, each group speaking with its first value.

    Values are taken in order: one joins the group whose first value is most like it, if the two
    are at least ``similarity`` alike, and begins a group of its own otherwise. Compared with the
    first of each group alone, a chain of small steps does not join what differs.
    """

    def __init__(
        self, node: str, embedder: Embedder, similarity: float, weight: Weight = one
    ) -> None:
        self._embedder, self._similarity = embedder, similarity
        self._vote = Vote(node, weight)

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call of the sentence encoder, for all distinct values."""
        values = list(dict.fromkeys(c.value for c in candidates if c.value is not None))
        if len(values) < 2:
            return await self._vote.run(context, candidates)
        vectors = await context.in_time(self._embedder.embed(values))
        spokesman = dict(zip(values, first_alike(values, vectors, self._similarity), strict=True))
        grouped = [
            c if c.value is None else replace(c, value=spokesman[c.value]) for c in candidates
        ]
        return await self._vote.run(context, grouped)


def first_alike(values: Sequence[str], vectors: Sequence[Vector], similarity: float) -> list[str]:
    """For each value the first one of its group."""
    firsts: list[int] = []
    found: list[str] = []
    for index, vector in enumerate(vectors):
        likeness = {first: _product(vectors[first], vector) for first in firsts}
        best = max(firsts, key=likeness.__getitem__, default=None)
        if best is None or likeness[best] < similarity:
            firsts.append(best := index)
        found.append(values[best])
    return found


def _product(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
