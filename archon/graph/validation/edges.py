"""Rules about edges: the inputs of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError

from archon.graph.nodes.registry import NODE_TYPES
from archon.graph.topology import reachable, topological_order
from archon.graph.validation.wiring import Violation, Wiring, input_path
from archon.spec.messages import shown, suggestion

_MAX_CYCLE_SHOWN = 12


def inputs_exist(wiring: Wiring) -> Iterator[Violation]:
    nodes = wiring.spec.nodes
    for node_id, node in nodes.items():
        for i, source in enumerate(node.inputs):
            if source not in nodes:
                hint = suggestion(source, [other for other in nodes if other != node_id])
                yield Violation(f"there is no node {shown(source)}{hint}", input_path(node_id, i))


def no_self_input(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        if node_id in node.inputs:
            yield Violation(
                "a node cannot read itself", input_path(node_id, node.inputs.index(node_id))
            )


def no_duplicate_input(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        seen: set[str] = set()
        for i, source in enumerate(node.inputs):
            if source in seen:
                yield Violation(f"{shown(source)} is listed twice", input_path(node_id, i))
            seen.add(source)


def no_cycle(wiring: Wiring) -> Iterator[Violation]:
    """Report one cycle for each strongly connected component of the graph."""
    inputs = {node_id: set(read) - {node_id} for node_id, read in wiring.inputs.items()}
    try:
        topological_order({node_id: sorted(read) for node_id, read in inputs.items()})
        return
    except CycleError:
        import networkx as nx  # slow to import, and few graphs have a cycle

    edges: nx.DiGraph[str] = nx.DiGraph(wiring.readers)
    position = {node_id: i for i, node_id in enumerate(wiring.spec.nodes)}
    components = [nodes for nodes in nx.strongly_connected_components(edges) if len(nodes) > 1]
    for nodes in sorted(components, key=lambda nodes: min(position[node_id] for node_id in nodes)):
        # Begin with the node that is declared first, as a reader of the file does.
        start = min(nodes, key=position.__getitem__)
        between: nx.DiGraph[str] = nx.DiGraph()
        between.add_edges_from(
            (source, reader)
            for source in sorted(nodes)  # the same cycle every time
            for reader in wiring.readers[source]
            if reader in nodes and reader != source
        )
        cycle = [source for source, _ in nx.find_cycle(between, start)]
        first = min(range(len(cycle)), key=lambda i: position[cycle[i]])
        cycle = cycle[first:] + cycle[:first]
        listed = cycle[:_MAX_CYCLE_SHOWN] + ["…"] * (len(cycle) > _MAX_CYCLE_SHOWN) + cycle[:1]
        index = wiring.spec.nodes[cycle[0]].inputs.index(cycle[-1])
        reason = f"the nodes form a cycle: {' → '.join(listed)}"
        yield Violation(reason, input_path(cycle[0], index))


def output_exists(wiring: Wiring) -> Iterator[Violation]:
    output, nodes = wiring.spec.output, wiring.spec.nodes
    if output not in nodes:
        reason = f"there is no node {shown(output)}{suggestion(output, nodes)}"
        yield Violation(reason, ("output",))


def reaches_output(wiring: Wiring) -> Iterator[Violation]:
    output = wiring.spec.output
    upstream = reachable(wiring.inputs, [output])
    for node_id in wiring.spec.nodes:
        if node_id not in upstream:
            reason = f"no path leads from this node to the output {shown(output)}"
            yield Violation(reason, ("nodes", node_id))


def arity(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        if not node.inputs and NODE_TYPES[node.type].needs_inputs:
            yield Violation(f"a {node.type} needs inputs", ("nodes", node_id, "inputs"))


def when_has_inputs(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        if node.when is not None and not node.inputs:
            yield Violation("a node with a condition needs inputs", ("nodes", node_id, "when"))
