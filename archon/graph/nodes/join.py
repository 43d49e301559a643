"""The join: passes on its inputs; a bypassed output with several inputs becomes one."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Method, NodeType
from archon.spec.architecture import JoinNode
from archon.types import Candidate


class Join:
    """Passes on its joined inputs unchanged."""

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        return list(candidates)


NODE_TYPE = NodeType(spec=JoinNode, methods={"": Method[JoinNode](make=lambda setup: Join())})
