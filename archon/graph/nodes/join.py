"""The join, which merges its inputs. It replaces a bypassed output node with several inputs."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Method, NodeType
from archon.spec.architecture import JoinNode
from archon.types import Candidate


class Join:
    """Node that passes on the candidates of all its inputs unchanged."""

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        return list(candidates)


NODE_TYPE = NodeType(spec=JoinNode, methods={"": Method[JoinNode](make=lambda setup: Join())})
