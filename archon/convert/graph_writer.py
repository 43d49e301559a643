"""Write the architecture, in which each component reads all candidates of the previous layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.convert.component_keys import write_keys
from archon.convert.conversion_log import ConversionLog, Loss, Remark
from archon.convert.layers import (
    TEST_READER,
    TEST_WRITER,
    Component,
    Layer,
    LayeredFile,
    read_layers,
)
from archon.convert.paper_rules import broken_rules
from archon.convert.pruning import prune
from archon.convert.servers import PAIR_RM, Roles
from archon.errors import SpecError

_MAX_EDGES = 10_000
"""Maximum number of edges between two layers, which is the product of their widths. If a pair of
layers has more, a node first joins the candidates of the first layer."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """An architecture as plain data, with the losses and remarks of its conversion."""

    architecture: dict[str, Any]
    losses: list[Loss]
    remarks: list[Remark]


def convert(data: Any, file: str | None = None, default_name: str = "converted") -> Conversion:
    """Convert a layered file of the original project to an architecture.

    Parameters
    ----------
    data
        The parsed content of the file.
    file
        Name of the file in error messages.
    default_name
        Name of the architecture if the file does not contain a name.

    Raises
    ------
    SpecError
        The file contains no layers or no readable generator.
    """
    log = ConversionLog()
    layered = read_layers(data, log, file, default_name)
    log.remarks.extend(broken_rules(layered.layers))
    layers = prune(layered.layers, log)
    if not any("generator" in layer.types() for layer in layers):
        reasons = "; ".join(dict.fromkeys(loss.reason for loss in log.losses[:3]))
        raise SpecError(
            "the file has no readable generator" + (f" ({reasons})" if reasons else ""),
            file=file,
            path="$.layers",
        )
    return Conversion(_Writer(log).write(layered, layers), log.losses, log.remarks)


@dataclass(slots=True)
class _Writer:
    """Writes an architecture's nodes, layer by layer."""

    log: ConversionLog
    roles: Roles = field(default_factory=Roles)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    candidates: list[str] = field(default_factory=list)
    """Ids of the nodes that output the candidates of the previous layer."""
    num_candidates: int = 0
    """Maximum number of these candidates."""
    tests: list[str] = field(default_factory=list)
    """Ids of the latest test generators."""
    passes_critiques: set[str] = field(default_factory=set)
    """Ids of the nodes whose output has critiques."""

    def write(self, layered: LayeredFile, layers: Sequence[Layer]) -> dict[str, Any]:
        for layer in layers:
            self._write_layer(layer)
        if self.num_candidates > 1:
            reason = "the original returns a random one of the last answers, Archon the first"
            self.log.remark("one_answer", layers[-1].path, reason)
        if len(self.candidates) > 1:
            self._join("answer")
        return {
            "version": 1,
            "name": layered.name,
            "description": "Converted from a file of the original Archon project.",
            "models": self.roles.cards,
            "nodes": self.nodes,
            "output": self.candidates[0],
            "answer": "text",
        }

    def _write_layer(self, layer: Layer) -> None:
        num_readers = sum(component.type != TEST_WRITER for component in layer.components)
        if len(self.candidates) > 1 and len(self.candidates) * num_readers > _MAX_EDGES:
            self._join(f"join_{layer.number}")
        producers: list[str] = []
        tests: list[str] = []
        for node_id, component in _named(layer):
            self._write_node(node_id, component)
            (tests if component.type == TEST_WRITER else producers).append(node_id)
        self.tests = tests or self.tests
        if producers:
            self.num_candidates = self._count([self.nodes[node_id] for node_id in producers])
            self.candidates = producers

    def _write_node(self, node_id: str, component: Component) -> None:
        """Write one node.

        Tests depend only on the question, so a test generator has no inputs. A test evaluator reads
        the candidates and the tests.
        """
        inputs = [] if component.type == TEST_WRITER else list(self.candidates)
        if component.type == TEST_READER:
            inputs += self.tests
        role = self.roles.role(component, self.log)
        node: dict[str, Any] = {"type": component.type, "model": role}
        if inputs:
            node["inputs"] = inputs
        if component.type == "generator":
            node["prompt"] = {"template": "bare"}
        if component.data.get("model") == PAIR_RM and component.type == "ranker":
            node["method"] = "pairwise"
        write_keys(component, node, self.log)
        has_critiques = not self.passes_critiques.isdisjoint(inputs)
        if node.get("use_critiques") and not has_critiques:
            del node["use_critiques"]
            reason = "this component receives no critiques from a critic"
            self.log.lose((*component.path, "use_critiques"), reason)
        if component.type == "critic" or (has_critiques and component.type != "fuser"):
            self.passes_critiques.add(node_id)
        self.nodes[node_id] = node

    def _count(self, layer: list[dict[str, Any]]) -> int:
        """Return the maximum number of candidates that the nodes of a layer output."""
        new = kept = 0
        for node in layer:
            if node["type"] in ("generator", "fuser"):
                new += node.get("samples", 1)
            if node["type"] != "fuser":
                keep = node.get("keep", node.get("keep_first", self.num_candidates))
                kept += min(keep, self.num_candidates)
        return new + min(kept, self.num_candidates)

    def _join(self, node_id: str) -> None:
        """Add a node that joins all current candidates; later nodes read only this node."""
        self.nodes[node_id] = {"type": "join", "inputs": self.candidates}
        if not self.passes_critiques.isdisjoint(self.candidates):
            self.passes_critiques.add(node_id)
        self.candidates = [node_id]


def _named(layer: Layer) -> Iterator[tuple[str, Component]]:
    """Yield each component with its node id: type and layer, and a number if it is not the only one
    of its type, as in ``generator_1_2``."""
    total, seen = Counter(layer.types()), Counter[str]()
    for component in layer.components:
        seen[component.type] += 1
        number = f"_{seen[component.type]}" if total[component.type] > 1 else ""
        yield f"{component.type}_{layer.number}{number}", component
