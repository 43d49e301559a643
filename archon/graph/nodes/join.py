"""The join: passes on what it reads, for a bypassed output that has several inputs."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.nodes.base import NodeContext
from archon.types import Candidate


class Join:
    """Its joined inputs as they are."""

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model."""
        return list(candidates)
