"""Remove one node from an architecture, for ablations.

Nodes that read the removed node read its inputs instead. A node without inputs is just removed. If
the output node is removed and has one input, that input becomes the output. If it has several, the
node becomes a ``join``, because an architecture has exactly one output node.
"""

from __future__ import annotations

from itertools import chain

from archon.errors import GraphError
from archon.spec.architecture import AnyNode, ArchitectureSpec, JoinNode
from archon.spec.messages import shown, suggestion


def bypass(spec: ArchitectureSpec, node_id: str) -> ArchitectureSpec:
    """Return ``spec`` without the node; nodes that read it read its inputs instead.

    The result is not validated. ``archon.graph.validation.build.build`` does that; it rejects, for
    example, a fuser that has lost its only input.

    Raises
    ------
    GraphError
        ``spec`` has no node ``node_id``, or the node is the output and has no inputs.
    """
    if node_id not in spec.nodes:
        hint = suggestion(node_id, spec.nodes)
        raise GraphError(f"there is no node {shown(node_id)} to bypass{hint}", path="$.nodes")
    inputs = spec.nodes[node_id].inputs
    if node_id != spec.output:
        return spec.model_copy(update={"nodes": _without(spec, node_id)})
    match inputs:
        case []:
            reason = f"cannot bypass the output {shown(node_id)}: it has no inputs to replace it"
            raise GraphError(reason, rule="output_exists", path="$.output")
        case [only]:
            return spec.model_copy(update={"nodes": _without(spec, node_id), "output": only})
        case _:
            join = JoinNode(type="join", inputs=inputs, when=None)
            return spec.model_copy(update={"nodes": {**spec.nodes, node_id: join}})


def _without(spec: ArchitectureSpec, node_id: str) -> dict[str, AnyNode]:
    """Return all nodes except ``node_id``; those that read it read its inputs instead."""
    inputs = spec.nodes[node_id].inputs
    return {
        other_id: other.model_copy(update={"inputs": _replaced(other.inputs, node_id, inputs)})
        if node_id in other.inputs
        else other
        for other_id, other in spec.nodes.items()
        if other_id != node_id
    }


def _replaced(inputs: list[str], node_id: str, replacements: list[str]) -> list[str]:
    """Replace ``node_id`` in ``inputs`` with ``replacements``; drop repeated names."""
    names = (replacements if source == node_id else [source] for source in inputs)
    return list(dict.fromkeys(chain.from_iterable(names)))
