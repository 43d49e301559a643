"""From the spec of an architecture to a checked graph whose nodes are in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archon.errors import together
from archon.graph.dataflow import Dataflow
from archon.graph.validation.checks import graph_errors
from archon.graph.validation.wiring import Wiring
from archon.spec.architecture import ArchitectureSpec


@dataclass(frozen=True)
class Graph:
    """A valid graph. Every mapping has one entry per node, in the order of declaration."""

    spec: ArchitectureSpec
    order: tuple[str, ...]
    """Every node after its inputs; among those that are ready, in the order of declaration."""
    inputs: Mapping[str, tuple[str, ...]]
    """Node → the nodes it reads, in the order listed."""
    readers: Mapping[str, tuple[str, ...]]
    """Node → the nodes that read it, in the order of declaration."""
    flow: Dataflow
    """What passes along the edges at most."""


def build(
    spec: ArchitectureSpec,
    capabilities: Mapping[str, frozenset[str]],
    file: str | None = None,
) -> Graph:
    """Check every rule of ``archon.graph.validation.checks`` and put the nodes in order.

    Parameters
    ----------
    capabilities
        Role → what its model can do; roles that are left out pass every rule.
    file
        The name of the spec's file in errors.

    Raises
    ------
    GraphError
        Rules are broken; its ``errors`` name file, JSON path and rule.
    """
    wiring = Wiring.of(spec, capabilities)
    if errors := graph_errors(wiring, file):
        raise together(errors)
    return Graph(
        spec=spec,
        order=tuple(wiring.order),
        inputs={node: tuple(spec.nodes[node].inputs) for node in spec.nodes},
        readers={node: tuple(wiring.readers[node]) for node in spec.nodes},
        flow=wiring.flow,
    )
