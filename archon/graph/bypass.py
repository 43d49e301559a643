"""An architecture without one of its nodes, for ablations and for nodes that are left out.

A bypassed node's inputs stand in its place in every reader's list. A node without inputs just
vanishes. A bypassed output becomes its inputs, joined: one input becomes the output itself; of
several, the node turns into a ``join``, which passes on what it reads, so that an architecture
keeps one output and can be saved as an ordinary file.
"""

from __future__ import annotations

from archon.errors import GraphError
from archon.spec.architecture import AnyNode, ArchitectureSpec, JoinNode
from archon.spec.messages import shown, suggestion


def bypass(spec: ArchitectureSpec, node_id: str) -> ArchitectureSpec:
    """``spec`` without the node, its inputs in its place.

    The result is not checked: pass it to ``archon.graph.validation.build.build``, which refuses,
    for instance, a fuser that has lost its only input.

    Raises
    ------
    GraphError
        There is no such node, or nothing is left to be the output.
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
    """The other nodes, in each of whose lists the node's inputs take its place."""
    stand_ins = spec.nodes[node_id].inputs
    return {
        other_id: other.model_copy(update={"inputs": _replaced(other.inputs, node_id, stand_ins)})
        if node_id in other.inputs
        else other
        for other_id, other in spec.nodes.items()
        if other_id != node_id
    }


def _replaced(inputs: list[str], node_id: str, stand_ins: list[str]) -> list[str]:
    """``inputs`` with ``stand_ins`` for ``node_id``, each name once, where it first appears."""
    names = [name for source in inputs for name in (stand_ins if source == node_id else [source])]
    return list(dict.fromkeys(names))
