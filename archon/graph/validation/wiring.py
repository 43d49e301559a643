"""What the rules look at, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import networkx as nx

from archon.spec.architecture import AnyNode, ArchitectureSpec, AskingNode, ModelNode
from archon.spec.messages import shown


@dataclass(frozen=True)
class Violation:
    """A broken rule: what is wrong, and where in the file."""

    reason: str
    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Wiring:
    """What the rules look at."""

    spec: ArchitectureSpec
    capabilities: Mapping[str, frozenset[str]]
    edges: nx.DiGraph[str]
    """From each input to its reader; inputs that name no node are left out."""

    @classmethod
    def of(cls, spec: ArchitectureSpec, capabilities: Mapping[str, frozenset[str]]) -> Wiring:
        edges: nx.DiGraph[str] = nx.DiGraph()
        edges.add_nodes_from(spec.nodes)
        edges.add_edges_from(
            (source, node_id)
            for node_id, node in spec.nodes.items()
            for source in node.inputs
            if source in spec.nodes
        )
        return cls(spec, capabilities, edges)

    def downstream(self, node_ids: Iterable[str]) -> frozenset[str]:
        """The nodes themselves, and every node that something of theirs may reach."""
        return frozenset().union(*({i} | nx.descendants(self.edges, i) for i in node_ids))

    def model_nodes(self) -> Iterator[tuple[str, AskingNode, str]]:
        """The nodes that ask a model, with their ids before them and their roles behind."""
        for node_id, node in self.spec.nodes.items():
            if isinstance(node, ModelNode) and node.model is not None:
                yield node_id, node, node.model


Rule = Callable[[Wiring], Iterable[Violation]]


def input_path(node_id: str, index: int) -> tuple[str | int, ...]:
    """The place of an input in a file."""
    return ("nodes", node_id, "inputs", index)


def method_name(node: AnyNode) -> str:
    """What a node does, as a message names it."""
    method = getattr(node, "method", "")
    return f"the method {shown(method)} of a {node.type}" if method else f"a {node.type}"
