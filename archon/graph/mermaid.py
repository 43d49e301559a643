"""Export a graph as a Mermaid flowchart, which GitHub and many editors render."""

from __future__ import annotations

from collections.abc import Iterator

from archon.graph.nodes.registry import NODE_TYPES
from archon.graph.validation.build import Graph
from archon.spec.architecture import AnyNode, When

_MAX_LABEL = 60
_MARKUP = frozenset('"#&;<>`\\')


def mermaid(graph: Graph) -> str:
    """Return the source of a flowchart from the question through all nodes to the answer."""
    names = {node_id: f"n{i}" for i, node_id in enumerate(graph.spec.nodes)}
    lines = ["flowchart TD", '    question(["question"])']
    for node_id, node in graph.spec.nodes.items():
        label = "<br/>".join(_escaped(part) for part in _label(node_id, node))
        lines.append(f'    {names[node_id]}["{label}"]')
    lines.append('    answer(["answer"])')
    for node_id, inputs in graph.inputs.items():
        sources = [names[source] for source in inputs] or ["question"]
        lines.extend(f"    {source} --> {names[node_id]}" for source in sources)
    lines.append(f"    {names[graph.spec.output]} --> answer")
    return "\n".join(lines) + "\n"


def _label(node_id: str, node: AnyNode) -> Iterator[str]:
    """Yield the lines of a node's label: id, type and role, parameters, condition."""
    yield node_id
    yield f"{node.type} · {node.role}" if node.role else node.type
    if parameters := ", ".join(NODE_TYPES[node.type].label(node)):
        yield parameters
    if node.when is not None:
        yield f"when {_condition(node.when)}"


def _condition(when: When) -> str:
    if when.agreement_below is not None:
        return f"agreement below {when.agreement_below:g}"
    return f"{when.num_passed} candidates passed"


def _escaped(text: str) -> str:
    """Shorten a line, and escape characters that are special in Mermaid as ``#code;``."""
    line = "".join(char if char.isprintable() else " " for char in text)
    short = line if len(line) <= _MAX_LABEL else line[:_MAX_LABEL] + "…"
    return "".join(f"#{ord(char)};" if char in _MARKUP else char for char in short)
