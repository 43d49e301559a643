"""Rankers and verifiers that score each candidate on its own (``archon.graph.nodes.scorers``)."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.scorers import Scored, Scorer
from archon.graph.nodes.selection import Ruling, keep_best, keep_verified
from archon.types import Candidate


class PointwiseRanker:
    """Orders candidates by their scores; of equals the earlier is first. A single one is scored."""

    def __init__(self, node: str, scorer: Scorer, keep: int | None) -> None:
        self._node, self._scorer, self._keep = node, scorer, keep

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """As many calls as the scorer makes."""
        if not candidates:
            return []
        scores = [scored.value for scored in await self._scorer(context, candidates)]
        return keep_best(self._node, context, candidates, scores, self._keep)


class ThresholdVerifier:
    """Passes what scores at least the threshold; an abstaining score is an abstention."""

    def __init__(self, node: str, scorer: Scorer, threshold: float, keep_first: int | None) -> None:
        self._node, self._scorer = node, scorer
        self._threshold, self._keep_first = threshold, keep_first

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """As many calls as the scorer makes."""
        if not candidates:
            return []
        rulings = [self._ruling(scored) for scored in await self._scorer(context, candidates)]
        return keep_verified(self._node, context, candidates, rulings, self._keep_first)

    def _ruling(self, scored: Scored) -> Ruling:
        if scored.abstains:
            return Ruling("abstain", scored.value)
        return Ruling("pass" if scored.value >= self._threshold else "fail", scored.value)
