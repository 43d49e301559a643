"""What the rules check, and the violations that they report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from archon.graph.dataflow import Dataflow, dataflow
from archon.spec.architecture import ArchitectureSpec


@dataclass(frozen=True)
class Violation:
    """A broken rule: what is wrong, and where in the file."""

    reason: str
    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Wiring:
    """A spec, its edges and the capabilities of its models, as the rules see them."""

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
        """The nodes themselves and all nodes after them."""
        return frozenset().union(*({i} | nx.descendants(self.edges, i) for i in node_ids))

    @cached_property
    def flow(self) -> Dataflow:
        """What arrives at each node; the edges must be valid."""
        return dataflow(self.spec, nx.topological_sort(self.edges))


Rule = Callable[[Wiring], Iterable[Violation]]


def input_path(node_id: str, index: int) -> tuple[str | int, ...]:
    """The place of an input in a file."""
    return ("nodes", node_id, "inputs", index)
