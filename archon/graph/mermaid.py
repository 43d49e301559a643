"""A graph as a Mermaid flowchart, which GitHub and many editors draw."""

from __future__ import annotations

from collections.abc import Iterator

from archon.graph.validation.build import Graph
from archon.spec.architecture import AnyNode, GeneratorNode, ModelNode, When, role_of

_MAX_LABEL = 60
_SHOWN_PARAMETERS = (
    *("method", "samples", "keep", "threshold", "keep_first", "use_critiques", "weight"),
    *("max_tests",),
    *("seconds", "memory_bytes", "output_bytes"),
)
_MARKUP = frozenset('"#&;<>`\\')


def mermaid(graph: Graph) -> str:
    """The flowchart's text: the question, the nodes with their main parameters, the answer."""
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
    """The lines of a node's label: id, type and role, parameters that were set, condition."""
    yield node_id
    role = role_of(node)
    yield f"{node.type} · {role}" if role else node.type
    given = [
        f"{name} {getattr(node, name)}"
        for name in _SHOWN_PARAMETERS
        if name in node.model_fields_set and getattr(node, name) is not None
    ]
    if isinstance(node, ModelNode) and node.sampling and node.sampling.temperature is not None:
        given.append(f"temperature {node.sampling.temperature:g}")
    if isinstance(node, GeneratorNode) and node.stop_when is not None:
        given.append(f"until {node.stop_when.confidence:.4g} sure")
    if given:
        yield ", ".join(given)
    if node.when is not None:
        yield f"when {_condition(node.when)}"


def _condition(when: When) -> str:
    if when.agreement_below is not None:
        return f"agreement below {when.agreement_below:g}"
    return f"{when.num_passed} passed"


def _escaped(text: str) -> str:
    """One printable line, its markup characters written as Mermaid's ``#code;``."""
    line = "".join(char if char.isprintable() else " " for char in text)
    short = line if len(line) <= _MAX_LABEL else line[:_MAX_LABEL] + "…"
    return "".join(f"#{ord(char)};" if char in _MARKUP else char for char in short)
