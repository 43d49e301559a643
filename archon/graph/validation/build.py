"""Construction of a valid graph from the spec of an architecture."""

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
    """A valid graph."""

    spec: ArchitectureSpec
    order: tuple[str, ...]
    """Every node after its inputs; among ready ones, in the order of declaration."""
    inputs: Mapping[str, tuple[str, ...]]
    """Node → the nodes it reads, in the order of the file; nodes in the order of declaration."""
    flow: Dataflow
    """The largest flows along the edges."""


def build(
    spec: ArchitectureSpec,
    capabilities: Mapping[str, frozenset[str]],
    file: str | None = None,
) -> Graph:
    """Check every rule of ``archon.graph.validation.checks`` and order the nodes.

    Parameters
    ----------
    capabilities
        Role → capabilities of its model; missing roles pass every rule.
    file
        The name of the spec's file in errors.

    Raises
    ------
    GraphError
        The graph violates rules; ``errors`` have file, JSON path and rule of each violation.
    """
    wiring = Wiring.of(spec, capabilities)
    if errors := graph_errors(wiring, file):
        raise together(errors)
    return Graph(
        spec=spec,
        order=tuple(wiring.order),
        inputs={node: tuple(spec.nodes[node].inputs) for node in spec.nodes},
        flow=wiring.flow,
    )
