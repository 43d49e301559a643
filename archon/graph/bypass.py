"""Removal of one node from an architecture, for ablations.

The node's inputs replace it in the inputs of its readers. A node without inputs is just removed. If
the node is the output and has one input, that becomes the output. If it has several, the node
becomes a ``join``, so that the architecture keeps one output and can be saved as an ordinary file.
"""

from __future__ import annotations

from itertools import chain

from archon.errors import GraphError
from archon.spec.architecture import AnyNode, ArchitectureSpec, JoinNode
from archon.spec.messages import shown, suggestion


def bypass(spec: ArchitectureSpec, node_id: str) -> ArchitectureSpec:
    """Return ``spec`` with the node replaced by its inputs.

    The result is not checked. Pass it to ``archon.graph.validation.build.build``, which refuses,
    for instance, a fuser that has lost its only input.

    Raises
    ------
    GraphError
        There is no such node, or no node is left for the output.
    """
    if node_id not in spec.nodes:
        hint = suggestion(node_id, spec.nodes)
        raise GraphError(f"no node {shown(node_id)} to bypass{hint}", path="$.nodes")
    inputs = spec.nodes[node_id].inputs
    if node_id != spec.output:
        return spec.model_copy(update={"nodes": _without(spec, node_id)})
    match inputs:
        case []:
            reason = f"without {shown(node_id)} there is no output"
            raise GraphError(reason, rule="output_exists", path="$.output")
        case [only]:
            return spec.model_copy(update={"nodes": _without(spec, node_id), "output": only})
        case _:
            join = JoinNode(type="join", inputs=inputs, when=None)
            return spec.model_copy(update={"nodes": {**spec.nodes, node_id: join}})


def _without(spec: ArchitectureSpec, node_id: str) -> dict[str, AnyNode]:
    """Return the other nodes; the node's inputs replace it in theirs."""
    inputs = spec.nodes[node_id].inputs
    return {
        other_id: other.model_copy(update={"inputs": _replaced(other.inputs, node_id, inputs)})
        if node_id in other.inputs
        else other
        for other_id, other in spec.nodes.items()
        if other_id != node_id
    }


def _replaced(inputs: list[str], node_id: str, replacements: list[str]) -> list[str]:
    """Return ``inputs`` with ``replacements`` for ``node_id``, without repetitions."""
    names = (replacements if source == node_id else [source] for source in inputs)
    return list(dict.fromkeys(chain.from_iterable(names)))
