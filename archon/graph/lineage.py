"""Whose candidates reach a node, and what they are sure to carry when they do."""

from __future__ import annotations

import networkx as nx

from archon.spec.architecture import (
    AnyNode,
    ArchitectureSpec,
    FuserNode,
    GeneratorNode,
    RankerNode,
    UnitTestEvaluatorNode,
    UnitTestGeneratorNode,
    VerifierNode,
    VoteNode,
)


def writers(spec: ArchitectureSpec, node_id: str) -> list[str]:
    """The nodes whose texts may be among what a node reads, in the order of declaration.

    A fuser that runs replaces what it reads by its own; every other node passes candidates on.
    """
    found: set[str] = set()
    seen: set[str] = set()
    ahead = list(spec.nodes[node_id].inputs)
    while ahead:
        source = ahead.pop()
        if source in seen:
            continue
        seen.add(source)
        node = spec.nodes[source]
        if isinstance(node, GeneratorNode | FuserNode):
            found.add(source)
        if not isinstance(node, FuserNode) or node.when is not None:
            ahead += node.inputs
    return [name for name in spec.nodes if name in found]


def reads_likelihoods(node: AnyNode) -> bool:
    """Whether a node weighs candidates by the log-probabilities that came with them."""
    match node:
        case VoteNode(weight="likelihood") | RankerNode(method="likelihood", model=None):
            return True
        case _:
            return False


def writers_of_likelihoods(spec: ArchitectureSpec) -> frozenset[str]:
    """The nodes that must return log-probabilities with their texts."""
    readers = (name for name, node in spec.nodes.items() if reads_likelihoods(node))
    return frozenset(writer for reader in readers for writer in writers(spec, reader))


def scored(spec: ArchitectureSpec, edges: nx.DiGraph[str]) -> set[str]:
    """The nodes all of whose candidates are sure to have a score.

    A node that scores does so only where it runs: behind a ``when``, candidates may pass it by.
    A vote makes do without scores where the budget passed their node by, or no tests were written.
    """
    found: set[str] = set()
    for node_id in nx.topological_sort(edges):
        node = spec.nodes[node_id]
        passed_on = bool(node.inputs) and found.issuperset(node.inputs)
        match node:
            case RankerNode() | VerifierNode() | VoteNode() | UnitTestEvaluatorNode():
                is_scored = node.when is None or passed_on
            case GeneratorNode() | FuserNode():
                is_scored = False
            case _:
                is_scored = passed_on
        if is_scored:
            found.add(node_id)
    return found


def supported(spec: ArchitectureSpec, edges: nx.DiGraph[str]) -> set[str]:
    """The nodes that may pass on candidates whose latest score is the support of a vote.

    All other scores of nodes are in [0, 1]; but for those of an app's own reward model.
    """
    found: set[str] = set()
    for node_id in nx.topological_sort(edges):
        node = spec.nodes[node_id]
        match node:
            case VoteNode():
                found.add(node_id)
            case GeneratorNode():
                pass
            case RankerNode() | VerifierNode() | UnitTestEvaluatorNode() | FuserNode():
                if node.when is not None and not found.isdisjoint(node.inputs):
                    found.add(node_id)
            case _:
                if not found.isdisjoint(node.inputs):
                    found.add(node_id)
    return found


def passing_candidates(spec: ArchitectureSpec, edges: nx.DiGraph[str]) -> set[str]:
    """The nodes that may pass candidates on; others pass on unit tests at the most."""
    found: set[str] = set()
    for node_id in nx.topological_sort(edges):
        node = spec.nodes[node_id]
        if isinstance(node, GeneratorNode) or not found.isdisjoint(node.inputs):
            found.add(node_id)
    return found


def methods_of_tests(spec: ArchitectureSpec, edges: nx.DiGraph[str]) -> dict[str, set[str]]:
    """Node → the methods of the unit tests that it may pass on, those it writes included."""
    found: dict[str, set[str]] = {}
    for node_id in nx.topological_sort(edges):
        node = spec.nodes[node_id]
        found[node_id] = {method for source in node.inputs for method in found[source]}
        if isinstance(node, UnitTestGeneratorNode):
            found[node_id].add(node.method)
    return found
